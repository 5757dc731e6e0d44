"""Carries out a sequence of operations: asks, renews tokens under a lock, disconnects, goes on where it was.

One engine for deliveries, erasures, polls, checks and comparisons; each is a ``Work`` that says which
operation comes next. What it has to know between two requests is kept with the request, sealed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import msgspec

from contatto.crm.model.connector import Connector
from contatto.crm.model.deliveries import CrmProgressed
from contatto.crm.model.operations import (
    Denied,
    Ended,
    Expired,
    Later,
    Link,
    Onward,
    Operation,
    Renew,
    Renewed,
    Reply,
)
from contatto.crm.model.targets import Target, TargetState
from contatto.crm.ports import CrmPorts
from contatto.crm.rules.plans import MOST_RENEWALS, RENEWING, SOON_S
from contatto.crm.store import targets as store
from contatto.kit.db.tx import Tx
from contatto.kit.log import logger
from contatto.kit.outbound import model as outbound
from contatto.kit.outbound.model import (
    Ask,
    Done,
    HttpAnswer,
    HttpRequest,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
    RetryPlan,
    Step,
)
from contatto.kit.outbound.steps import OutboundKind
from contatto.kit.outbox import emit

MOST_TURNS: Final = 40
"""Replies without a request in between; more would be a connector that turns in circles."""


class Work[C](Protocol):
    """A sequence of operations; ``C`` says where it stands, and is kept as JSON."""

    @property
    def shape(self) -> type[C]: ...

    @property
    def only_reads(self) -> bool:
        """Return whether it changes nothing in the CRM: then it goes on while the target is paused."""
        ...

    def target_of(self, tx: Tx, request: OutboundRequest) -> Target | None:
        """The target that it concerns; None when there is nothing to do any more."""
        ...

    def begin(self, tx: Tx, request: OutboundRequest, target: Target) -> C | Outcome:
        """The first step, whatever was done before."""
        ...

    def operation(self, course: C) -> Operation: ...

    def turn(self, tx: Tx, request: OutboundRequest, target: Target, course: C, reply: Reply) -> C | Outcome:
        """The next step after a reply, or the outcome."""
        ...

    def hold(self, tx: Tx, request: OutboundRequest) -> None:
        """Keep what is to be done until the target is active again; the request ends."""
        ...


type Settle = Callable[[Tx, OutboundRequest, Outcome, RequestState], None]


def settle_nothing(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """What came of it stands where the work itself has kept it."""


@dataclass(frozen=True, slots=True)
class _Progress:
    course: str = field(repr=False)
    secrets_revision: int
    renewals: int = 0
    is_renewing: bool = False
    memory: str = field(default="", repr=False)


def link_of(target: Target, tx: Tx) -> Link:
    return Link(target.address, target.settings, target.secrets, tx.now)


def publish_connection(tx: Tx, target: Target) -> None:
    """Notify open pages that the connection of a target changed."""
    emit(tx, target.business_id, CrmProgressed(target.business_id, target.id, ""))


def connector_of(tx: Tx, target: Target) -> Connector | None:
    """The connector of a target; None when this installation has none of that name."""
    return tx.ports[CrmPorts].connectors.get(target.connector)


def begin_work(tx: Tx, work: Work[Any], request: OutboundRequest) -> Step:
    """The first step of a request."""
    target = work.target_of(tx, request)
    if target is None:
        return Done()
    if connector_of(tx, target) is None:
        return NotNow("unknown_connector")
    is_let_in = target.is_active or (work.only_reads and target.state is TargetState.PAUSED)
    if not is_let_in:
        work.hold(tx, request)
        return Done()
    course = work.begin(tx, request, target)
    if isinstance(course, outbound.Done | outbound.NotNow | outbound.Failed | outbound.Later):
        return course
    run = _Run(tx, work, request, target)
    return run.ask(_kept(course, _Progress("", target.secrets_revision)))


def read_work(tx: Tx, work: Work[Any], request: OutboundRequest, answer: HttpAnswer) -> Step:
    """The next step after an answer."""
    target = work.target_of(tx, request)
    if target is None or connector_of(tx, target) is None:
        return Done()
    return _Run(tx, work, request, target).read(answer)


def work_kind(
    name: str,
    make_work: Callable[[], Work[Any]],
    plan: RetryPlan,
    settle: Settle = settle_nothing,
    *,
    replay: Callable[[Tx, OutboundRequest], None] | None = None,
    keeps_progress: bool = False,
) -> OutboundKind:
    """The kind of requests that carry out one work, which is made anew for each step."""

    def begin(tx: Tx, request: OutboundRequest) -> Step:
        return begin_work(tx, make_work(), request)

    def read(tx: Tx, request: OutboundRequest, answer: HttpAnswer) -> Step:
        return read_work(tx, make_work(), request, answer)

    return OutboundKind(name, begin, read, settle, plan, replay, keeps_progress)


def _kept(course: Any, progress: _Progress) -> _Progress:
    return replace(progress, course=msgspec.json.encode(course).decode(), memory="", is_renewing=False)


def _step(request: HttpRequest, progress: _Progress) -> Ask:
    return Ask(request, msgspec.json.encode(progress).decode())


class _Run:
    """One step of a request: from an answer to the next request, or to the outcome."""

    def __init__(self, tx: Tx, work: Work[Any], request: OutboundRequest, target: Target) -> None:
        self._tx = tx
        self._work = work
        self._request = request
        self._target = target
        self._connector = tx.ports[CrmPorts].connectors[target.connector]
        self._turns = 0

    def read(self, answer: HttpAnswer) -> Step:
        progress = msgspec.json.decode(self._request.progress, type=_Progress)
        link = link_of(self._target, self._tx)
        if progress.is_renewing:
            reply = self._connector.read(link, Renew(), answer, progress.memory)
            return self._after_renewal(progress, reply)
        operation = self._work.operation(self._course(progress))
        return self._take(progress, self._connector.read(link, operation, answer, progress.memory))

    def _course(self, progress: _Progress) -> Any:
        return msgspec.json.decode(progress.course, type=self._work.shape)

    def ask(self, progress: _Progress) -> Step:
        made = self._connector.ask(
            link_of(self._target, self._tx), self._work.operation(self._course(progress))
        )
        if isinstance(made, HttpRequest):
            return _step(made, progress)
        self._turns += 1
        return NotNow("circles") if self._turns > MOST_TURNS else self._take(progress, made)

    def _take(self, progress: _Progress, reply: Reply) -> Step:
        if isinstance(reply, Onward):
            return _step(reply.request, replace(progress, memory=reply.memory))
        if isinstance(reply, Expired):
            return self._renew(progress)
        if isinstance(reply, Denied | Ended):
            return self._disconnect(reply.reason)
        if isinstance(reply, Later):
            return NotNow(reply.reason, reply.after_s)
        course = self._work.turn(self._tx, self._request, self._target, self._course(progress), reply)
        if isinstance(course, outbound.Done | outbound.NotNow | outbound.Failed | outbound.Later):
            return course
        return self.ask(_kept(course, progress))

    def _renew(self, progress: _Progress) -> Step:
        """Renew the token, unless somebody else has or does: each refresh token may be used once only."""
        if self._target.secrets_revision != progress.secrets_revision:
            fresh = replace(progress, secrets_revision=self._target.secrets_revision, memory="")
            return self.ask(fresh)
        if progress.renewals >= MOST_RENEWALS:
            return self._disconnect("expired")
        if not store.mark_renewing(self._tx, self._target, self._tx.now + RENEWING):
            return outbound.Later("", SOON_S)
        made = self._connector.ask(link_of(self._target, self._tx), Renew())
        asked = replace(progress, is_renewing=True, renewals=progress.renewals + 1, memory="")
        return _step(made, asked) if isinstance(made, HttpRequest) else self._after_renewal(asked, made)

    def _after_renewal(self, progress: _Progress, reply: Reply) -> Step:
        if isinstance(reply, Onward):
            return _step(reply.request, replace(progress, memory=reply.memory))
        if self._target.secrets_revision != progress.secrets_revision:
            # somebody else renewed meanwhile, or a person let us in anew: theirs are the newer ones
            return self._renew(replace(progress, is_renewing=False))
        if isinstance(reply, Renewed):
            secrets = {**self._target.secrets, **reply.secrets}
            store.record_secrets(self._tx, self._target, secrets, reply.address)
            fresh = self._work.target_of(self._tx, self._request)
            if fresh is None:
                return Done()
            self._target = fresh
            revision = fresh.secrets_revision
            return self.ask(replace(progress, secrets_revision=revision, is_renewing=False, memory=""))
        store.record_target(self._tx, self._target, renewing_until=None)
        if isinstance(reply, Later):
            return NotNow(reply.reason, reply.after_s)
        return self._disconnect(reply.reason if isinstance(reply, Denied | Ended) else "not_renewed")

    def _disconnect(self, reason: str) -> Step:
        """The CRM lets us in no more: leads queue until a person connects it again, who is told.

        One that a member paused stays paused, and says why it would not go on.
        """
        target = self._target
        state = TargetState.PAUSED if target.state is TargetState.PAUSED else TargetState.DISCONNECTED
        store.record_target(self._tx, target, state=state, reason=reason[:64])
        publish_connection(self._tx, target)
        log = {"target": target.number, "connector": target.connector, "reason": reason}
        logger().warning("crm.disconnected", **log)
        self._work.hold(self._tx, self._request)
        return Done()
