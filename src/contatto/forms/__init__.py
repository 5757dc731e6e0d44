"""Instant forms: questions and consents, frozen versions, answers as they were given."""
