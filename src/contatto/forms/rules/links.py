"""Addresses and numbers that a form may lead to: https and phone calls, nothing else."""

import re
from typing import Final
from urllib.parse import urlsplit

import phonenumbers

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)


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


def may_become_link(text: str) -> bool:
    """Whether a text that is still being typed names no scheme but that of a web page.

    What stands before a colon is a scheme, or a host with its port when there is a point in it.
    """
    scheme = _SCHEME.match(text)
    return scheme is None or "." in scheme[1] or scheme[1].lower() in ("https", "http")


def shown_link(text: str) -> str:
    """A link as a page may show it; "" for everything else, whoever kept it."""
    return text if is_link(text) else ""


def is_call(text: str) -> bool:
    """Whether a text is a whole phone number with its country, which a tap can call."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, None))
    except phonenumbers.NumberParseException:
        return False
