"""The Leads Center: the list, one lead, bulk work, import and downloads."""
