"""Schema steps of the database, one straight line."""
