"""A signal on its way, and the event that a connector makes of it."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from contatto.ad_platforms.model import AdPlatform
from contatto.channels.model import Platform
from contatto.kit.outbound.model import Done, Failed, HttpAnswer, HttpRequest, NotNow
from contatto.signals.model.settings import Step

SIGNAL: Final = "ad_signal"
SIGNAL_TEST: Final = "ad_signal_test"
"""The kinds of requests; they are kept in rows, so they never change."""


class SignalState(StrEnum):
    """How far a signal is. Platforms cannot be asked for one, so what they took is sent, and no more."""

    DUE = "due"
    SENT = "sent"
    DEAD = "dead"
    """Nothing but a person gets it further."""
    WITHHELD = "withheld"
    """It may not leave, or the platform could find nobody by it; that may change with the lead."""


@dataclass(frozen=True, slots=True)
class AdSignal:
    """One step of one lead for one ad account.

    ``event_id`` is the same however often it is sent. From ``unsure_at`` on the platform may have it.
    ``asked_at`` is the last try. A value that a member put in stands before any other.
    """

    id: int
    business_id: str
    outside_account_id: str
    lead_id: str
    step: Step
    event_id: str
    state: SignalState
    reason: str
    value_micros: int | None
    currency: str
    occurred_at: datetime
    created_at: datetime
    asked_at: datetime | None
    unsure_at: datetime | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Whom:
    """By what a platform finds the person; as we hold it: only connectors hash, and nothing keeps the hashes.

    Attributes:
        emails, phones: as leads keep them; phones in E.164.
        external_id: our id of the person.
        click_id: what the platform gave the tap.
        channel: where the chat is.
        business_id: the platform's id of the business there: page, Instagram account, WhatsApp account.
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
    """What is told. ``lead_number`` names the lead, ``value_micros`` is in micros of the currency."""

    event_id: str
    name: str
    occurred_at: datetime
    lead_number: int
    whom: Whom
    value_micros: int | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Feed:
    """Where events go, and as whom; with a ``test_code`` they count for nothing."""

    base_url: str
    dataset_id: str
    access_token: str = field(repr=False)
    test_code: str = ""


@dataclass(frozen=True, slots=True)
class ShutOut:
    """Nothing will be taken before a person has changed something; the reason says what."""

    reason: str


type SignalOutcome = Done | NotNow | Failed | ShutOut


class SignalConnector(Protocol):
    """One ad platform: events to requests, answers to outcomes. Pure; never raises on hostile bytes."""

    @property
    def platform(self) -> AdPlatform: ...

    @property
    def names(self) -> dict[Step, str]:
        """What the steps are called there; one that is missing has no name, and is not told."""
        ...

    @property
    def takes_any_name(self) -> bool:
        """Return whether a business may call steps as it likes."""
        ...

    def lacks(self, event: SignalEvent) -> str:
        """What it cannot be told without: a reason, or "" where nothing is missing."""
        ...

    def ask(self, feed: Feed, event: SignalEvent) -> HttpRequest: ...

    def read(self, answer: HttpAnswer) -> SignalOutcome: ...


class SignalTestState(StrEnum):
    """How far a test event is."""

    ASKED = "asked"
    TAKEN = "taken"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SignalTest:
    """The last test event of an account; ``answer`` is the beginning of what the platform said."""

    outside_account_id: str
    business_id: str
    step: Step
    code: str
    state: SignalTestState
    reason: str
    answer: str
    created_at: datetime
    settled_at: datetime | None


class SignalErasureState(StrEnum):
    """How far a person is erased at an ad platform."""

    FINISHED = "finished"
    """Nothing had left."""
    UNSUPPORTED = "unsupported"
    """Hashes had left, and the platform has no way to take an event back: it forgets them by itself."""


@dataclass(frozen=True, slots=True)
class SignalErasure:
    """A person who is to be forgotten, and how many signals the platform may have."""

    id: int
    business_id: str
    outside_account_id: str
    lead_id: str
    state: SignalErasureState
    sent: int
    created_at: datetime
