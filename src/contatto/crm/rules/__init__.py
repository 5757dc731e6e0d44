"""What to do next, and what is written: pure functions."""
