"""What CRMs and scripts ask of leads in CRMs: the API v1.3, and changes that are posted."""
