"""Channel accounts, platform apps, what a connector reads out of a webhook, and what it says to send."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from contatto.kit.outbound.model import HttpAnswer, HttpRequest

CHECK: Final = "channel_check"
"""The kind of requests that ask a platform for an account; kept in rows, so it must never change."""
LOST_ACCESS: Final = "token_refused"
"""The word by which connectors say that a platform takes a token no more."""


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
    """The platform was asked whether it still takes the token of an account, and its answer is kept."""

    business_id: str
    account_id: str


@dataclass(frozen=True, slots=True)
class ChannelLost:
    """The platform refused the access token of an account: nothing can be sent until it has a new one."""

    business_id: str
    account_id: str


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
    AUTOMATIC = "automatic"
    """A text of the business that nobody wrote just now."""
    PHOTO = "photo"
    """A picture that we keep ourselves; its text, if any, is the caption."""
    FORM = "form"
    """An instant form that a member sent: a card in our own chat, a link elsewhere."""
    OTHER = "other"
    """A picture, a sticker, a shared post: shown as such, without a text of its own."""


@dataclass(frozen=True, slots=True)
class AdTap:
    """The ad that a message or a referral names.

    ``ad_number`` is the platform's id of it (0 when it is no number); ``click_id`` is what the platform wants
    back in reports of conversions; the texts are what the person saw of the ad, where the platform tells;
    ``advertiser`` is the platform's id of the ad's account, where it is told.
    """

    ad_number: int
    click_id: str = ""
    headline: str = ""
    text: str = ""
    advertiser: str = ""


@dataclass(frozen=True, slots=True)
class Chatted:
    """A message, from either side.

    ``tap`` is the ad that it came from; ``echo_of`` is our own id of the message, when the platform tells us
    of one that we sent and gives that id back; ``photo`` names a picture that we keep.
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
    """A person opened the chat from an ad; ``ad_number`` is the platform's id of it."""

    conversation_id: str
    person_id: str
    person_name: str
    ad_number: int
    at: datetime
    tap: AdTap | None = None
    """What else the platform told of the ad, if anything."""


@dataclass(frozen=True, slots=True)
class WasRead:
    """A person has read the conversation up to a time."""

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
    """News of a message that the business sent; ``echo_of`` as in `Chatted`, ``reason`` of a failure."""

    message_id: str
    conversation_id: str
    person_id: str
    progress: SendProgress
    at: datetime
    echo_of: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unusable:
    """A delivery that cannot become anything, and why; it stays in the ledger as refused."""

    reason: str


type Incoming = Chatted | Referred | WasRead | Progressed | Unusable


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A text to be sent from an account to a person.

    ``message_id`` is our own id of it. Where a platform takes such an id and gives it back, it travels along,
    so that an answer that was lost on its way can still be told from a message that was.
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
    """The platform took it; ``message_id`` is the platform's own id (empty when it gave none)."""

    message_id: str


@dataclass(frozen=True, slots=True)
class NotNow:
    """Not taken, and worth another try; ``after_s`` is what the platform asks for, if it does."""

    reason: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Not taken, and no repeat will change that."""

    reason: str


type SendOutcome = Sent | NotNow | NotTaken


@dataclass(frozen=True, slots=True)
class AccountAccess:
    """API address of a platform, with the account's external id and access token."""

    base_url: str
    account: str
    access_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccountSeen:
    """The platform took the token, and calls the account so (either may be empty)."""

    name: str
    handle: str


class CheckState(StrEnum):
    """State of an account's token according to the platform."""

    UNTRIED = "untried"
    ASKED = "asked"
    WORKS = "works"
    REFUSED = "refused"
    AWAY = "away"
    """No answer yet; it is asked again."""


@dataclass(frozen=True, slots=True)
class TokenCheck:
    """An account's token: since when there is one, and what its platform said of it last.

    ``reason`` is a code; ``name`` and ``handle`` are the platform's words for the account.
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
        base_url: where its API is; empty when nothing is sent (our own chat page reads what is stored).
        text_limit: most characters of one message.
        window: when a business may write; None when always.
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
    """Connector functions that the intake calls before it stores a delivery.

    ``natural_key`` is the same for every copy of the same delivery; ``account`` the platform's id of the
    account that it is for (empty when it cannot be read).
    """

    natural_key: str
    account: str


class Connector(Protocol):
    """One platform: bytes to values and back. Connectors are pure and never raise on hostile bytes."""

    @property
    def platform(self) -> Platform: ...

    @property
    def dialect(self) -> Dialect: ...

    def verify_signature(
        self, headers: Mapping[str, str], raw: bytes, secret: str, now: datetime, tolerance_s: int
    ) -> None:
        """Check the signature over the raw body.

        Raises:
            Refused: UNSIGNED or STALE.
        """
        ...

    def challenge(self, query: Mapping[str, str], verify_token: str) -> str | None:
        """The answer to the platform's question whether a webhook's address is ours; None refuses it."""
        ...

    def split(self, raw: bytes) -> tuple[bytes, ...]:
        """Cut a body into deliveries of one event each; what cannot be cut stays whole."""
        ...

    def label(self, raw: bytes) -> Label:
        """Read the natural key and the account; a body that cannot be read is keyed by its hash."""
        ...

    def parse(self, raw: bytes) -> Incoming:
        """Read one delivery as a value."""
        ...

    def reply(self, out: Outgoing) -> HttpRequest:
        """The request that sends a text; never asked for where ``dialect.base_url`` is empty."""
        ...

    def outcome(self, answer: HttpAnswer) -> SendOutcome:
        """Interpret the platform's answer to such a request."""
        ...

    def ask_account(self, access: AccountAccess) -> HttpRequest:
        """The request that asks what the account is called, and changes nothing; as rare as `reply`."""
        ...

    def read_account(self, answer: HttpAnswer) -> AccountSeen | NotNow | NotTaken:
        """Read the answer; `NotTaken` when the token or the id of the account is wrong."""
        ...
