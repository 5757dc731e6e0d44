"""Rules of campaigns, ad groups and ads, as pure functions and tables."""
