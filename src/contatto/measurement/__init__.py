"""What earned what: the append-only log of touches and conversions, and last-touch attribution."""
