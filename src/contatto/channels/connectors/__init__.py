"""Connectors, one file per platform: bytes to values and back, never a socket."""
