"""The next steps of many requests in one transaction, which writes each table once.

It has no savepoint for each of them: what goes wrong with one raises, and nothing is kept. Then they go one
by one, by ``steps``, where what is wrong concerns one alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text

from contatto.kit.clock import in_time
from contatto.kit.db.tx import Tx
from contatto.kit.exchange import HttpOutcome, NoAnswer
from contatto.kit.ids import new_id
from contatto.kit.outbound import progress
from contatto.kit.outbound.kinds import OutboundKind
from contatto.kit.outbound.model import (
    ANSWER_LOST,
    Ask,
    Done,
    Failed,
    Later,
    OutboundRequest,
    Outcome,
    RequestState,
    Result,
    Step,
)
from contatto.kit.outbound.steps import Chance, record_poll, result_of, step_without_answer

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
    steps = [_read(tx, kinds, each) for each in in_time(answered)]
    claimed = progress.list_claimed(tx, [each.request for each in answered[: len(steps)]])
    asked: list[Claimed] = []
    settled: list[tuple[OutboundRequest, Outcome]] = []
    for each, step in zip(answered, steps, strict=False):
        is_ours = each.request.claim in claimed
        if isinstance(step, Ask):
            if is_ours:
                asked.append((each.request, step))
        elif is_ours or isinstance(step, Done):  # else another took it over meanwhile, and knows more
            settled.append((each.request, step))
    progress.record_asked(tx, asked)
    _settle_all(tx, kinds, settled, chance)
    going = {request.claim: ask for request, ask in asked}
    return [going.get(each.request.claim) for each in answered[: len(steps)]]


def _read(tx: Tx, kinds: Kinds, answered: Answered) -> Step:
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
            progress.put_off(tx, request, tx.now + UNKNOWN_KIND)
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
    progress.mark_claimed(tx, claimed, until)
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
    progress.record_outcomes(tx, results)
    for request, outcome, state in told:
        kinds[request.kind].settle(tx, request, outcome, state)
