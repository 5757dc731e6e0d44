"""Targeting, pacing and the auction, as pure functions."""
