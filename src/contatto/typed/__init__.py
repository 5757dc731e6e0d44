"""Feedback on typed numbers, and form pages saved for a reload."""
