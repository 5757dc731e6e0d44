"""Pages of linked CRMs."""
