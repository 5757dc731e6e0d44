"""CRMs in memory that speak the vendors' own APIs, and fail when they are told to."""
