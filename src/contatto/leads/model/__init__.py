"""The nouns of leads, one file for each."""
