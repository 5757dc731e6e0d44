"""Log-in: rate-limited attempts, and the sessions that they open."""
