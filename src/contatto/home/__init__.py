"""The start page: what came in today, what leads cost, what needs somebody, and the next step."""
