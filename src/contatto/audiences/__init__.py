"""Audiences: hashed lists of customers, those most like them, and those who did something."""
