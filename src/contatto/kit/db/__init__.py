"""Storage: one interface over SQLite and PostgreSQL, and the column types that both share."""
