"""Tables of campaigns, ad groups and ads, of their drafts, and of welcome messages."""
