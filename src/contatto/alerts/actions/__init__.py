"""Alerting members, and telling their browsers."""
