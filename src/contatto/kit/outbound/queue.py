"""Queue of jobs: the table, claims, retries, and the steps of outbound requests."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from contatto.kit import errors
from contatto.kit.db.statements import insert_all, write_rows
from contatto.kit.db.tx import (
    ROW,
    Choice,
    Instant,
    Serial,
    Tx,
    in_time,
    instant,
    metadata,
    only,
    rows_of,
    savepoint,
    sealed,
    tenant,
    within,
)
from contatto.kit.errors import Refused
from contatto.kit.fair_queue import Queue, distinct_due
from contatto.kit.ids import new_id
from contatto.kit.log import logger, where
from contatto.kit.outbound.model import (
    DISMISSED,
    EXPIRED,
    Ask,
    Done,
    Failed,
    HttpAnswer,
    HttpOutcome,
    Later,
    NewRequest,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
    RetryPlan,
    SendFailure,
    Step,
    with_jitter,
)
from contatto.kit.vault import row_key

DUE: Final[sa.ColumnElement[bool]] = sa.literal_column("state = 'due'")
"""Condition of due requests, verbatim as in the indexes."""
_LINED: Final[sa.ColumnElement[bool]] = sa.literal_column("(state = 'due' AND line <> '')")
FAILED: Final[sa.ColumnElement[bool]] = sa.literal_column(
    "(state = 'dead' OR (state = 'due' AND reason <> ''))"
)
"""Condition of dead letters, and of failed jobs with a retry, verbatim as in the index."""
OVER: Final[sa.ColumnElement[bool]] = sa.literal_column("state IN ('done', 'dismissed')")
"""Condition of finished jobs, verbatim as in the index."""

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    sa.Column("kind", sa.String(128), nullable=False),
    sa.Column("event_seq", Serial),
    sa.Column("subject", sa.String(64), nullable=False),
    sa.Column("destination", sa.String(300), nullable=False),
    sa.Column("line", sa.String(64), nullable=False),
    sa.Column("state", Choice(RequestState), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    instant("due_at"),
    sa.Column("claim", sa.String(36)),
    sa.Column("is_unsure", sa.Boolean, nullable=False),
    sealed("progress", nullable=True),
    sa.Column("reason", sa.Text, nullable=False),
    instant("created_at"),
    instant("expires_at", nullable=True),
    instant("failed_at", nullable=True),
    instant("settled_at", nullable=True),
    sa.Column("is_wanted_again", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("ix_jobs_event", "event_seq", "kind", unique=True, **only("event_seq IS NOT NULL")),
    sa.Index("ix_jobs_due", "destination", "business_id", "due_at", "id", **only("state = 'due'")),
    sa.Index("ix_jobs_waiting", "destination", "due_at", "id", **only("state = 'due'")),
    sa.Index("ix_jobs_lines", "kind", "line", "id", sqlite_where=_LINED, postgresql_where=_LINED),
    sa.Index("ix_jobs_failed", "business_id", "id", sqlite_where=FAILED, postgresql_where=FAILED),
    sa.Index("ix_jobs_expires", "expires_at", **only("state = 'due' AND expires_at IS NOT NULL")),
    sa.Index("ix_jobs_subject", "business_id", "kind", "subject"),
    sa.Index("ix_jobs_settled", "settled_at", sqlite_where=OVER, postgresql_where=OVER),
    info={ROW: ("kind", "subject", "created_at")},
)


type Claimed = tuple[OutboundRequest, Ask]
"""Request in flight, with the step to send."""


def queue_request(tx: Tx, new: NewRequest, plan: RetryPlan) -> None:
    """Store a request that is due at once."""
    queue_requests(tx, [new], plan)


def queue_requests(tx: Tx, news: Collection[NewRequest], plan: RetryPlan) -> None:
    """Store requests that are due at once, in their order."""
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
        own = {name: getattr(new, name) for name in _COPIED}
        progress = seal_progress(tx, new, tx.now, new.progress)
        rows.append(fresh | own | {"progress": progress})
    insert_all(tx, jobs, rows)


_COPIED: Final = ("business_id", "kind", "subject", "destination", "line")


def list_requests_of(tx: Tx, business_id: str, kind: str, subjects: Collection[str]) -> list[OutboundRequest]:
    """Return the requests of subjects: names of the owner's own objects, such as ids of deliveries."""
    own = rows_of(jobs, business_id, kind=kind, subject=list(subjects))
    return tx.list(OutboundRequest, sa.select(jobs).where(*own))


def is_unsure(business_id: sa.Column[Any], kind: str, subject: sa.Column[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that the last step of a request may have arrived, for a query."""
    return sa.exists().where(
        jobs.c.business_id == business_id,
        jobs.c.kind == kind,
        jobs.c.subject == subject,
        jobs.c.is_unsure.is_(True),
    )


def mark_requests_done(tx: Tx, business_id: str, kind: str, subject: str) -> None:
    """Mark the requests of a subject as done, claimed or not.

    For an outcome that arrived another way, such as a webhook, or before the owner queues a new request.
    """
    own = rows_of(jobs, business_id, kind=kind, subject=subject)
    values = {"state": RequestState.DONE, "claim": None, "is_unsure": False, "settled_at": tx.now}
    tx.execute(sa.update(jobs).where(*own).values(**values, reason="", failed_at=None))


def hasten_requests(tx: Tx, business_id: str, kind: str, destination: str, at: datetime) -> None:
    """Retry unclaimed requests at ``at`` at the latest, as their destination responds again."""
    own = rows_of(jobs, business_id, kind=kind, destination=destination)
    waiting = sa.update(jobs).where(DUE, *own, jobs.c.claim.is_(None), jobs.c.due_at > at)
    tx.execute(waiting.values(due_at=at))


def delete_requests_of(tx: Tx, business_id: str, kind: str, subjects: Collection[str]) -> None:
    tx.delete(jobs, business_id, kind=kind, subject=list(subjects))


def seal_progress(
    tx: Tx, request: NewRequest | OutboundRequest, created_at: datetime, progress: str
) -> bytes | None:
    """Seal the progress of a request; return None for an empty one."""
    row = row_key(request.kind, request.subject, created_at)
    return tx.seal(progress, request.business_id, "jobs.progress", row)


def record_asked(tx: Tx, steps: Collection[Claimed], until: datetime | None = None) -> None:
    """Store steps before they are sent, so that another process can continue.

    The first step of a request also claims it: ``until`` is the end of its lease.
    """
    rows = []
    for request, ask in steps:
        sealed_progress = seal_progress(tx, request, request.created_at, ask.progress)
        values = {"of": request.business_id, "number": request.id, "progress": sealed_progress}
        values["is_unsure"] = not ask.is_repeatable
        if until is not None:
            values |= {"claim": request.claim, "due_at": until, "attempts": request.attempts}
        rows.append(values)
    write_rows(tx, _ASK if until is None else _CLAIM, rows)


def renew_claims(tx: Tx, claims: Collection[str], until: datetime) -> None:
    statement = sa.update(jobs).where(DUE, jobs.c.claim.in_(list(claims)))
    tx.execute(statement.values(due_at=until))


def _changing(*names: str) -> sa.Update:
    """Build the cached update of one row."""
    own = jobs.c.business_id == sa.bindparam("of"), jobs.c.id == sa.bindparam("number")
    return sa.update(jobs).where(*own).values({name: sa.bindparam(name) for name in names})


_ASK: Final = _changing("progress", "is_unsure")
_CLAIM: Final = _changing("claim", "due_at", "attempts", "progress", "is_unsure")
_OUTCOME: Final = _changing(
    "state", "reason", "claim", "is_unsure", "failed_at", "due_at", "settled_at", "attempts"
)
_CLAIMS: Final = (
    sa.select(jobs.c.claim)
    .where(within(jobs.c.business_id, "of"), within(jobs.c.id, "numbers"), jobs.c.state == RequestState.DUE)
    .order_by(jobs.c.id)
    .with_for_update()
)


_DUE_BY: Final = sa.bindparam("now", type_=Instant)
_MOST: Final = sa.bindparam("most", type_=sa.Integer)
_EXCLUDED: Final[sa.BindParameter[Any]] = sa.bindparam("but", type_=sa.String, expanding=True)


_EARLIER: Final = jobs.alias("earlier")
_IS_FIRST_OF_LINE: Final = ~sa.exists().where(
    sa.literal_column("(earlier.state = 'due' AND earlier.line <> '')"),
    _EARLIER.c.kind == jobs.c.kind,
    _EARLIER.c.line == jobs.c.line,
    _EARLIER.c.id < jobs.c.id,
)
_SAME_DESTINATION: Final = jobs.c.destination == sa.bindparam("destination")
# These queries run after each commit, so they are built once.
_DUE_DESTINATIONS: Final = distinct_due(jobs.c.destination, DUE, jobs.c.due_at)
_DESTINATIONS: Final = _DUE_DESTINATIONS.where(_DUE_DESTINATIONS.selected_columns[0].not_in(_EXCLUDED))
_REQUESTS_TO_ONE: Final = (
    sa.select(jobs)
    .where(DUE, _SAME_DESTINATION, jobs.c.due_at <= _DUE_BY, _IS_FIRST_OF_LINE)
    .order_by(jobs.c.due_at, jobs.c.id)
    .limit(_MOST)
    .with_for_update(skip_locked=True)
)
_DESTINATION: Final = _DESTINATIONS.subquery("turn_of")
_FIRST_REQUESTS: Final = (
    sa.select(jobs)
    .where(DUE, jobs.c.destination == _DESTINATION.c.value, jobs.c.due_at <= _DUE_BY, _IS_FIRST_OF_LINE)
    .order_by(jobs.c.due_at, jobs.c.id)
    .limit(sa.bindparam("each", type_=sa.Integer))
    .with_for_update(skip_locked=True)
    .lateral("some")
)
_SEVERAL_DESTINATIONS: Final = (
    sa.select(*_FIRST_REQUESTS.c)
    .select_from(_DESTINATION.join(_FIRST_REQUESTS, sa.true()))
    .order_by(_FIRST_REQUESTS.c.destination, _FIRST_REQUESTS.c.due_at, _FIRST_REQUESTS.c.id)
)
"""Some requests of several destinations, in one round trip."""
WAITING: Final = Queue(jobs, sa.and_(DUE, _SAME_DESTINATION), jobs.c.due_at, _IS_FIRST_OF_LINE)
"""Queue of one ``destination``, which is a parameter."""


def list_due_destinations(tx: Tx, after: str, but: Collection[str], most: int) -> list[str]:
    """Return at most ``most`` destinations with a due request, by name, from ``after`` on, without ``but``.

    An index skip scan avoids reading many requests to one destination.
    """
    values = {"after": after, "now": tx.now, "but": list(but), "most": most}
    return list(tx.execute(_DESTINATIONS, values).scalars())


def list_due(
    tx: Tx, after: str, but: Collection[str], most: int, limit_each: int
) -> dict[str, list[OutboundRequest]]:
    """Return due requests of at most ``most`` destinations, ``limit_each`` per destination.

    Requests of one line are sent in sequence, so only the first unsettled one of a line may be among them.
    """
    values = {"after": after, "now": tx.now, "but": list(but), "most": most, "each": limit_each}
    if not tx.locks_rows:  # SQLite has no lateral join, and its queries are cheap
        return {
            name: tx.list(
                OutboundRequest, _REQUESTS_TO_ONE, values | {"destination": name, "most": limit_each}
            )
            for name in list_due_destinations(tx, after, but, most)
        }
    due: dict[str, list[OutboundRequest]] = {}
    for request in tx.list(OutboundRequest, _SEVERAL_DESTINATIONS, values):
        due.setdefault(request.destination, []).append(request)
    return due


def record_replay(
    tx: Tx, request: OutboundRequest, lifetime: timedelta | None, *, keeps_progress: bool = False
) -> None:
    """Make an unclaimed job due again, with all tries of its plan left."""
    fresh = {"state": RequestState.DUE, "attempts": 0, "due_at": tx.now, "reason": "", "failed_at": None}
    fresh |= {"settled_at": None, "expires_at": lifetime and tx.now + lifetime}
    fresh["is_wanted_again"] = False
    if not keeps_progress:
        fresh["progress"] = None
    tx.change(jobs, request.business_id, request.id, jobs.c.claim.is_(None), **fresh)


def poll_again(tx: Tx, poll: OutboundRequest, plan: RetryPlan) -> None:
    """Make a poll due now, or again after the running one, which may have missed the news."""
    tx.change(jobs, poll.business_id, poll.id, jobs.c.claim.is_not(None), is_wanted_again=True)
    record_replay(tx, poll, plan.lifetime, keeps_progress=True)


def send_again(tx: Tx, new: NewRequest, plan: RetryPlan) -> None:
    """Make the request of a subject due again; queue it anew if it was deleted."""
    requests = list_requests_of(tx, new.business_id, new.kind, [new.subject])
    for request in requests:
        record_replay(tx, request, plan.lifetime)
    if not requests:
        queue_request(tx, new, plan)


def list_failed_jobs(tx: Tx, business_id: str, limit: int) -> list[OutboundRequest]:
    """Return dead jobs of a tenant, then failed ones with a retry, latest failure first."""
    query = sa.select(jobs).where(FAILED, jobs.c.business_id == business_id)
    query = query.order_by(jobs.c.state, jobs.c.failed_at.desc().nulls_last(), jobs.c.id.desc())
    return tx.list(OutboundRequest, query.limit(limit))


def dismiss_dead_jobs(tx: Tx, business_id: str) -> int:
    """Dismiss all dead letters of a tenant, and return how many."""
    own = FAILED, jobs.c.business_id == business_id
    dead = sa.update(jobs).where(*own, jobs.c.state == RequestState.DEAD)
    return tx.execute(dead.values(state=RequestState.DISMISSED, settled_at=tx.now)).rowcount


def purge_jobs(tx: Tx, before: datetime) -> int:
    """Delete some jobs that were finished before a time, and return how many; dead letters stay."""
    return tx.delete_some(jobs, OVER, jobs.c.settled_at < before)


@dataclass(frozen=True, slots=True)
class RequestCount:
    """Count of requests; ``due_since`` is the due time of the oldest unclaimed one."""

    kind: str
    state: RequestState
    count: int
    due_since: datetime | None


def count_requests(tx: Tx) -> list[RequestCount]:
    """Count due and dead requests of all tenants."""
    group = jobs.c.kind, jobs.c.state
    waits = (jobs.c.state == RequestState.DUE) & jobs.c.claim.is_(None)
    late = waits & (jobs.c.due_at <= tx.now)
    since = sa.func.min(sa.case((late, jobs.c.due_at))).label("due_since")
    is_open = jobs.c.state.in_((RequestState.DUE, RequestState.DEAD))
    counted = sa.select(*group, sa.func.count().label("count"), since).where(
        jobs.c.event_seq.is_(None), is_open
    )
    return tx.list(RequestCount, counted.group_by(*group))


@dataclass(frozen=True, slots=True)
class OutboundKind:
    """Functions of the owner of a kind of requests.

    Attributes:
        name: durable name, stored in rows.
        begin: return the first step, or the step after the stored progress.
        read: return the step after a response. It may store findings, such as a fresh token, in the same
            transaction.
        settle: notify the owner of an outcome. The state is due where a retry follows.
        plan: times of retries.
        replay: prepare a replay by a member; it raises `Refused` where that is impossible.
        keeps_progress: whether a replay continues from the stored progress, as a poll does.
    """

    name: str
    begin: Callable[[Tx, OutboundRequest], Step]
    read: Callable[[Tx, OutboundRequest, HttpAnswer], Step]
    settle: Callable[[Tx, OutboundRequest, Outcome, RequestState], None]
    plan: RetryPlan
    replay: Callable[[Tx, OutboundRequest], object] | None = None
    keeps_progress: bool = False


type Chance = Callable[[], float]
"""Source of random numbers from 0 to 1."""
type Kinds = Mapping[str, OutboundKind]

UNKNOWN_KIND: Final = timedelta(minutes=10)
"""Delay of requests of a kind that this release does not have."""
_SHORT_TIMEOUT: Final = sa.text("SET LOCAL lock_timeout = '500ms'")
"""In a deadlock the batch fails first, and its requests follow one by one.

After a second PostgreSQL would end either of the two transactions.
"""


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """Request with the step that was sent and its response."""

    request: OutboundRequest
    ask: Ask
    exchange: HttpOutcome


def begin_requests(
    tx: Tx,
    kinds: Kinds,
    requests: Sequence[OutboundRequest],
    until: datetime,
    chance: Chance,
    *,
    is_alone: bool = False,
) -> tuple[list[Claimed], int]:
    """Claim requests until a time; settle those without a first step.

    It stops when the time of a batch is up. Returns the first steps, and how many requests were handled. An
    error of an owner undoes all; ``is_alone`` runs its functions in savepoints, so that an error becomes a
    failed attempt.
    """
    claimed: list[Claimed] = []
    settled: list[tuple[OutboundRequest, Outcome]] = []
    handled = 0
    for request in in_time(requests):
        handled += 1
        kind = kinds.get(request.kind)
        if kind is None:  # another release queued it
            tx.change(jobs, request.business_id, request.id, due_at=tx.now + UNKNOWN_KIND)
            continue
        if request.is_unsure:  # its sender died: it may have arrived
            settled.append((request, Failed(SendFailure.LOST.value)))
            continue
        fresh = replace(request, claim=new_id(), attempts=request.attempts + 1)
        begin = partial(kind.begin, tx, fresh)
        step = _run_alone(tx, kind, begin, NotNow(SendFailure.BROKEN.value)) if is_alone else begin()
        if isinstance(step, Ask):
            claimed.append((fresh, step))
        else:
            settled.append((fresh, step))
    record_asked(tx, claimed, until)
    settle_requests(tx, kinds, settled, chance, is_alone=is_alone)
    return claimed, handled


def take_answers(
    tx: Tx, kinds: Kinds, answered: Sequence[AnsweredRequest], chance: Chance, *, is_alone: bool = False
) -> list[Ask | None]:
    """Store the results of steps, and return the next ones; None where there is an outcome.

    It writes each table once, and stops when the time of a batch is up, so the list may be shorter than
    ``answered``. ``is_alone`` as in ``begin_requests``.
    """
    if not answered:
        return []
    if tx.locks_rows and not is_alone:
        tx.execute(_SHORT_TIMEOUT)
    steps: list[Step] = []
    for item in in_time(answered):
        kind, ask = kinds[item.request.kind], item.ask
        if isinstance(item.exchange, SendFailure):
            steps.append(_step_without_answer(ask, item.exchange))
            continue
        read = partial(kind.read, tx, replace(item.request, progress=ask.progress), item.exchange)
        broken = _step_without_answer(ask, SendFailure.BROKEN)
        steps.append(_run_alone(tx, kind, read, broken) if is_alone else read())
    handled = answered[: len(steps)]
    places = {
        "of": [item.request.business_id for item in handled],
        "numbers": [item.request.id for item in handled],
    }
    claims = set(tx.execute(_CLAIMS, places).scalars())
    next_steps: dict[str | None, Claimed] = {}
    settled: list[tuple[OutboundRequest, Outcome]] = []
    for item, step in zip(handled, steps, strict=True):
        is_claimed = item.request.claim is not None and item.request.claim in claims
        if isinstance(step, Ask):
            if is_claimed:
                next_steps[item.request.claim] = (item.request, step)
        elif is_claimed or isinstance(step, Done):  # a success counts even without the claim
            settled.append((item.request, step))
    record_asked(tx, next_steps.values())
    settle_requests(tx, kinds, settled, chance, is_alone=is_alone)
    return [
        next_steps[item.request.claim][1] if item.request.claim in next_steps else None for item in handled
    ]


def _step_without_answer(ask: Ask, failure: SendFailure) -> NotNow | Failed:
    """Return the outcome of a missing response; steps that may have arrived repeat only if repeatable."""
    may_repeat = failure is not SendFailure.FORBIDDEN and ask.is_repeatable
    kind = NotNow if may_repeat or failure is SendFailure.UNREACHED else Failed
    return kind(failure.value)


def settle_requests(
    tx: Tx,
    kinds: Kinds,
    settled: Sequence[tuple[OutboundRequest, Outcome]],
    chance: Chance,
    *,
    is_alone: bool = False,
) -> None:
    """Store all outcomes, then notify the owners; ``is_alone`` as in ``begin_requests``."""
    outcomes: list[tuple[OutboundRequest, Outcome, RequestState]] = []
    rows = []
    for request, outcome in settled:
        plan = kinds[request.kind].plan
        if isinstance(outcome, Later):
            next_at = tx.now + timedelta(seconds=outcome.after_s)
            due_at = sa.case(
                (jobs.c.is_wanted_again, sa.literal(tx.now, Instant)), else_=sa.literal(next_at, Instant)
            )
            values: dict[str, Any] = {
                "attempts": 0,
                "claim": None,
                "is_unsure": False,
                "is_wanted_again": False,
                "reason": "",
                "failed_at": None,
                "due_at": due_at,
                "expires_at": None if plan.lifetime is None else next_at + plan.lifetime,
                "progress": seal_progress(tx, request, request.created_at, outcome.progress),
            }
            tx.change(jobs, request.business_id, request.id, **values)
            outcomes.append((request, outcome, RequestState.DUE))
            continue
        retry_at = None  # after the last try, or after the lifetime
        if isinstance(outcome, NotNow) and request.attempts <= len(plan.waits_s):
            wait_s = with_jitter(plan.waits_s[request.attempts - 1], chance())
            at = tx.now + timedelta(seconds=max(wait_s, outcome.after_s or 0.0))
            retry_at = at if request.expires_at is None or at <= request.expires_at else None
        if isinstance(outcome, Done):
            state, reason = RequestState.DONE, ""
        else:
            state, reason = RequestState.DUE if retry_at else RequestState.DEAD, outcome.reason[:64]
        row = {
            "of": request.business_id,
            "number": request.id,
            "state": state,
            "reason": reason,
            "claim": None,
            "is_unsure": False,
            "attempts": request.attempts,
            "failed_at": request.failed_at or tx.now if reason else None,
            "due_at": retry_at or tx.now,
            "settled_at": None if retry_at else tx.now,
        }
        rows.append(row)
        outcomes.append((request, outcome, state))
    write_rows(tx, _OUTCOME, rows)
    for request, outcome, state in outcomes:
        notify = partial(kinds[request.kind].settle, tx, request, outcome, state)
        if is_alone:
            _run_alone(tx, kinds[request.kind], notify, None, passes=OperationalError)
        else:
            notify()


def _run_alone[T, U](
    tx: Tx, kind: OutboundKind, work: Callable[[], T], instead: U, passes: type[Exception] | tuple[()] = ()
) -> T | U:
    """Return the result of an owner's function, or of an error, which concerns this request alone.

    An error of ``passes`` concerns the whole transaction, as when the database is away.
    """
    try:
        with savepoint(tx):
            return work()
    except passes:
        raise
    except Exception as error:  # only this request is affected
        logger().error("outbound.broken", kind=kind.name, error_at=where(error))
        return instead


def expire_requests(tx: Tx, kinds: Kinds) -> int:
    """Settle requests past their lifetime as failed, and return how many."""
    is_over = (jobs.c.expires_at <= tx.now) & (jobs.c.due_at <= tx.now)
    over = sa.select(jobs).where(DUE, is_over, jobs.c.kind.in_(list(kinds)))
    over = over.order_by(jobs.c.expires_at).limit(100)
    count = 0
    for request in in_time(tx.list(OutboundRequest, over.with_for_update(skip_locked=True))):
        settled = [(request, Failed(request.reason or EXPIRED))]
        settle_requests(tx, kinds, settled, float, is_alone=True)  # no chance, as no retry follows
        count += 1
    return count


def replay_request(tx: Tx, kinds: Kinds, request: OutboundRequest) -> None:
    """Do a failed job again from its first step.

    Raises CONFLICT, when it is in flight, or its kind is unknown; reasons of its owner.
    """
    if request.event_seq is not None:
        record_replay(tx, request, None)
        return
    kind = kinds.get(request.kind)
    if kind is None or request.claim is not None or request.state is RequestState.DONE:
        raise Refused(errors.CONFLICT, "This delivery is already on its way or has arrived.")
    if kind.replay is not None and request.state is not RequestState.DUE:
        kind.replay(tx, request)
    record_replay(tx, request, kind.plan.lifetime, keeps_progress=kind.keeps_progress)


def dismiss_request(tx: Tx, kinds: Kinds, request: OutboundRequest) -> None:
    """Dismiss a failed job. Owners of dead letters were notified before; others are notified now.

    Raises CONFLICT, when it is in flight, or did not fail.
    """
    dismissed = {"state": RequestState.DISMISSED, "settled_at": tx.now}
    is_failed = FAILED & jobs.c.claim.is_(None)
    if not tx.change(jobs, request.business_id, request.id, is_failed, **dismissed):
        raise Refused(errors.CONFLICT, "This delivery is already on its way or has arrived.")
    kind = kinds.get(request.kind)
    if kind is not None and request.state is RequestState.DUE:
        notify = partial(kind.settle, tx, request, Failed(DISMISSED), RequestState.DISMISSED)
        _run_alone(tx, kind, notify, None, passes=OperationalError)
