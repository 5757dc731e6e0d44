"""Actions that change leads: capture, moves between statuses, and the work of members."""
