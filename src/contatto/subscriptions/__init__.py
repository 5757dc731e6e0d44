"""Subscriptions of external programs to leads and messages, and their webhook pushes."""
