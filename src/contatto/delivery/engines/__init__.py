"""Files of decisions, and what engines make of them."""
