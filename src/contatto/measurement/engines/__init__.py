"""Attribution and reports over any number of events: one definition, run by whichever engine is chosen."""
