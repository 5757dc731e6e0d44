"""Delivery in the Ads Manager: what it learned, how well it foretells, and the statement."""
