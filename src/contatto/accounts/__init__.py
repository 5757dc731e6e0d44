"""Businesses, members, roles, ad accounts, API tokens, and callers of requests."""
