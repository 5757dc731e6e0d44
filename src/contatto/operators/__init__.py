"""Operators: audiences of their own, in whose placements the ads of many businesses compete."""
