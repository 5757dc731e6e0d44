"""Decisions of CRM sync, as pure functions."""
