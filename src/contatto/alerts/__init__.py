"""Alerts: each member is told of leads, messages, tasks and the like as they choose, with quiet hours."""
