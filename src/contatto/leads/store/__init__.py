"""Tables of leads and of what hangs on them, one file for each noun."""
