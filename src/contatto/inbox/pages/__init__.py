"""Pages of the inbox: the three panes, and the customer's chat page."""
