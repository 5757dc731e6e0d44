"""What CRM sync does, one file for each part of it."""
