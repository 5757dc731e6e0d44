"""What ads cost and earned: metrics, the report of ad groups, and its tables."""
