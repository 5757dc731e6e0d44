"""The marketplace in memory: what it learned, what it promised, and who competes."""
