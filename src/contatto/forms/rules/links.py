"""Addresses and numbers that a form may lead to: https and phone calls, nothing else."""

from urllib.parse import urlsplit

import phonenumbers


def is_link(text: str) -> bool:
    """Whether a text is a whole https address: no script, no other scheme, no name and password in it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isprintable() and " " not in text and len(text) <= 2_000
    names_host = "." in (parts.hostname or "") and "@" not in parts.netloc and port != 0
    return plain and parts.scheme == "https" and names_host


def is_call(text: str) -> bool:
    """Whether a text is a whole phone number with its country, which a tap can call."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, None))
    except phonenumbers.NumberParseException:
        return False
