"""Append-only log of touches and conversions, and last-touch attribution."""
