"""Whole numbers that come as text from outside: in addresses, forms, webhooks and the API."""

from typing import Annotated, Final

from pydantic import Field

LARGEST: Final = (1 << 63) - 1
"""What a 64-bit column holds."""
type PageNumber = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
"""Which page of a list an address asks for; below 1 it means the first."""
type Revision = Annotated[int, Field(ge=0, lt=(1 << 31) - 1)]
"""Which state of a thing the writer has seen; the next one fits into a 32-bit column too."""
type WindowDays = Annotated[int, Field(ge=0, le=365)]
_MOST_DIGITS: Final = len(str(LARGEST))


def read_number(text: str) -> int | None:
    """The number that ASCII digits stand for; None for any other text, and for one beyond ``LARGEST``."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        return None
    number = int(text)
    return number if number <= LARGEST else None
