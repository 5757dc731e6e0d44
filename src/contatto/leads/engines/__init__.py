"""Models of what becomes of leads; their library is loaded by the process that learns, and by no other."""
