"""What operators and the businesses that they admit do."""
