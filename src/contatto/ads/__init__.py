"""Campaigns, ad groups and ads, with their goals and prices."""
