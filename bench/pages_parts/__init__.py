"""Parts of the benchmark of pages: its seeded leads and messages, and the time of a database server."""
