"""Leads: one per person, with the Leads Center and downloads."""
