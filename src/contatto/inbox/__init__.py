"""Conversations: platform webhooks and the chat page in, messages stored once, the inbox out."""
