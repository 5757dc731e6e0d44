"""Which requests come next, by destination and by business; what waits behind them is not read."""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    select,
    true,
)

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Instant
from contatto.kit.outbound.model import OutboundRequest
from contatto.kit.outbound.store import DUE, outbound_requests, read_requests
from contatto.kit.turns import Queue

_NOW: Final = bindparam("now", type_=Instant)
_MOST: Final = bindparam("most", type_=Integer)
_BUT: Final[BindParameter[Any]] = bindparam("but", type_=String, expanding=True)


def _destinations() -> Select[Any]:
    place, due_at = outbound_requests.c.destination, outbound_requests.c.due_at
    first = select(func.min(place).label("place")).where(DUE, place > bindparam("after"))
    turn = first.cte("turn", recursive=True)
    following = select(func.min(place)).where(DUE, place > turn.c.place).scalar_subquery()
    turn = turn.union_all(select(following).where(turn.c.place.is_not(None)))
    first_due = select(func.min(due_at)).where(DUE, place == turn.c.place).scalar_subquery()
    query = select(turn.c.place).where(turn.c.place.is_not(None), first_due <= _NOW)
    return query.where(turn.c.place.not_in(_BUT)).limit(_MOST)


def _comes_first_in_its_line() -> ColumnElement[bool]:
    earlier = outbound_requests.alias("earlier")
    return ~exists().where(
        literal_column("(earlier.state = 'due' AND earlier.line <> '')"),
        earlier.c.kind == outbound_requests.c.kind,
        earlier.c.line == outbound_requests.c.line,
        earlier.c.id < outbound_requests.c.id,
    )


def _of_each_destination() -> Select[Any]:
    """Some requests of each of some destinations, in one query: each is a way to the server."""
    turn = _DESTINATIONS.subquery("turn_of")
    rows = select(outbound_requests).where(
        DUE,
        outbound_requests.c.destination == turn.c.place,
        outbound_requests.c.due_at <= _NOW,
        _comes_first_in_its_line(),
    )
    rows = rows.order_by(outbound_requests.c.due_at, outbound_requests.c.id)
    some = rows.limit(bindparam("each", type_=Integer)).with_for_update(skip_locked=True).lateral("some")
    query = select(*some.c).select_from(turn.join(some, true()))
    return query.order_by(some.c.destination, some.c.due_at, some.c.id)


_THERE: Final = outbound_requests.c.destination == bindparam("destination")
# These are asked after each commit, so they are made once and kept.
_DESTINATIONS: Final = _destinations()
_REQUESTS: Final = (
    select(outbound_requests)
    .where(DUE, _THERE, outbound_requests.c.due_at <= _NOW, _comes_first_in_its_line())
    .order_by(outbound_requests.c.due_at, outbound_requests.c.id)
    .limit(_MOST)
)
_LOCKED_REQUESTS: Final = _REQUESTS.with_for_update(skip_locked=True)
_ALL_LOCKED: Final = _of_each_destination()
WAITING: Final = Queue(
    outbound_requests, and_(DUE, _THERE), outbound_requests.c.due_at, _comes_first_in_its_line()
)
"""What waits for one ``destination``, which has to be given."""


def list_due_destinations(tx: Tx, after: str, but: Collection[str], most: int) -> list[str]:
    """Destinations with a request that is due, after one of them, by their names.

    Each is looked for in the index, so the many requests to one of them are not read.
    """
    values = {"after": after, "now": tx.now, "but": list(but), "most": most}
    return list(tx.execute(_DESTINATIONS, values).scalars())


def list_due(
    tx: Tx, after: str, but: Collection[str], most: int, each: int
) -> dict[str, list[OutboundRequest]]:
    """Requests that are due, by their destination: of ``most`` destinations so many ``each``."""
    if not tx.locks_rows:  # a query costs little there, and there is no other way to have some rows of each
        return {
            name: list_due_requests(tx, name, each) for name in list_due_destinations(tx, after, but, most)
        }
    values = {"after": after, "now": tx.now, "but": list(but), "most": most, "each": each}
    waiting: dict[str, list[OutboundRequest]] = {}
    for request in read_requests(tx, _ALL_LOCKED, values):
        waiting.setdefault(request.destination, []).append(request)
    return waiting


def list_due_requests(tx: Tx, destination: str, most: int) -> list[OutboundRequest]:
    """Requests to a destination that are due, of each line the first that is not settled."""
    values = {"destination": destination, "now": tx.now, "most": most}
    return read_requests(tx, _LOCKED_REQUESTS if tx.locks_rows else _REQUESTS, values)


def list_due_requests_of(tx: Tx, queue: Queue, business_id: str, most: int) -> list[OutboundRequest]:
    """The same of one business."""
    return read_requests(tx, queue.rows(tx), queue.values(tx, business_id, most))
