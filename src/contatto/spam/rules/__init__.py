"""How words and signs are weighed, as pure functions."""
