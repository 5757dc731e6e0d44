"""Forms and their leads in the API v1.3."""
