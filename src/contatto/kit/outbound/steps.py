"""From one step of a request to the next, each in a transaction of its own."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import OperationalError

from contatto.kit import errors
from contatto.kit.clock import in_time
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.exchange import HttpOutcome, NoAnswer, SendFailure
from contatto.kit.ids import new_id
from contatto.kit.log import logger, where
from contatto.kit.outbound import progress
from contatto.kit.outbound.breaker import with_jitter
from contatto.kit.outbound.dead_letters import list_expired_requests, record_dismissed, record_replay
from contatto.kit.outbound.kinds import OutboundKind
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
    Later,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
    Result,
    RetryPlan,
    Step,
)

type Chance = Callable[[], float]
"""Gives numbers from 0 to 1."""

_NO_CHANCE: Final = float
"""Of what is not tried again no wait is drawn."""


def start_request(
    tx: Tx, kind: OutboundKind, request: OutboundRequest, until: datetime, chance: Chance
) -> tuple[OutboundRequest, Ask] | None:
    """Take a request until a time, and give what is to be sent; None where that is settled at once."""
    if request.is_unsure:  # whoever sent it never came back: it may have arrived
        settle_request(tx, kind, request, Failed(ANSWER_LOST), chance)
        return None
    mine = replace(request, claim=new_id(), attempts=request.attempts + 1)
    step = _begin(tx, kind, mine)
    if not isinstance(step, Ask):
        settle_request(tx, kind, mine, step, chance)
        return None
    progress.mark_claimed(tx, [(mine, step)], until)
    return mine, step


def next_step(
    tx: Tx,
    kind: OutboundKind,
    request: OutboundRequest,
    asked: tuple[Ask, HttpOutcome],
    chance: Chance,
) -> Ask | None:
    """Write down what came of a step, and give the next one; None when there is an outcome."""
    step = _read(tx, kind, request, *asked)
    if progress.list_claimed(tx, [request]):
        return _follow(tx, kind, request, step, chance)
    if isinstance(step, Done):  # another took it over meanwhile, and knew less
        settle_request(tx, kind, request, step, chance)
    return None


def _begin(tx: Tx, kind: OutboundKind, request: OutboundRequest) -> Step:
    try:
        with tx.connection.begin_nested():
            return kind.begin(tx, request)
    except Exception as error:  # it concerns this request alone
        logger().error("outbound.broken", kind=kind.name, error_at=where(error))
        return NotNow(BROKEN)


def _read(tx: Tx, kind: OutboundKind, request: OutboundRequest, ask: Ask, exchange: HttpOutcome) -> Step:
    if isinstance(exchange, NoAnswer):
        return step_without_answer(ask, exchange)
    try:
        with tx.connection.begin_nested():
            return kind.read(tx, replace(request, progress=ask.progress), exchange)
    except Exception as error:  # it concerns this request alone
        logger().error("outbound.broken", kind=kind.name, error_at=where(error))
        return NotNow(BROKEN) if ask.is_repeatable else Failed(BROKEN)


def step_without_answer(ask: Ask, exchange: NoAnswer) -> NotNow | Failed:
    """What is next where no answer came; what may have arrived is repeated only where that does no harm."""
    if exchange.trouble is SendFailure.FORBIDDEN:
        return Failed(FORBIDDEN_ADDRESS)
    if exchange.trouble is SendFailure.UNREACHED:
        return NotNow(UNREACHED)
    if exchange.trouble is SendFailure.BROKEN:
        return NotNow(BROKEN) if ask.is_repeatable else Failed(BROKEN)
    return NotNow(ANSWER_LOST) if ask.is_repeatable else Failed(ANSWER_LOST)


def _follow(tx: Tx, kind: OutboundKind, request: OutboundRequest, step: Step, chance: Chance) -> Ask | None:
    if isinstance(step, Ask):
        progress.record_asked(tx, [(request, step)])
        return step
    settle_request(tx, kind, request, step, chance)
    return None


def settle_request(
    tx: Tx, kind: OutboundKind, request: OutboundRequest, outcome: Outcome, chance: Chance
) -> None:
    """Write an outcome down, and tell the owner."""
    if isinstance(outcome, Later):
        record_poll(tx, kind.plan, request, outcome)
        _tell(tx, kind, request, outcome, RequestState.DUE)
        return
    result = result_of(tx, kind.plan, request, outcome, chance)
    progress.record_outcomes(tx, [(request, result)])
    _tell(tx, kind, request, outcome, result.state)


def record_poll(tx: Tx, plan: RetryPlan, request: OutboundRequest, outcome: Later) -> None:
    """Note up to where a poll has come, and when it goes on."""
    asked_at = tx.now + timedelta(seconds=outcome.after_s)
    expires_at = None if plan.lifetime is None else asked_at + plan.lifetime
    progress.record_poll(tx, request, outcome.progress, asked_at, expires_at)


def result_of(
    tx: Tx, plan: RetryPlan, request: OutboundRequest, outcome: Done | NotNow | Failed, chance: Chance
) -> Result:
    """What an outcome makes of a request."""
    if isinstance(outcome, Done):
        return Result(RequestState.DONE)
    due_at = _next_try(tx, plan, request, outcome, chance) if isinstance(outcome, NotNow) else None
    return Result(RequestState.DEAD if due_at is None else RequestState.DUE, outcome.reason, due_at)


def _tell(
    tx: Tx, kind: OutboundKind, request: OutboundRequest, outcome: Outcome, state: RequestState
) -> None:
    """Tell the owner; what is wrong with the owner's code neither repeats a request nor holds up others."""
    try:
        with tx.connection.begin_nested():
            kind.settle(tx, request, outcome, state)
    except OperationalError:  # the database is away: the transaction as a whole comes to nothing
        raise
    except Exception as error:  # it concerns this request alone
        logger().error("outbound.broken", kind=kind.name, error_at=where(error))


def _next_try(
    tx: Tx, plan: RetryPlan, request: OutboundRequest, outcome: NotNow, chance: Chance
) -> datetime | None:
    """Return when it is tried again, no earlier than the other side asks for; None when it is given up."""
    if request.attempts > len(plan.waits_s):
        return None
    wait_s = max(with_jitter(plan.waits_s[request.attempts - 1], chance()), outcome.after_s or 0.0)
    due_at = tx.now + timedelta(seconds=wait_s)
    return None if request.expires_at is not None and due_at > request.expires_at else due_at


def expire_requests(tx: Tx, kinds: Mapping[str, OutboundKind]) -> int:
    """Give requests up whose lifetime is over, as their destination was down all the while; say how many."""
    count = 0
    for request in in_time(list_expired_requests(tx, list(kinds), 100)):
        settle_request(tx, kinds[request.kind], request, Failed(request.reason or EXPIRED), _NO_CHANCE)
        count += 1
    return count


def replay_request(tx: Tx, kinds: Mapping[str, OutboundKind], request: OutboundRequest) -> None:
    """Send again what was given up, from its first step on.

    Raises:
        Refused: CONFLICT, when it is on its way, or nobody here knows its kind; what its owner refuses.
    """
    kind = kinds.get(request.kind)
    if kind is None or request.claim is not None or request.state is RequestState.DONE:
        raise Refused(errors.CONFLICT, "This delivery is already on its way or has arrived.")
    if kind.replay is not None and request.state is not RequestState.DUE:
        kind.replay(tx, request)
    record_replay(tx, request, kind.plan, keeps_progress=kind.keeps_progress)


def dismiss_request(tx: Tx, kinds: Mapping[str, OutboundKind], request: OutboundRequest) -> None:
    """Give up a request that failed. The owner of a dead letter knows already; one that waits is told.

    Raises:
        Refused: CONFLICT, when it is on its way, or did not fail.
    """
    if not record_dismissed(tx, request):
        raise Refused(errors.CONFLICT, "This delivery is already on its way or has arrived.")
    kind = kinds.get(request.kind)
    if kind is not None and request.state is RequestState.DUE:
        _tell(tx, kind, request, Failed(DISMISSED), RequestState.DISMISSED)
