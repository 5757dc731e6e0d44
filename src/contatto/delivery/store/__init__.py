"""Tables of delivery: log, models, and charges."""
