"""Channel accounts, platform apps, and what a connector reads out of a webhook."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Platform(StrEnum):
    WEBCHAT = "webchat"
    TIKTOK = "tiktok"


@dataclass(frozen=True, slots=True)
class ChannelAccount:
    """An account of a business on a platform, with its registration country (ISO 3166-1 alpha-2)."""

    id: str
    business_id: str
    platform: Platform
    external_id: str
    name: str
    handle: str
    registration_country: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ChannelApp:
    """An app registered with a platform; its secret signs that platform's webhooks."""

    app_id: str
    business_id: str
    platform: Platform
    secret: str


class Sender(StrEnum):
    CUSTOMER = "customer"
    BUSINESS = "business"


class MessageKind(StrEnum):
    TEXT = "text"
    OTHER = "other"
    """A picture, a sticker, a shared post: shown as such, without a text of its own."""


@dataclass(frozen=True, slots=True)
class Chatted:
    """A message, from either side."""

    message_id: str
    conversation_id: str
    person_id: str
    person_name: str
    sender: Sender
    kind: MessageKind
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Referred:
    """A person opened the chat from an ad; ``ad_number`` is the platform's id of it."""

    conversation_id: str
    person_id: str
    person_name: str
    ad_number: int
    at: datetime


@dataclass(frozen=True, slots=True)
class WasRead:
    """A person has read the conversation up to a time."""

    conversation_id: str
    person_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Unusable:
    """A delivery that cannot become anything, and why; it stays in the ledger as refused."""

    reason: str


type Incoming = Chatted | Referred | WasRead | Unusable


@dataclass(frozen=True, slots=True)
class Label:
    """What the intake needs of a delivery before it is stored.

    ``natural_key`` is the same for every copy of the same delivery; ``account`` the platform's id of the
    account that it is for (empty when it cannot be read).
    """

    natural_key: str
    account: str


class Connector(Protocol):
    """One platform's dialect: bytes to values. Connectors are pure and never raise on hostile bytes."""

    @property
    def platform(self) -> Platform: ...

    @property
    def can_send(self) -> bool:
        """Whether a reply can leave through Contatto."""
        ...

    def is_genuine(
        self, headers: Mapping[str, str], raw: bytes, secret: str, now: datetime, tolerance_s: int
    ) -> None:
        """Check the signature over the raw body.

        Raises:
            Refused: UNSIGNED or STALE.
        """
        ...

    def label(self, raw: bytes) -> Label:
        """Read the natural key and the account; a body that cannot be read is keyed by its hash."""
        ...

    def parse(self, raw: bytes) -> Incoming:
        """Read the delivery as a value."""
        ...
