"""Leads in the CRMs of a business: what is due there, what was read back, and what comes back."""
