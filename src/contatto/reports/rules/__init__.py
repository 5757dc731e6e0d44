"""Queries and figures of reports, as pure functions."""
