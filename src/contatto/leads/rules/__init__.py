"""Decisions about leads as pure functions and tables."""
