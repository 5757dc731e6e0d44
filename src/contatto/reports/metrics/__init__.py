"""The metrics of reports as data, one file for each family."""
