"""What is done about reports: making, counting, keeping and explaining them."""
