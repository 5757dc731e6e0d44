"""A kind of requests to outside systems: the functions that its owner gives to the machine."""

from collections.abc import Callable
from dataclasses import dataclass

from contatto.kit.db.tx import Tx
from contatto.kit.exchange import HttpAnswer
from contatto.kit.outbound.model import OutboundRequest, Outcome, RequestState, RetryPlan, Step


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
