"""Queued mails, encrypted until a mail server accepts them."""
