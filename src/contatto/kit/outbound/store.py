"""Table of requests to outside systems: claims, due requests and dead letters."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    Select,
    String,
    Table,
    Update,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    literal,
    literal_column,
    select,
    true,
    update,
)

from contatto.kit.db.prepared import insert_all, update_rows
from contatto.kit.db.tx import Row, Tx
from contatto.kit.db.types import ROW, Choice, Instant, Serial, instant, metadata, sealed, tenant, within
from contatto.kit.fair_queue import Queue
from contatto.kit.outbound.model import Ask, NewRequest, OutboundRequest, RequestState, Result, RetryPlan
from contatto.kit.vault import row_key

DUE: Final[ColumnElement[bool]] = literal_column("state = 'due'")
"""Whether a request is still to be carried out, in the words of its indexes."""
_LINED: Final[ColumnElement[bool]] = literal_column("(state = 'due' AND line <> '')")
FAILED: Final[ColumnElement[bool]] = literal_column(
    "(state = 'dead' OR (state = 'due' AND failed_at IS NOT NULL))"
)
"""Whether a request is a dead letter, or failed and is tried again, in the words of its index."""

outbound_requests = Table(
    "outbound_requests",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("kind", String(32), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("destination", String(300), nullable=False),
    Column("line", String(64), nullable=False),
    Column("state", Choice(RequestState), nullable=False),
    Column("attempts", Integer, nullable=False),
    instant("due_at"),
    Column("claim", String(36)),
    Column("is_unsure", Boolean, nullable=False),
    sealed("progress", nullable=True),
    Column("reason", String(64), nullable=False),
    instant("created_at"),
    instant("expires_at", nullable=True),
    instant("failed_at", nullable=True),
    instant("settled_at", nullable=True),
    Column("is_wanted_again", Boolean, nullable=False, server_default=false()),
    Index("ix_outbound_requests_due", "destination", "business_id", "due_at", "id",
          sqlite_where=DUE, postgresql_where=DUE),
    Index("ix_outbound_requests_waiting", "destination", "due_at", "id",
          sqlite_where=DUE, postgresql_where=DUE),
    Index("ix_outbound_requests_lines", "kind", "line", "id", sqlite_where=_LINED, postgresql_where=_LINED),
    Index("ix_outbound_requests_failed", "business_id", "id", sqlite_where=FAILED, postgresql_where=FAILED),
    Index("ix_outbound_requests_expires", "expires_at", sqlite_where=DUE, postgresql_where=DUE),
    Index("ix_outbound_requests_subject", "business_id", "kind", "subject"),
    Index("ix_outbound_requests_settled", "settled_at"),
    info={ROW: ("kind", "subject", "created_at")},
)  # fmt: skip


def queue_request(tx: Tx, new: NewRequest, plan: RetryPlan) -> None:
    """Keep a request; it is due at once."""
    queue_requests(tx, [new], plan)


def queue_requests(tx: Tx, news: Collection[NewRequest], plan: RetryPlan) -> None:
    """Keep requests, in their order; they are due at once."""
    fresh = {
        "state": RequestState.DUE,
        "attempts": 0,
        "due_at": tx.now,
        "is_unsure": False,
        "reason": "",
        "created_at": tx.now,
        "expires_at": plan.lifetime and tx.now + plan.lifetime,
    }
    rows = []
    for new in news:
        own = {name: getattr(new, name) for name in _GIVEN}
        progress = seal_progress(tx, new, tx.now, new.progress)
        rows.append(fresh | own | {"progress": progress})
    insert_all(tx, outbound_requests, rows)


_GIVEN: Final = ("business_id", "kind", "subject", "destination", "line")


def find_request(tx: Tx, business_id: str, request_id: int) -> OutboundRequest | None:
    requests = read_requests(tx, _ONE, {"of": business_id, "number": request_id})
    return requests[0] if requests else None


def list_requests_of(tx: Tx, business_id: str, kind: str, subjects: Collection[str]) -> list[OutboundRequest]:
    """Requests by what their owner calls them."""
    query = select(outbound_requests).where(
        outbound_requests.c.business_id == business_id,
        outbound_requests.c.kind == kind,
        outbound_requests.c.subject.in_(list(subjects)),
    )
    return read_requests(tx, query)


def is_unsure(business_id: Column[Any], kind: str, subject: Column[Any]) -> ColumnElement[bool]:
    """Whether the other side may have acted on a request of which no answer came yet; a part of a query."""
    return exists().where(
        outbound_requests.c.business_id == business_id,
        outbound_requests.c.kind == kind,
        outbound_requests.c.subject == subject,
        outbound_requests.c.is_unsure.is_(True),
    )


def mark_requests_done(tx: Tx, business_id: str, kind: str, subject: str) -> None:
    """Settle what the other side's own news have settled."""
    statement = update(outbound_requests).where(
        outbound_requests.c.business_id == business_id,
        outbound_requests.c.kind == kind,
        outbound_requests.c.subject == subject,
    )
    values = {"state": RequestState.DONE, "claim": None, "is_unsure": False, "settled_at": tx.now}
    tx.execute(statement.values(**values, reason="", failed_at=None))


def hasten_requests(tx: Tx, business_id: str, kind: str, destination: str, at: datetime) -> None:
    """Try those that wait longer by that time: their destination is there again, or there is news."""
    waiting = update(outbound_requests).where(
        DUE,
        outbound_requests.c.business_id == business_id,
        outbound_requests.c.kind == kind,
        outbound_requests.c.destination == destination,
        outbound_requests.c.claim.is_(None),
        outbound_requests.c.due_at > at,
    )
    tx.execute(waiting.values(due_at=at))


def delete_requests_of(tx: Tx, business_id: str, kind: str, subjects: Collection[str]) -> None:
    mine = outbound_requests.c.business_id == business_id, outbound_requests.c.kind == kind
    tx.execute(outbound_requests.delete().where(*mine, outbound_requests.c.subject.in_(list(subjects))))


_ONE: Final = select(outbound_requests).where(
    outbound_requests.c.business_id == bindparam("of"), outbound_requests.c.id == bindparam("number")
)


def change_of(request: OutboundRequest) -> Update:
    """A change of the row of a request."""
    mine = outbound_requests.c.business_id == request.business_id, outbound_requests.c.id == request.id
    return update(outbound_requests).where(*mine)


def seal_progress(
    tx: Tx, request: NewRequest | OutboundRequest, created_at: datetime, progress: str
) -> bytes | None:
    """Seal the progress of a request; an empty one is none."""
    row = row_key(request.kind, request.subject, created_at)
    return tx.seal(progress, request.business_id, "outbound_requests.progress", row)


def read_requests(tx: Tx, statement: Select[Any], given: Row | None = None) -> list[OutboundRequest]:
    """What a query of whole rows finds."""
    requests = []
    for row in tx.execute(statement, given).mappings().all():
        values = {name: row[name] for name in OutboundRequest.__dataclass_fields__}
        named = row_key(row["kind"], row["subject"], row["created_at"])
        place = row["business_id"], "outbound_requests.progress", named
        values["progress"] = tx.vault.open(row["progress"], *place) if row["progress"] else ""
        requests.append(OutboundRequest(**values))
    return requests


def mark_claimed(tx: Tx, claimed: Sequence[tuple[OutboundRequest, Ask]], until: datetime) -> None:
    """Note that somebody is at requests, and what is sent first; until that time nobody else takes them."""
    rows = []
    for request, ask in claimed:
        values = _key(request) | {"claim": request.claim, "due_at": until, "attempts": request.attempts}
        sealed_progress = seal_progress(tx, request, request.created_at, ask.progress)
        rows.append(values | {"progress": sealed_progress, "is_unsure": not ask.is_repeatable})
    update_rows(tx, _CLAIM, rows)


def put_off(tx: Tx, request: OutboundRequest, until: datetime) -> None:
    """Leave a request alone until a time; that is no try."""
    tx.execute(change_of(request).values(due_at=until))


def record_asked(tx: Tx, asked: Sequence[tuple[OutboundRequest, Ask]]) -> None:
    """Note what is sent next, before it is: whoever finds the requests later goes on from here."""
    rows = []
    for request, ask in asked:
        sealed_progress = seal_progress(tx, request, request.created_at, ask.progress)
        rows.append(_key(request) | {"progress": sealed_progress, "is_unsure": not ask.is_repeatable})
    update_rows(tx, _ASK, rows)


def renew_claims(tx: Tx, claims: Collection[str], until: datetime) -> None:
    """Keep the requests that are worked on from being taken by others."""
    statement = update(outbound_requests).where(DUE, outbound_requests.c.claim.in_(list(claims)))
    tx.execute(statement.values(due_at=until))


def list_claimed(tx: Tx, requests: Collection[OutboundRequest]) -> set[str]:
    """Those of some claims that still hold their request; no other process changes them meanwhile."""
    given = {"of": [each.business_id for each in requests], "numbers": [each.id for each in requests]}
    kept = set(tx.execute(_LOCKED_CLAIMS if tx.locks_rows else _CLAIMS, given).scalars())
    return {request.claim for request in requests if request.claim and request.claim in kept}


def record_outcomes(tx: Tx, results: Sequence[tuple[OutboundRequest, Result]]) -> None:
    """Note what came of tries."""
    rows = []
    for request, result in results:
        values = {
            "state": result.state,
            "reason": result.reason[:64],
            "claim": None,
            "is_unsure": False,
            "attempts": request.attempts,
            "failed_at": request.failed_at or tx.now if result.reason else None,
            "due_at": result.due_at or tx.now,
            "settled_at": None if result.due_at else tx.now,
        }
        rows.append(_key(request) | values)
    update_rows(tx, _OUTCOME, rows)


def record_poll(
    tx: Tx, request: OutboundRequest, progress: str, due_at: datetime, expires_at: datetime | None
) -> None:
    """Note up to where a poll has come, when it goes on, and until when that is worth a try."""
    fresh = {"attempts": 0, "claim": None, "is_unsure": False, "reason": "", "failed_at": None}
    sealed_progress = seal_progress(tx, request, request.created_at, progress)
    wanted = outbound_requests.c.is_wanted_again
    at = case((wanted, literal(tx.now, Instant)), else_=literal(due_at, Instant))
    mine = change_of(request).values(**fresh, progress=sealed_progress, due_at=at, expires_at=expires_at)
    tx.execute(mine.values(is_wanted_again=False))


def _changing(*names: str) -> Update:
    """A change of one row; it is made once and kept, for these are asked for each request."""
    mine = outbound_requests.c.business_id == bindparam("of"), outbound_requests.c.id == bindparam("number")
    return update(outbound_requests).where(*mine).values({name: bindparam(name) for name in names})


_ASK: Final = _changing("progress", "is_unsure")
_CLAIM: Final = _changing("claim", "due_at", "attempts", "progress", "is_unsure")
_OUTCOME: Final = _changing(
    "state", "reason", "claim", "is_unsure", "failed_at", "due_at", "settled_at", "attempts"
)
_CLAIMS: Final = select(outbound_requests.c.claim).where(
    within(outbound_requests.c.business_id, "of"),
    within(outbound_requests.c.id, "numbers"),
    outbound_requests.c.state == RequestState.DUE,
)
_LOCKED_CLAIMS: Final = _CLAIMS.order_by(outbound_requests.c.id).with_for_update()


def _key(request: OutboundRequest) -> dict[str, Any]:
    return {"of": request.business_id, "number": request.id}


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


def record_replay(tx: Tx, request: OutboundRequest, plan: RetryPlan, *, keeps_progress: bool = False) -> None:
    """Make a request due again that nobody is at, as if it had never been tried."""
    fresh = {"state": RequestState.DUE, "attempts": 0, "due_at": tx.now, "reason": "", "failed_at": None}
    fresh |= {"settled_at": None, "expires_at": plan.lifetime and tx.now + plan.lifetime}
    fresh["is_wanted_again"] = False
    if not keeps_progress:
        fresh["progress"] = None
    tx.execute(change_of(request).where(outbound_requests.c.claim.is_(None)).values(**fresh))


def poll_again(tx: Tx, poll: OutboundRequest, plan: RetryPlan) -> None:
    """Make a poll due now; one that is under way is due again when it has ended, as it saw less than now."""
    under_way = change_of(poll).where(outbound_requests.c.claim.is_not(None))
    tx.execute(under_way.values(is_wanted_again=True))
    record_replay(tx, poll, plan, keeps_progress=True)


def send_again(tx: Tx, new: NewRequest, plan: RetryPlan) -> None:
    """Make the request of a subject due again; one that was deleted meanwhile is queued anew."""
    requests = list_requests_of(tx, new.business_id, new.kind, [new.subject])
    for request in requests:
        record_replay(tx, request, plan)
    if not requests:
        queue_request(tx, new, plan)


def record_dismissed(tx: Tx, request: OutboundRequest) -> bool:
    """Give a request up that failed; False when it did not, or somebody is at it."""
    mine = change_of(request).where(FAILED, outbound_requests.c.claim.is_(None))
    return tx.execute(mine.values(state=RequestState.DISMISSED, settled_at=tx.now)).rowcount == 1


def list_failed_requests(tx: Tx, business_id: str, limit: int) -> list[OutboundRequest]:
    """Requests of a business that are dead, then those that failed and are tried again, the latest first."""
    query = select(outbound_requests).where(FAILED, outbound_requests.c.business_id == business_id)
    query = query.order_by(outbound_requests.c.state, outbound_requests.c.id.desc())
    return read_requests(tx, query.limit(limit))


def find_failed_request(tx: Tx, business_id: str, request_id: int) -> OutboundRequest | None:
    """One of them, locked."""
    mine = FAILED, outbound_requests.c.business_id == business_id, outbound_requests.c.id == request_id
    one = select(outbound_requests).where(*mine)
    return next(iter(read_requests(tx, one.with_for_update() if tx.locks_rows else one)), None)


def list_dead_requests(tx: Tx, business_id: str, after: int, limit: int) -> list[OutboundRequest]:
    """Dead letters of a business after one of them, the oldest first, locked."""
    dead = FAILED, outbound_requests.c.state == RequestState.DEAD
    query = select(outbound_requests).where(
        *dead, outbound_requests.c.business_id == business_id, outbound_requests.c.id > after
    )
    query = query.order_by(outbound_requests.c.id).limit(limit)
    return read_requests(tx, query.with_for_update() if tx.locks_rows else query)


def count_failed_requests(tx: Tx, business_id: str) -> dict[RequestState, int]:
    """Return how many are dead, and how many are tried again."""
    state = outbound_requests.c.state
    query = select(state, func.count().label("count")).where(
        FAILED, outbound_requests.c.business_id == business_id
    )
    rows = tx.execute(query.group_by(state)).mappings()
    return {RequestState(row["state"]): row["count"] for row in rows}


def dismiss_dead_requests(tx: Tx, business_id: str) -> int:
    """Give up all dead letters of a business; say how many."""
    mine = FAILED, outbound_requests.c.business_id == business_id
    dead = update(outbound_requests).where(*mine, outbound_requests.c.state == RequestState.DEAD)
    return tx.execute(dead.values(state=RequestState.DISMISSED, settled_at=tx.now)).rowcount


def list_expired_requests(tx: Tx, kinds: Collection[str], limit: int) -> list[OutboundRequest]:
    """Requests of all businesses whose lifetime is over and that nobody is at; for the timer."""
    over = select(outbound_requests).where(
        DUE,
        outbound_requests.c.expires_at <= tx.now,
        outbound_requests.c.due_at <= tx.now,
        outbound_requests.c.kind.in_(list(kinds)),
    )
    over = over.order_by(outbound_requests.c.expires_at).limit(limit)
    return read_requests(tx, over.with_for_update(skip_locked=True) if tx.locks_rows else over)


def purge_requests(tx: Tx, before: datetime) -> int:
    """Delete some requests that were done or dismissed before a time; say how many. Dead letters stay."""
    over = outbound_requests.c.state.in_((RequestState.DONE, RequestState.DISMISSED))
    return tx.delete_some(outbound_requests, over, outbound_requests.c.settled_at < before)


_WAITS: Final = (RequestState.DUE, RequestState.DEAD)


@dataclass(frozen=True, slots=True)
class RequestCount:
    """``due_since`` is when the first of those that are due, and that nobody is at, was to be sent."""

    kind: str
    state: RequestState
    count: int
    due_since: datetime | None


def count_requests(tx: Tx) -> list[RequestCount]:
    """Requests that are due or dead, of all businesses."""
    of = outbound_requests.c.kind, outbound_requests.c.state
    waits = (outbound_requests.c.state == RequestState.DUE) & outbound_requests.c.claim.is_(None)
    late = waits & (outbound_requests.c.due_at <= tx.now)
    since = func.min(case((late, outbound_requests.c.due_at))).label("due_since")
    counted = select(*of, func.count().label("count"), since).where(outbound_requests.c.state.in_(_WAITS))
    return tx.list(RequestCount, counted.group_by(*of))
