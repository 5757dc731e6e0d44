"""Actions on leads."""
