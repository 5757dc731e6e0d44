"""Tables of the inbox, a file for each noun."""
