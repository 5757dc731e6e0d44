"""Whether a text tells of a person who is to be forgotten, in whatever spelling."""

from collections.abc import Collection, Sequence
from typing import Final

LEAST_DIGITS: Final = 7
"""A number with fewer digits is taken for no phone number."""
MOST_ERASED: Final = 1_000
"""Leads of one act."""


def tells_of(text: str, contacts: Collection[str], names: Collection[str] = ()) -> bool:
    """Whether a text is or holds one of the contact values, or is one of the names.

    A phone number counts with or without its country code and however it is grouped. A name alone must be the
    whole text: many people are called Maria.
    """
    plain = " ".join(text.casefold().split())
    if not plain:
        return False
    digits = _digits(plain)
    return any(plain == each.casefold() for each in names) or any(
        _holds(plain, digits, each.casefold()) for each in contacts
    )


def without_person(
    rows: Sequence[tuple[str, ...]],
    numbers: Collection[int],
    contacts: Collection[str],
    own: Sequence[int] = (),
) -> tuple[tuple[str, ...], ...]:
    """The rows of a file with those emptied that have one of the numbers, or tell of a contact.

    ``own`` are the rows' numbers, where they do not count from 1.
    """
    return tuple(
        () if row and (number in numbers or any(tells_of(cell, contacts) for cell in row)) else row
        for number, row in zip(own or range(1, len(rows) + 1), rows, strict=True)
    )


def _holds(plain: str, digits: str, value: str) -> bool:
    if plain == value or ("@" in value and value in plain):
        return True
    own = _digits(value)
    if min(len(own), len(digits)) < LEAST_DIGITS or "@" in plain or "@" in value:
        return False
    return own in digits or own.endswith(digits)


def _digits(text: str) -> str:
    return "".join(str(int(each)) for each in text if each.isdecimal())
