"""The report page, its files, what it keeps, and what explains it."""
