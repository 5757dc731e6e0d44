"""What changes leads: capturing and moving them, and the work of people on them."""
