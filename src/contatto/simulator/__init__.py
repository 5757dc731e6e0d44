"""Demo world, vendors in memory, and worlds with known truth for delivery."""
