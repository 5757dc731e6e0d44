"""Metrics of an installation for its operator's monitoring."""
