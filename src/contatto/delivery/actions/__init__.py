"""Deciding, charging, learning and explaining: what delivery does."""
