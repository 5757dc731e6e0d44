"""Whole numbers that come as text from outside: in addresses, forms, webhooks and the API."""

from typing import Final

LARGEST: Final = (1 << 63) - 1
"""What a 64-bit column holds."""
_MOST_DIGITS: Final = len(str(LARGEST))


def read_number(text: str) -> int | None:
    """The number that ASCII digits stand for; None for any other text, and for one beyond ``LARGEST``."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        return None
    number = int(text)
    return number if number <= LARGEST else None
