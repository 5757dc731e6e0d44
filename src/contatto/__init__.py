"""Contatto: an open, self-hosted platform for direct-message lead ads."""

__version__ = "0.1.0"
