"""Failed background work: list, replay and dismiss dead letters, and metrics for monitoring."""
