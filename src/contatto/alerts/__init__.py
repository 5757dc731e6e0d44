"""Alerts: members learn of leads, messages, tasks and the like as they choose, with quiet hours."""
