"""What members type: numbers read back to them, and the answers to their forms kept for a reload."""
