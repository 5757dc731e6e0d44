"""Pages of ad accounts elsewhere."""
