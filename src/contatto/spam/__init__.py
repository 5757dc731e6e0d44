"""Spam detection in chats, by their words and by facts about the sender."""
