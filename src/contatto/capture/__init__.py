"""Contact capture: contact details in messages, and its switch."""
