"""Rules of delivery as pure functions: targeting, prices and results."""
