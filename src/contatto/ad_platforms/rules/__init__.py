"""Decisions about pulls and files, as pure functions."""
