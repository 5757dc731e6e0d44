"""The nouns of signals: what is told, to whom, and by which connector."""
