"""Failed background work: list, replay and dismiss dead letters."""
