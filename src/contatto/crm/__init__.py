"""Leads in the CRMs of a business: deliveries, checks, and changes that come back."""
