"""The ad decision, and what programs ask about delivery."""
