"""Encoding of alerts for external services."""
