"""What happens in the inbox, a file for each noun."""
