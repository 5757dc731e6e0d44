"""Routes of the inbox for programs."""
