"""Changes to campaigns, ad groups and ads, one file for each noun."""
