"""Worlds with known truth that judge ad delivery."""
