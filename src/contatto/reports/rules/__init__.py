"""From facts to report rows, as pure functions."""
