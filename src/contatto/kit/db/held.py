"""What a transaction holds back until its work is done; what is undone of the work is undone of it too."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection

_KEY: Final = "held_back"


@contextmanager
def holding(connection: Connection) -> Iterator[list[Any]]:
    """Hold back what is appended to `held_of` within; who holds it sees to all that is in the list."""
    held: list[Any] = []
    connection.info[_KEY] = held
    try:
        yield held
    finally:
        del connection.info[_KEY]


def held_of(connection: Connection) -> list[Any] | None:
    """What is held back; None where nothing is."""
    held: list[Any] | None = connection.info.get(_KEY)
    return held
