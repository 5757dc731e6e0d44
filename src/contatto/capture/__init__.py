"""Contact capture: finds contact details in messages, and keeps whether a channel wants that."""
