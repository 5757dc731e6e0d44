"""Tables of campaigns, ad groups and ads, and of welcome messages."""
