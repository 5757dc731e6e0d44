"""Bytes as text that may stand in an address, in one spelling only.

Source: RFC 4648, section 5, without padding; section 3.5 on the other spellings of the same bytes.
"""

import base64


def to_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def from_base64url(text: str) -> bytes:
    """The bytes of a text; a link that somebody changed is another link, even where it would mean the same.

    Raises:
        ValueError: we never wrote this text.
    """
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if to_base64url(raw) != text:
        raise ValueError("another spelling of these bytes")
    return raw
