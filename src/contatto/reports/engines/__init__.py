"""What reads the facts of a report: one file for each store of touches and conversions."""
