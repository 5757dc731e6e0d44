"""Signals to ad platforms: settings of an account, events, tests and erasures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Final, Protocol

from contatto.ad_platforms.model import AdPlatform
from contatto.channels.model import Platform
from contatto.integrations.model import Denied, ErasureState, LedgerEntry, TrialState
from contatto.kit.outbound.model import Done, Failed, HttpAnswer, HttpRequest, NotNow

SIGNAL: Final = "ad_signal"
SIGNAL_TEST: Final = "ad_signal_test"
"""Kinds of outbound requests; they never change, since rows contain them."""


class SignalStep(StrEnum):
    """Step of a lead that an ad platform receives at most once."""

    CAPTURED = "captured"
    QUALIFIED = "qualified"
    CONVERTED = "converted"
    DISQUALIFIED = "disqualified"
    SPAM = "spam"


class SignalMode(StrEnum):
    """Mode of an account; in all modes but ``OFF`` no signal is lost."""

    OFF = "off"
    ACTIVE = "active"
    PAUSED = "paused"
    """A member paused them."""
    SHUT_OUT = "shut_out"
    """The platform refuses the token, or the data set does not exist."""


class ConsentRule(StrEnum):
    """Rule for the leads to send, by their answers to questions for consent."""

    REQUIRED = "given"
    """Send only leads who agreed to every question, and to one at least."""
    NOT_REFUSED = "not_refused"
    """Also send leads without a question for consent, on another legal ground."""


@dataclass(frozen=True, slots=True)
class SignalSettings:
    """Signal settings of an external ad account.

    Attributes:
        dataset_id: the target of events: TikTok's CRM event set, Meta's data set.
        whatsapp_id: Meta's id of the WhatsApp Business account, for events of its chats.
        names: the business's own event names, where the platform allows them.
        currency: the currency of amounts.
        value_micros: the value of a converted lead, unless a CRM has one.
        reason: code of the reason why signals are blocked.
        started_at: earlier steps are not sent.
        changed_at: the last change of the mode or the data set.
        arrived_at: the last event that the platform accepted.
    """

    outside_account_id: str
    business_id: str
    mode: SignalMode
    reason: str
    dataset_id: str
    whatsapp_id: str
    steps: tuple[SignalStep, ...]
    consent: ConsentRule
    currency: str
    value_micros: int | None
    started_at: datetime
    changed_at: datetime
    arrived_at: datetime | None
    names: dict[SignalStep, str] = field(default_factory=dict)

    @property
    def is_active(self) -> bool:
        return self.mode is SignalMode.ACTIVE


@dataclass(frozen=True, slots=True)
class AdSignal(LedgerEntry):
    """One step of one lead for one ad account.

    Platforms do not report whether an event counts, so the state of an accepted one stays ``SENT``.
    ``event_id`` never changes. From ``unsure_at`` on the platform may have the event. ``asked_at`` is the
    last try. ``value_micros`` is an amount that a member entered, which replaces any other.
    """

    outside_account_id: str
    lead_id: str
    step: SignalStep
    event_id: str
    value_micros: int | None
    currency: str
    occurred_at: datetime
    asked_at: datetime | None
    unsure_at: datetime | None


@dataclass(frozen=True, slots=True)
class MatchKeys:
    """Contact details and ids by which a platform matches a person, in clear.

    Connectors hash them, and nothing stores the hashes.

    Attributes:
        emails, phones: as leads keep them; phones in E.164.
        external_id: our id of the person.
        click_id: the platform's id of the tap.
        channel: the channel of the chat.
        business_id: the platform's id of the page, Instagram account or WhatsApp account.
        scoped_id: the platform's id of the person there.
    """

    external_id: str
    emails: tuple[str, ...] = field(default=(), repr=False)
    phones: tuple[str, ...] = field(default=(), repr=False)
    click_id: str = ""
    channel: Platform | None = None
    business_id: str = ""
    scoped_id: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class SignalEvent:
    """Event for a platform; ``lead_number`` names the lead."""

    event_id: str
    name: str
    occurred_at: datetime
    lead_number: int
    match_keys: MatchKeys
    value_micros: int | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class SignalTarget:
    """Target and token of events; with a ``test_code`` they do not count."""

    base_url: str
    dataset_id: str
    access_token: str = field(repr=False)
    test_code: str = ""


type SignalOutcome = Done | NotNow | Failed | Denied


class SignalConnector(Protocol):
    """Connector of an ad platform: pure, and safe with any response."""

    platform: ClassVar[AdPlatform]
    names: ClassVar[Mapping[SignalStep, str]]
    """The platform's event names; a step without one is not sent."""
    takes_any_name: ClassVar[bool]
    """A business may choose its own event names."""

    def find_gap(self, event: SignalEvent) -> str:
        """Return the reason why an event is incomplete, or an empty text."""
        ...

    def ask(self, target: SignalTarget, event: SignalEvent) -> HttpRequest: ...

    def read(self, answer: HttpAnswer) -> SignalOutcome: ...


@dataclass(frozen=True, slots=True)
class SignalTest:
    """Last test event of an account; ``answer`` is the start of the platform's response."""

    outside_account_id: str
    business_id: str
    step: SignalStep
    code: str
    state: TrialState
    reason: str
    answer: str
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class SignalErasure:
    """Erased person, and the number of signals that the platform may have, as hashes.

    With signals the erasure is unsupported: the platform has no request to delete an event.
    """

    id: int
    business_id: str
    outside_account_id: str
    lead_id: str
    state: ErasureState
    sent: int
    created_at: datetime
