"""The pages of an operator, and those on which a business joins one."""
