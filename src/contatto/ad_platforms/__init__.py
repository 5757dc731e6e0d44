"""Mirrored ad accounts: their campaigns, ads and daily costs."""
