"""Making and ending subscriptions, and telling them."""
