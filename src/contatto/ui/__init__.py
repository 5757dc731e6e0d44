"""The design system: the shell of every page, and what renders, secures and refreshes pages."""
