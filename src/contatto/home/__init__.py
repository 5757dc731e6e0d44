"""The start page: today's chats and leads, costs, open tasks, and the next step."""
