"""Actions on mirrored ad accounts: connect, pull, upload."""
