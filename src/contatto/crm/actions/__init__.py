"""Actions of CRM sync: deliveries, checks, changes and targets."""
