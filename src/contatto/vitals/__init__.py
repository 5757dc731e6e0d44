"""How an installation does, in numbers that its operator's monitoring asks for."""
