"""Channel accounts, platform apps, incoming events and outgoing messages."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow

CHECK: Final = "channel_check"
"""Kind of requests that check an account; kept in rows, so it must never change."""
LOST_ACCESS: Final = "token_refused"
"""Failure reason of connectors for a refused token."""


class Platform(StrEnum):
    WEBCHAT = "webchat"
    TIKTOK = "tiktok"
    WHATSAPP = "whatsapp"
    MESSENGER = "messenger"
    INSTAGRAM = "instagram"


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
class ChannelChecked:
    """Event of a finished check of an account's token."""

    business_id: str
    account_id: str


@dataclass(frozen=True, slots=True)
class ChannelLost:
    """Event of a refused access token: the account sends nothing until it has a new one."""

    business_id: str
    account_id: str


@dataclass(frozen=True, slots=True)
class ChannelApp:
    """An app registered with a platform; its secret signs that platform's webhooks."""

    app_id: str
    business_id: str
    platform: Platform
    secret: str


_OF_META: Final = (Platform.WHATSAPP, Platform.MESSENGER, Platform.INSTAGRAM)
SERVED: Final = {platform: (platform,) for platform in Platform} | dict.fromkeys(_OF_META, _OF_META)
"""Platforms of an app, by the platform that it is registered with; one app of Meta serves all three."""


class Sender(StrEnum):
    CUSTOMER = "customer"
    BUSINESS = "business"


class MessageKind(StrEnum):
    TEXT = "text"
    AUTOMATIC = "automatic"
    """An automatic text of the business."""
    PHOTO = "photo"
    """A stored picture; its text, if any, is the caption."""
    FORM = "form"
    """An instant form that a member sent: a card in our own chat, a link elsewhere."""
    OTHER = "other"
    """A picture, sticker or shared post, without a text of its own."""


@dataclass(frozen=True, slots=True)
class AdTap:
    """The ad that a message or a referral names.

    ``ad_number`` is the platform's id of the ad, 0 if it is no number. Reports of conversions return
    ``click_id`` to the platform. ``headline`` and ``text`` are those of the ad, and ``advertiser`` is the
    platform's id of its account, each empty if the platform does not name it.
    """

    ad_number: int
    click_id: str = ""
    headline: str = ""
    text: str = ""
    advertiser: str = ""


@dataclass(frozen=True, slots=True)
class Chatted:
    """A message, from either side.

    ``tap`` is the ad that it came from. ``echo_of`` is our own id of a message that we sent, if the platform
    returns it. ``photo`` names a stored picture.
    """

    message_id: str
    conversation_id: str
    person_id: str
    person_name: str
    sender: Sender
    kind: MessageKind
    text: str
    at: datetime
    tap: AdTap | None = None
    echo_of: str = ""
    photo: str = ""


@dataclass(frozen=True, slots=True)
class Referred:
    """Opening of a chat from an ad, without a message."""

    conversation_id: str
    person_id: str
    person_name: str
    at: datetime
    tap: AdTap


@dataclass(frozen=True, slots=True)
class WasRead:
    """A person's read mark: the conversation is read up to this time."""

    conversation_id: str
    person_id: str
    at: datetime


class SendProgress(StrEnum):
    """Delivery state of a business's message on the platform."""

    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progressed:
    """Delivery status of a message of the business; ``echo_of`` as in `Chatted`, ``reason`` of a failure."""

    message_id: str
    conversation_id: str
    person_id: str
    progress: SendProgress
    at: datetime
    echo_of: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unusable:
    """Unusable delivery with its reason; it is stored as refused."""

    reason: str


type Incoming = Chatted | Referred | WasRead | Progressed | Unusable


@dataclass(frozen=True, slots=True)
class ReceiptCounts:
    """Counts of deliveries.

    ``merged`` are duplicates, ``received`` is the sum of the other counts.
    """

    received: int
    stored: int
    merged: int
    refused: int
    waiting: int
    reasons: dict[str, int]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A text to be sent from an account to a person.

    ``message_id`` is our own id. Some platforms return it in webhooks, as ``echo_of``. A message that arrived
    is then recognised even if the response to its request was lost.
    """

    base_url: str
    account: str
    access_token: str = field(repr=False)
    conversation_id: str = field(repr=False)
    person_id: str = field(repr=False)
    text: str = field(repr=False)
    message_id: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A sent message; ``message_id`` is the platform's own id, if any."""

    message_id: str


type SendOutcome = Sent | NotNow | Failed


@dataclass(frozen=True, slots=True)
class AccountAccess:
    """API address of a platform, with the account's external id and access token."""

    base_url: str
    account: str
    access_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccountSeen:
    """An accepted token, with the platform's name and handle of the account, if any."""

    name: str
    handle: str


class CheckState(StrEnum):
    """State of the check of an account's token."""

    UNTRIED = "untried"
    ASKED = "asked"
    """Waiting for a response."""
    WORKS = "works"
    REFUSED = "refused"
    AWAY = "away"
    """The last try failed; the check is retried."""


@dataclass(frozen=True, slots=True)
class TokenCheck:
    """Last check of an account's token.

    ``since`` is when the token was saved, ``reason`` the code of a failure. The platform gave ``name`` and
    ``handle`` of the account.
    """

    since: datetime
    state: CheckState
    reason: str
    checked_at: datetime | None
    name: str
    handle: str


@dataclass(frozen=True, slots=True)
class ReplyWindow:
    """Limits on replies: hours after a person's message, and number of messages."""

    hours: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Dialect:
    """Capabilities and requirements of a platform.

    Attributes:
        base_url: the address of its API; empty for our own chat page, which reads the database.
        text_limit: most characters of one message.
        window: limits on replies; None without limits.
        ids_are_contacts: whether a person's id is a contact detail itself, such as a phone number.
        takes_photos: whether a member may send a picture.
    """

    base_url: str
    text_limit: int
    window: ReplyWindow | None = None
    ids_are_contacts: bool = False
    takes_photos: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    """Natural key and account of a delivery, read before it is stored.

    ``natural_key`` is the same for every copy of the same delivery; ``account`` the platform's id of the
    account that it is for (empty when it cannot be read).
    """

    natural_key: str
    account: str

    @classmethod
    def of_unreadable(cls, raw: bytes) -> "Label":
        return cls(f"body:{hashlib.sha256(raw).hexdigest()}", "")


class Connector:
    """Translator between the bytes of one platform and values; pure, and never raises on hostile bytes.

    The connector of our own chat page lacks some methods, as no platform stands behind it.
    """

    platform: Platform
    dialect: Dialect

    def verify_signature(
        self, headers: Mapping[str, str], raw: bytes, secret: str, at: datetime, tolerance_s: int
    ) -> None:
        """Check the signature over the raw body; our chat page has none. Raises UNSIGNED or STALE."""
        raise Refused(errors.UNSIGNED, "The chat page is not a webhook.")

    def challenge(self, query: Mapping[str, str], verify_token: str) -> str | None:
        """Return the answer to the verification of a webhook's address; None refuses it."""
        return None

    def split(self, raw: bytes) -> tuple[bytes, ...]:
        """Split a body into deliveries of one event each; another body stays whole."""
        return (raw,)

    def label(self, raw: bytes) -> Label:
        """Read the natural key and the account; an unreadable body has its hash as key."""
        raise NotImplementedError

    def parse(self, raw: bytes) -> Incoming:
        """Read one delivery as a value."""
        raise NotImplementedError

    def reply(self, out: Outgoing) -> HttpRequest:
        """Return the request that sends a text."""
        raise NotImplementedError

    def outcome(self, answer: HttpAnswer) -> SendOutcome:
        """Interpret the platform's answer to a request of `reply`."""
        return Failed("cannot_send")

    def ask_account(self, access: AccountAccess) -> HttpRequest:
        """Return the request that reads the account's name."""
        raise NotImplementedError

    def read_account(self, answer: HttpAnswer) -> AccountSeen | NotNow | Failed:
        """Read the answer to `ask_account`; `Failed` when the token or the id of the account is wrong."""
        raise NotImplementedError
