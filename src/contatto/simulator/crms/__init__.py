"""CRMs in memory that speak the vendors' own APIs, with planned faults."""
