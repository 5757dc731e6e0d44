"""Operators of marketplaces, where ads of many businesses compete for placements."""
