"""The way in: tries to log in, which are counted, and the sessions that they open."""
