"""Tables of alerts, of what each member chose, and of the browsers that are told."""
