"""Tables of CRM sync, one file for each family."""
