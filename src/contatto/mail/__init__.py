"""Mails that wait to be sent: what they say is sealed until a mail server has taken them."""
