"""The routes of the inbox for programs: platform webhooks, the chat page, and business messages."""
