"""Pages of the Ads Manager."""
