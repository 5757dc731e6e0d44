"""Families of contact fields, and the text functions that they share."""
