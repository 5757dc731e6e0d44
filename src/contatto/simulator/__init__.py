"""A world to try things in: a business, its ads, and people who see them, chat and share what they share."""
