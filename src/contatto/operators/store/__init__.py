"""Tables of operators: places and admissions, reviews of ads, and what ad accounts have with an operator."""
