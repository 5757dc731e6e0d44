"""Actions on campaigns, ad groups and ads."""
