"""Conversations: platform webhooks, the chat page, and the inbox."""
