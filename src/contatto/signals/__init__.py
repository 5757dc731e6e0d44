"""Signals to ad platforms: outcomes of the leads that their ads earned, with consent."""
