"""One signal connector and one ad platform in memory: what is told, and whether each step counts once."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from contatto.channels.model import Platform as Channel
from contatto.kit.outbound.model import Done, Failed, HttpRequest, NoAnswer, NotNow
from contatto.signals.model.events import (
    AdSignal,
    Feed,
    ShutOut,
    SignalConnector,
    SignalEvent,
    SignalState,
    Whom,
)
from contatto.signals.model.settings import Step
from contatto.signals.rules.plans import cannot_be_sent
from contatto.simulator.crms.bench import Wrong
from contatto.simulator.signals.platforms import START, Platform

MOST_TRIES: Final = 12
ADA: Final = Whom(
    "person-1", ("Ada@example.com",), ("+6591234567",), "click-1", Channel.WHATSAPP, "waba-1", "scoped-1"
)
WAIT: Final = timedelta(minutes=1)
"""Between two tries, where the platform asks for no longer one."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of telling: sent, or held or dead for a reason."""

    state: SignalState
    reason: str = ""


@dataclass
class SignalBench:
    """Tells events by the rules of the engine; ``now`` is our own clock, ``feed`` where they go."""

    connector: SignalConnector
    platform: Platform
    feed: Feed
    unsure: set[str] = field(default_factory=set)

    def event(self, number: int = 0, step: Step = Step.CAPTURED, whom: Whom = ADA) -> SignalEvent:
        """One step of one lead; a conversion is worth something."""
        name, event_id = self.connector.names[step], f"{number}-{step.value}"
        is_sale = step is Step.CONVERTED
        value, currency = (12_500_000, "EUR") if is_sale else (None, "")
        return SignalEvent(event_id, name, START, 100 + number, whom, value, currency)

    def tell(self, event: SignalEvent) -> Told:
        """Tell an event, as often as it takes; the wait between two tries passes on the platform's clock."""
        for _ in range(MOST_TRIES):
            told = self._try(event)
            if told.state is not SignalState.DUE:
                return told
        return Told(SignalState.DUE)

    def _try(self, event: SignalEvent) -> Told:
        if reason := self.connector.lacks(event):
            return Told(SignalState.WITHHELD, reason)
        if reason := cannot_be_sent(self._signal(event), self.platform.now):
            return Told(SignalState.DEAD, reason)
        answer = self.platform.send(self.connector.ask(self.feed, event))
        if isinstance(answer, NoAnswer):
            self.unsure.add(event.event_id)
            self.platform.now += WAIT
            return Told(SignalState.DUE)
        outcome = self.connector.read(answer)
        if isinstance(outcome, NotNow):
            self.platform.now += max(WAIT, timedelta(seconds=outcome.after_s or 0))
            return Told(SignalState.DUE, outcome.reason)
        return _ended(outcome)

    def _signal(self, event: SignalEvent) -> AdSignal:
        """The event as the engine keeps it, for its rules of what may be sent still."""
        unsure_at = START if event.event_id in self.unsure else None
        return AdSignal(
            0, "", "", "", Step.CAPTURED, event.event_id, SignalState.DUE, "", None, "",
            event.occurred_at, event.occurred_at, unsure_at, unsure_at, None,
        )  # fmt: skip

    def arrives(self, *events: SignalEvent) -> None:
        """Tell events.

        Raises:
            Wrong: one is not taken.
        """
        for event in events:
            told = self.tell(event)
            if told.state is not SignalState.SENT:
                raise Wrong(f"{event.event_id} is {told.state.value}: {told.reason}")

    def ends(self, event: SignalEvent, state: SignalState, reason: str) -> None:
        """Tell an event that may not be taken.

        Raises:
            Wrong: it ends in another way.
        """
        told = self.tell(event)
        if told != Told(state, reason):
            raise Wrong(f"it is {told.state.value} ({told.reason}) instead of {state.value} ({reason})")

    def check(self, *events: SignalEvent) -> None:
        """Each event counts once, nothing else does, and no contact detail left in clear.

        Raises:
            Wrong.
        """
        counted = sorted(each["event_id"] for each in self.platform.counted)
        if counted != sorted(event.event_id for event in events):
            raise Wrong(f"{len(counted)} events count of {len(events)}")
        if any(_shows_whom(request) for request in self.platform.asked):
            raise Wrong("a contact detail left in clear")


def _ended(outcome: Done | Failed | ShutOut) -> Told:
    if isinstance(outcome, Done):
        return Told(SignalState.SENT)
    state = SignalState.WITHHELD if isinstance(outcome, ShutOut) else SignalState.DEAD
    return Told(state, outcome.reason)


def _shows_whom(request: HttpRequest) -> bool:
    body = request.body.lower()
    return any(text.strip("+").lower().encode() in body for text in (*ADA.emails, *ADA.phones))


def new_bench(connector: SignalConnector, platform: Platform) -> SignalBench:
    """A bench whose feed goes to the platform."""
    feed = Feed(f"https://{connector.platform.value}.example.com", platform.dataset, platform.token)
    return SignalBench(connector, platform, feed)


def let_in(bench: SignalBench) -> None:
    """A person gives the token, or names the data set, that the platform takes now."""
    bench.feed = replace(bench.feed, access_token=bench.platform.token, dataset_id=bench.platform.dataset)
