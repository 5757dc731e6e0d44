"""Tables of leads and of their annotations."""
