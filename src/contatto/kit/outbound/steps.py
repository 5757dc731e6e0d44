"""Steps of outbound requests, in batches, or one by one after an error in a batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from contatto.kit import errors
from contatto.kit.db.tx import Tx, in_time
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.log import logger, where
from contatto.kit.outbound import store
from contatto.kit.outbound.model import (
    ANSWER_LOST,
    BROKEN,
    DISMISSED,
    EXPIRED,
    FORBIDDEN_ADDRESS,
    UNREACHED,
    Ask,
    Done,
    Failed,
    HttpAnswer,
    HttpOutcome,
    Later,
    NoAnswer,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
    Result,
    RetryPlan,
    SendFailure,
    Step,
    with_jitter,
)
from contatto.kit.outbound.store import list_expired_requests, record_dismissed, record_replay


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
    replay: Callable[[Tx, OutboundRequest], None] | None = None
    keeps_progress: bool = False


type Chance = Callable[[], float]
"""Source of random numbers from 0 to 1."""

_NO_CHANCE: Final = float
"""Constant 0, where no retry follows."""


def start_request(
    tx: Tx, kind: OutboundKind, request: OutboundRequest, until: datetime, chance: Chance
) -> tuple[OutboundRequest, Ask] | None:
    """Claim a request until a time, and return its first step; None where it was settled at once."""
    if request.is_unsure:  # its sender died: it may have arrived
        settle_request(tx, kind, request, Failed(ANSWER_LOST), chance)
        return None
    claimed = replace(request, claim=new_id(), attempts=request.attempts + 1)
    try:
        with tx.connection.begin_nested():
            step = kind.begin(tx, claimed)
    except Exception as error:  # only this request is affected
        logger().error("outbound.broken", kind=kind.name, error_at=where(error))
        step = NotNow(BROKEN)
    if not isinstance(step, Ask):
        settle_request(tx, kind, claimed, step, chance)
        return None
    store.mark_claimed(tx, [(claimed, step)], until)
    return claimed, step


def next_step(
    tx: Tx,
    kind: OutboundKind,
    request: OutboundRequest,
    exchanged: tuple[Ask, HttpOutcome],
    chance: Chance,
) -> Ask | None:
    """Store the result of a step, and return the next one; None when there is an outcome."""
    ask, exchange = exchanged
    step: Step
    if isinstance(exchange, NoAnswer):
        step = step_without_answer(ask, exchange)
    else:
        try:
            with tx.connection.begin_nested():
                step = kind.read(tx, replace(request, progress=ask.progress), exchange)
        except Exception as error:  # only this request is affected
            logger().error("outbound.broken", kind=kind.name, error_at=where(error))
            step = NotNow(BROKEN) if ask.is_repeatable else Failed(BROKEN)
    is_claimed = bool(store.list_claimed(tx, [request]))
    if is_claimed and isinstance(step, Ask):
        store.record_asked(tx, [(request, step)])
        return step
    # A success counts even without the claim.
    if not isinstance(step, Ask) and (is_claimed or isinstance(step, Done)):
        settle_request(tx, kind, request, step, chance)
    return None


def step_without_answer(ask: Ask, exchange: NoAnswer) -> NotNow | Failed:
    """Return the outcome of a missing response; steps that may have arrived repeat only if repeatable."""
    if exchange.trouble is SendFailure.FORBIDDEN:
        return Failed(FORBIDDEN_ADDRESS)
    if exchange.trouble is SendFailure.UNREACHED:
        return NotNow(UNREACHED)
    if exchange.trouble is SendFailure.BROKEN:
        return NotNow(BROKEN) if ask.is_repeatable else Failed(BROKEN)
    return NotNow(ANSWER_LOST) if ask.is_repeatable else Failed(ANSWER_LOST)


def settle_request(
    tx: Tx, kind: OutboundKind, request: OutboundRequest, outcome: Outcome, chance: Chance
) -> None:
    """Store an outcome, and notify the owner."""
    if isinstance(outcome, Later):
        record_poll(tx, kind.plan, request, outcome)
        _notify_owner(tx, kind, request, outcome, RequestState.DUE)
        return
    result = result_of(tx, kind.plan, request, outcome, chance)
    store.record_outcomes(tx, [(request, result)])
    _notify_owner(tx, kind, request, outcome, result.state)


def record_poll(tx: Tx, plan: RetryPlan, request: OutboundRequest, outcome: Later) -> None:
    """Store the progress of a poll, and when it continues."""
    next_at = tx.now + timedelta(seconds=outcome.after_s)
    expires_at = None if plan.lifetime is None else next_at + plan.lifetime
    store.record_poll(tx, request, outcome.progress, next_at, expires_at)


def result_of(
    tx: Tx, plan: RetryPlan, request: OutboundRequest, outcome: Done | NotNow | Failed, chance: Chance
) -> Result:
    """Return the state of a request after an outcome."""
    if isinstance(outcome, Done):
        return Result(RequestState.DONE)
    if isinstance(outcome, NotNow) and request.attempts <= len(plan.waits_s):
        wait_s = max(with_jitter(plan.waits_s[request.attempts - 1], chance()), outcome.after_s or 0.0)
        due_at = tx.now + timedelta(seconds=wait_s)
        if request.expires_at is None or due_at <= request.expires_at:
            return Result(RequestState.DUE, outcome.reason, due_at)
    return Result(RequestState.DEAD, outcome.reason)


def _notify_owner(
    tx: Tx, kind: OutboundKind, request: OutboundRequest, outcome: Outcome, state: RequestState
) -> None:
    """Notify the owner; its errors neither repeat a request nor delay others."""
    try:
        with tx.connection.begin_nested():
            kind.settle(tx, request, outcome, state)
    except OperationalError:  # the database is away: the whole transaction fails
        raise
    except Exception as error:  # only this request is affected
        logger().error("outbound.broken", kind=kind.name, error_at=where(error))


def expire_requests(tx: Tx, kinds: Mapping[str, OutboundKind]) -> int:
    """Settle requests past their lifetime as failed, and return how many."""
    count = 0
    for request in in_time(list_expired_requests(tx, list(kinds), 100)):
        settle_request(tx, kinds[request.kind], request, Failed(request.reason or EXPIRED), _NO_CHANCE)
        count += 1
    return count


def replay_request(tx: Tx, kinds: Mapping[str, OutboundKind], request: OutboundRequest) -> None:
    """Do a failed job again from its first step.

    Raises:
        Refused: CONFLICT, when it is in flight, or its kind is unknown; reasons of its owner.
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


def dismiss_request(tx: Tx, kinds: Mapping[str, OutboundKind], request: OutboundRequest) -> None:
    """Dismiss a failed job. Owners of dead letters were notified before; others are notified now.

    Raises:
        Refused: CONFLICT, when it is in flight, or did not fail.
    """
    if not record_dismissed(tx, request):
        raise Refused(errors.CONFLICT, "This delivery is already on its way or has arrived.")
    kind = kinds.get(request.kind)
    if kind is not None and request.state is RequestState.DUE:
        _notify_owner(tx, kind, request, Failed(DISMISSED), RequestState.DISMISSED)


UNKNOWN_KIND: Final = timedelta(minutes=10)
"""Delay of requests of a kind that this release does not have."""
_SHORT_TIMEOUT: Final = text("SET LOCAL lock_timeout = '500ms'")
"""In a deadlock the batch fails first, and its requests follow one by one.

After a second PostgreSQL would end either of the two transactions.
"""

type Kinds = Mapping[str, OutboundKind]
type Claimed = tuple[OutboundRequest, Ask]


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """Request with the step that was sent and its response."""

    request: OutboundRequest
    ask: Ask
    exchange: HttpOutcome


def shorten_lock_timeout(tx: Tx) -> None:
    """Let this transaction wait for locks only briefly."""
    if tx.locks_rows:
        tx.execute(_SHORT_TIMEOUT)


def take_answers(
    tx: Tx, kinds: Kinds, answered: Sequence[AnsweredRequest], chance: Chance
) -> list[Ask | None]:
    """Store the results of steps, and return the next ones; None where there is an outcome.

    It writes each table once, without savepoints: an error undoes the whole batch. It stops when the time of
    a batch is up, so the list may be shorter than ``answered``.
    """
    if not answered:
        return []
    steps: list[Step] = []
    for item in in_time(answered):
        if isinstance(item.exchange, NoAnswer):
            steps.append(step_without_answer(item.ask, item.exchange))
        else:
            request = replace(item.request, progress=item.ask.progress)
            steps.append(kinds[request.kind].read(tx, request, item.exchange))
    handled = answered[: len(steps)]
    claims = store.list_claimed(tx, [item.request for item in handled])
    next_steps: dict[str | None, Claimed] = {}
    settled: list[tuple[OutboundRequest, Outcome]] = []
    for item, step in zip(handled, steps, strict=True):
        is_claimed = item.request.claim in claims
        if isinstance(step, Ask):
            if is_claimed:
                next_steps[item.request.claim] = (item.request, step)
        elif is_claimed or isinstance(step, Done):  # a success counts even without the claim
            settled.append((item.request, step))
    store.record_asked(tx, list(next_steps.values()))
    _settle_all(tx, kinds, settled, chance)
    return [
        next_steps[item.request.claim][1] if item.request.claim in next_steps else None for item in handled
    ]


@dataclass(frozen=True, slots=True)
class Begun:
    """First steps of due requests, and how many requests were handled."""

    claimed: list[Claimed]
    handled: int


def begin_requests(
    tx: Tx, kinds: Kinds, requests: Sequence[OutboundRequest], until: datetime, chance: Chance
) -> Begun:
    """Claim requests until a time, and return their first steps; settle those without one.

    It stops when the time of a batch is up, after the first ``handled`` ones.
    """
    claimed: list[Claimed] = []
    settled: list[tuple[OutboundRequest, Outcome]] = []
    handled = 0
    for request in in_time(requests):
        handled += 1
        kind = kinds.get(request.kind)
        if kind is None:  # another release queued it
            store.put_off(tx, request, tx.now + UNKNOWN_KIND)
            continue
        if request.is_unsure:  # its sender died: it may have arrived
            settled.append((request, Failed(ANSWER_LOST)))
            continue
        taken_request = replace(request, claim=new_id(), attempts=request.attempts + 1)
        step = kind.begin(tx, taken_request)
        if isinstance(step, Ask):
            claimed.append((taken_request, step))
        else:
            settled.append((taken_request, step))
    store.mark_claimed(tx, claimed, until)
    _settle_all(tx, kinds, settled, chance)
    return Begun(claimed, handled)


def _settle_all(
    tx: Tx, kinds: Kinds, settled: Sequence[tuple[OutboundRequest, Outcome]], chance: Chance
) -> None:
    """Store all outcomes, then notify the owners."""
    outcomes: list[tuple[OutboundRequest, Outcome, RequestState]] = []
    results: list[tuple[OutboundRequest, Result]] = []
    for request, outcome in settled:
        kind = kinds[request.kind]
        if isinstance(outcome, Later):
            record_poll(tx, kind.plan, request, outcome)
            outcomes.append((request, outcome, RequestState.DUE))
        else:
            result = result_of(tx, kind.plan, request, outcome, chance)
            results.append((request, result))
            outcomes.append((request, outcome, result.state))
    store.record_outcomes(tx, results)
    for request, outcome, state in outcomes:
        kinds[request.kind].settle(tx, request, outcome, state)
