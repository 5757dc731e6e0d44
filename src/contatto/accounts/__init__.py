"""Who may do what: businesses, members, ad accounts, API tokens and the caller of a request."""
