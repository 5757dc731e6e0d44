"""What strangers write: what goes wrong when JSON is read, texts that can be kept, pairs of an address."""

from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from contatto.kit import errors
from contatto.kit.errors import Refused

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""No JSON, another shape, no UTF-8, nested without end."""


def is_storable(text: str) -> bool:
    """Whether a text can be kept and answered: PostgreSQL holds no NUL, UTF-8 no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def check_texts(value: Any) -> Any:
    """The value as it is, if every text in it can be kept.

    Raises:
        ValueError: for one that cannot.
    """
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            if not is_storable(each):
                raise ValueError("a text holds a character that cannot be kept")
        elif isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, list):
            waiting += each
    return value


def read_pairs(query: str, most: int) -> list[tuple[str, str]]:
    """The pairs of a query that a form or a saved view holds.

    Raises:
        Refused: INVALID, for more of them.
    """
    try:
        return parse_qsl(query, max_num_fields=most)
    except ValueError as error:
        raise Refused(errors.INVALID, "query: use at most %(most)s values.", most=most) from error
