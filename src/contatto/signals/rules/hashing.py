"""Normal forms of contact details and their SHA-256, as ad platforms match them.

Source: TikTok, Events API 2.0: e-mail in small letters without spaces around it, phone in E.164 with its
plus sign, both and ``external_id`` as SHA-256 in hex. Meta, Conversions API, customer information
parameters: the same, but phones are digits alone, with the country code and without a plus sign.
"""

import hashlib
from collections.abc import Iterable


def normal_email(text: str) -> str:
    """An e-mail address in small letters, without spaces around it. Dots and tags stay."""
    return text.strip().lower()


def plus_phone(text: str) -> str:
    """A phone number as TikTok hashes it: a plus sign and digits; "" where it is not international."""
    kept = text.strip()
    digits = digits_of(kept)
    return f"+{digits}" if digits and kept.startswith("+") else ""


def plain_phone(text: str) -> str:
    """A phone number as Meta hashes it: digits with the country code; "" where it is not international."""
    return plus_phone(text).removeprefix("+")


def digits_of(text: str) -> str:
    return "".join(char for char in text if char.isascii() and char.isdigit())


def digest(text: str) -> str:
    """The SHA-256 of a text in UTF-8, in small hex letters."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digests(texts: Iterable[str]) -> list[str]:
    """The digest of each text that is one, each once, in their order."""
    return list(dict.fromkeys(digest(text) for text in texts if text))
