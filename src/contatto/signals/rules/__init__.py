"""Pure rules of signals: which are due, who consented, how values are hashed, what answers mean."""
