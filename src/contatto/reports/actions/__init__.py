"""Building, counting, saving and explaining of reports."""
