"""Signals: what became of leads, told to the ad platforms whose ads earned them."""
