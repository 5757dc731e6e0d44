"""Worlds with known truth that judge ad delivery: viewers, ads, an auction, and what becomes of each view."""
