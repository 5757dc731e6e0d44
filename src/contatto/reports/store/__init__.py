"""The tables of reports: files in the making, counts, and saved reports."""
