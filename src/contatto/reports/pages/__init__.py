"""Pages of reports, ads and credited conversions, and their files."""
