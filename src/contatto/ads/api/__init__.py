"""API v1.3 of campaigns, ad groups and ads."""
