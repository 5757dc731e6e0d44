"""One file per ad platform: requests and answers as values."""
