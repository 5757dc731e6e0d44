"""Handing out events in the transaction in which they happened, at its end.

A batch of background work tells the handlers of many events itself. Its events are written as handed out, and
need not be looked for, read and marked by another transaction. What any other handler wants to hear of is
left to ``kit/drain``, and so is all of a batch in which a handler fails.

On PostgreSQL handlers lock what others lock too, and a batch holds its chats already. So that no two wait for
each other, a handler waits for a moment only; when that is over, its events are left to the drain as well.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy.exc import OperationalError

from contatto.kit.db.hot import insert_all
from contatto.kit.db.tx import Tx
from contatto.kit.db.writer import holding, savepoint
from contatto.kit.handlers import After, IsInterested, Together, interest
from contatto.kit.log import logger, where
from contatto.kit.outbox import events

type _Happened = tuple[Any, dict[str, Any]]
"""An event, and its row."""

_WAIT_LITTLE: Final = "SET LOCAL lock_timeout = '20ms'"
_WAIT_AS_BEFORE: Final = "SET LOCAL lock_timeout = DEFAULT"
_LOCK_NOT_AVAILABLE: Final = "55P03"
"""Source: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_ROUNDS: Final = 3
"""How often events are handed out that handlers led to; what these lead to is left to the drain."""


def handing_out[T](after: After, work: Callable[[Tx], T]) -> Callable[[Tx], T]:
    """The same work; where it may, it hands out its events itself."""

    def both(tx: Tx) -> T:
        with holding(tx.connection) as held:
            done = work(tx)
            is_interested = interest(tx)
            for _ in range(_ROUNDS):
                if held:
                    _hand_out(tx, after, held, is_interested)
            _write(tx, held)
        return done

    return both


def _hand_out(tx: Tx, after: After, held: list[_Happened], is_interested: IsInterested) -> None:
    """Tell the handlers of many, and write the events; what these led to is held instead."""
    happened, together = list(held), dict[Together, list[Any]]()
    held.clear()
    kinds = dict.fromkeys((type(event), row["business_id"]) for event, row in happened)
    of_many = {kind: _list_of_many(after, kind, is_interested) for kind in kinds}
    for event, row in happened:
        handlers = of_many[type(event), row["business_id"]]
        row["fanned_out"] = handlers is not None
        for handler in handlers or ():
            together.setdefault(handler, []).append(event)
    try:
        with _hardly_waiting(tx, together), savepoint(tx):
            for handler, some in together.items():
                handler.run(tx, some)
    except Exception as error:  # found again, and put down to the event at fault, by the drain
        if not _is_held_elsewhere(error):
            logger().warning("outbox.failed_at_once", error_at=where(error))
        for _, row in happened:
            row["fanned_out"] = False
    _write(tx, happened)


def _list_of_many(
    after: After, of: tuple[type[Any], str], is_interested: IsInterested
) -> list[Together] | None:
    """The handlers of a kind of events of a business; None if one of them takes each event alone."""
    kind, business_id = of
    wanted = [each for each in after.get(kind, {}).values() if is_interested(each, business_id)]
    of_many = [each for each in wanted if isinstance(each, Together)]
    return of_many if kind in after and len(of_many) == len(wanted) else None


@contextmanager
def _hardly_waiting(tx: Tx, handlers: Collection[Together]) -> Iterator[None]:
    """What somebody else holds ends a statement soon, if there is anything to run.

    Source: https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-LOCK-TIMEOUT
    """
    if not (handlers and tx.locks_rows):
        yield
        return
    tx.connection.exec_driver_sql(_WAIT_LITTLE)
    try:
        yield
    finally:
        tx.connection.exec_driver_sql(_WAIT_AS_BEFORE)


def _is_held_elsewhere(error: Exception) -> bool:
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", "") == _LOCK_NOT_AVAILABLE


def _write(tx: Tx, happened: Sequence[_Happened]) -> None:
    insert_all(tx, events, [row for _, row in happened])
