"""Steps of outbound requests, one by one and in batches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from contatto.kit import errors
from contatto.kit.clock import in_time
from contatto.kit.db.tx import Tx
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
    """What the owner of a kind of requests gives.

    Attributes:
        name: kept in rows; it must never change.
        begin: the first step, or the next one of a request that was begun: its progress says where it stands.
        read: the next step after an answer. It may write down what it learns, such as a fresh token, in the
            same transaction as the step.
        settle: tell the owner what came of a try. The state is due where another try follows.
        plan: when it is tried again.
        replay: make ready again what a person replays; refuses where that cannot be.
        keeps_progress: whether a replay goes on from where it stood, as a poll does, and not from the start.
    """

    name: str
    begin: Callable[[Tx, OutboundRequest], Step]
    read: Callable[[Tx, OutboundRequest, HttpAnswer], Step]
    settle: Callable[[Tx, OutboundRequest, Outcome, RequestState], None]
    plan: RetryPlan
    replay: Callable[[Tx, OutboundRequest], None] | None = None
    keeps_progress: bool = False


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
    store.mark_claimed(tx, [(mine, step)], until)
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
    if store.list_claimed(tx, [request]):
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
        store.record_asked(tx, [(request, step)])
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
    store.record_outcomes(tx, [(request, result)])
    _tell(tx, kind, request, outcome, result.state)


def record_poll(tx: Tx, plan: RetryPlan, request: OutboundRequest, outcome: Later) -> None:
    """Note up to where a poll has come, and when it goes on."""
    asked_at = tx.now + timedelta(seconds=outcome.after_s)
    expires_at = None if plan.lifetime is None else asked_at + plan.lifetime
    store.record_poll(tx, request, outcome.progress, asked_at, expires_at)


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


UNKNOWN_KIND: Final = timedelta(minutes=10)
"""How long a request waits whose kind is not known here, before it is looked at again."""
_GIVE_WAY: Final = text("SET LOCAL lock_timeout = '500ms'")
"""Two that hold rows of many leads may wait for each other: the machine gives up first, and goes one by one.

PostgreSQL itself ends one of the two after a second, whichever it may be.
"""

type Kinds = Mapping[str, OutboundKind]
type Claimed = tuple[OutboundRequest, Ask]


@dataclass(frozen=True, slots=True)
class Answered:
    """A request, what was sent of it, and what came of that."""

    request: OutboundRequest
    ask: Ask
    exchange: HttpOutcome


def give_way(tx: Tx) -> None:
    """Let this transaction wait for others for a moment only."""
    if tx.locks_rows:
        tx.execute(_GIVE_WAY)


def take_answers(tx: Tx, kinds: Kinds, answered: Sequence[Answered], chance: Chance) -> list[Ask | None]:
    """Write down what came of some steps, and give the next ones; None where there is an outcome.

    It goes on for as long as a batch may: the list may be shorter than what was given.
    """
    if not answered:
        return []
    steps = [_read_answered(tx, kinds, each) for each in in_time(answered)]
    claimed = store.list_claimed(tx, [each.request for each in answered[: len(steps)]])
    asked: list[Claimed] = []
    settled: list[tuple[OutboundRequest, Outcome]] = []
    for each, step in zip(answered, steps, strict=False):
        is_ours = each.request.claim in claimed
        if isinstance(step, Ask):
            if is_ours:
                asked.append((each.request, step))
        elif is_ours or isinstance(step, Done):  # else another took it over meanwhile, and knows more
            settled.append((each.request, step))
    store.record_asked(tx, asked)
    _settle_all(tx, kinds, settled, chance)
    going = {request.claim: ask for request, ask in asked}
    return [going.get(each.request.claim) for each in answered[: len(steps)]]


def _read_answered(tx: Tx, kinds: Kinds, answered: Answered) -> Step:
    exchange = answered.exchange
    if isinstance(exchange, NoAnswer):
        return step_without_answer(answered.ask, exchange)
    request = replace(answered.request, progress=answered.ask.progress)
    return kinds[request.kind].read(tx, request, exchange)


@dataclass(frozen=True, slots=True)
class Begun:
    """What became of requests that were due: those to send, and how many were looked at."""

    claimed: list[Claimed]
    handled: int


def begin_requests(
    tx: Tx, kinds: Kinds, requests: Sequence[OutboundRequest], until: datetime, chance: Chance
) -> Begun:
    """Take requests until a time, and give what is to be sent; the rest of them is settled at once.

    It goes on for as long as a batch may: so many as were ``handled``, the first ones.
    """
    claimed: list[Claimed] = []
    settled: list[tuple[OutboundRequest, Outcome]] = []
    handled = 0
    for request in in_time(requests):
        handled += 1
        kind = kinds.get(request.kind)
        if kind is None:  # another release queued it: it waits for one that knows its kind
            store.put_off(tx, request, tx.now + UNKNOWN_KIND)
            continue
        if request.is_unsure:  # whoever sent it never came back: it may have arrived
            settled.append((request, Failed(ANSWER_LOST)))
            continue
        mine = replace(request, claim=new_id(), attempts=request.attempts + 1)
        step = kind.begin(tx, mine)
        if isinstance(step, Ask):
            claimed.append((mine, step))
        else:
            settled.append((mine, step))
    store.mark_claimed(tx, claimed, until)
    _settle_all(tx, kinds, settled, chance)
    return Begun(claimed, handled)


def _settle_all(
    tx: Tx, kinds: Kinds, settled: Sequence[tuple[OutboundRequest, Outcome]], chance: Chance
) -> None:
    """Write outcomes down, all of them; then tell the owners."""
    told: list[tuple[OutboundRequest, Outcome, RequestState]] = []
    results: list[tuple[OutboundRequest, Result]] = []
    for request, outcome in settled:
        kind = kinds[request.kind]
        if isinstance(outcome, Later):
            record_poll(tx, kind.plan, request, outcome)
            told.append((request, outcome, RequestState.DUE))
        else:
            result = result_of(tx, kind.plan, request, outcome, chance)
            results.append((request, result))
            told.append((request, outcome, result.state))
    store.record_outcomes(tx, results)
    for request, outcome, state in told:
        kinds[request.kind].settle(tx, request, outcome, state)
