"""Signals in the API v1.3."""
