"""Whether others wait for the transaction that is open, so that long work in it can give way."""

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection

from contatto.kit.db.tx import Tx

_IS_AWAITED: Final = "is_awaited"


def tell_who_waits(connection: Connection, is_awaited: Callable[[], bool]) -> None:
    """Let what works through a connection ask whether somebody waits for it."""
    connection.info[_IS_AWAITED] = is_awaited


def is_awaited(tx: Tx) -> bool:
    """Whether a request waits until this transaction ends; never on PostgreSQL, where others write meanwhile.

    What is kept by ``Database.append`` is no such request: nobody looks at a page until it is answered.
    """
    asked: Callable[[], bool] | None = tx.connection.info.get(_IS_AWAITED)
    return asked is not None and asked()
