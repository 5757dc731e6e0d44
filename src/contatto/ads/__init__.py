"""Campaigns, ad groups and ads: what may run where, at which price, and for which goal."""
