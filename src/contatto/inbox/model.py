"""Receipts, persons, conversations, messages and notices, and their events."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from contatto.channels.model import MessageKind, Platform, Sender
from contatto.kit.values import SealedIn


class ReceiptState(StrEnum):
    """State of a delivery, which ends as one of the last three; ``MERGED`` is a duplicate."""

    RECEIVED = "received"
    STORED = "stored"
    MERGED = "merged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Delivery from a platform or a chat page, with its body sealed."""

    id: int
    business_id: str
    platform: Platform
    account: str
    natural_key: str
    body: bytes | None
    state: ReceiptState
    attempts: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """A customer on one channel account; ``stated_name`` is the name that they gave in a message.

    Where the platform's id is a contact detail, ``address`` holds it, and ``external_id`` only its index.
    """

    id: str
    business_id: str
    channel_account_id: str
    external_id: str
    name: Annotated[str, SealedIn("persons.name")]
    stated_name: Annotated[str, SealedIn("persons.stated_name")]
    stated_at: datetime | None
    created_at: datetime
    address: Annotated[str, SealedIn("persons.address")] = ""


class ThreadState(StrEnum):
    """State of a conversation; a customer's new message opens it again, unless blocked."""

    OPEN = "open"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Conversation:
    """A thread with one person.

    ``started_at`` is None until the person has written, ``last_message_at`` until there is a message:
    platforms may report the tap on an ad earlier.
    """

    id: str
    business_id: str
    channel_account_id: str
    person_id: str
    external_id: str
    lead_id: str | None
    started_at: datetime | None
    last_message_at: datetime | None
    unread: int
    business_read_at: datetime | None
    customer_read_at: datetime | None
    state: ThreadState = ThreadState.OPEN
    snoozed_until: datetime | None = None
    assignee_id: str | None = None
    waiting_since: datetime | None = None
    """Time of the customer's first message without an answer."""
    revision: int = 0
    """Number of changes by members; a change of an older revision is refused."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message, its text unsealed; ``seq`` grows in order of storage, ``at`` is when it was written."""

    seq: int
    id: str
    conversation_id: str
    sender: Sender
    kind: MessageKind
    text: str
    author: str
    at: datetime
    photo: str | None = None
    """The digest of its `Photo`."""
    form: str | None = None
    """The number of the published form that it offers."""

    @classmethod
    def of_business(
        cls,
        message_id: str,
        conversation_id: str,
        text: str,
        at: datetime,
        author: str = "",
        photo: str | None = None,
    ) -> "Message":
        kind = MessageKind.PHOTO if photo else MessageKind.TEXT
        return cls(0, message_id, conversation_id, Sender.BUSINESS, kind, text, author, at, photo)


@dataclass(frozen=True, slots=True)
class Photo:
    """Size in pixels of a picture in a conversation; ``digest`` is the SHA-256 of its bytes."""

    digest: str
    width: int
    height: int


class SendState(StrEnum):
    """State of a reply on its way to a platform.

    ``FAILED``: the platform refused the reply, or its response was lost. ``DEAD``: all retries failed. A
    member may retry both.
    """

    DUE = "due"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    DEAD = "dead"


REPLY: Final = "reply"
"""Kind of the outbound requests that send replies to platforms."""


@dataclass(frozen=True, slots=True)
class Send:
    """Delivery of a reply to a platform; the message id is the subject of its outbound request.

    ``external_ref`` derives from the platform's id of the message. The id is not stored, as it may contain a
    phone number.
    """

    id: int
    business_id: str
    message_id: str
    conversation_id: str
    channel_account_id: str
    state: SendState
    external_ref: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class AdReferral:
    """Tap on an ad that opened a chat; ``advertiser`` is the platform's id of the ad account."""

    id: str
    business_id: str
    conversation_id: str
    ad_number: int
    click_id: str
    headline: Annotated[str, SealedIn("ad_referrals.headline")]
    ad_text: Annotated[str, SealedIn("ad_referrals.ad_text")]
    at: datetime
    advertiser: str = ""


@dataclass(frozen=True, slots=True)
class InlineNotice:
    """The line "Contact information has been updated in Leads Center" in our own inbox.

    It is no message: it has a table of its own, so no path that sends or shows messages can leak it to the
    customer, the API or a partner (R37, R38).
    """

    id: str
    business_id: str
    conversation_id: str
    lead_id: str
    fields: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class PreparedReply:
    """A question with its answer, or the title of a prompt with its message.

    ``number`` is its id in the API, saved with the first change; 0 while the id derives from ``ask``.
    """

    ask: str
    say: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class KeywordReply:
    """Automatic reply to a message that is exactly one of the words."""

    words: tuple[str, ...]
    say: str


class AutomaticKind(StrEnum):
    """The kinds of automatic messages that the API knows, in its words."""

    WELCOME = "WELCOME_MESSAGE"
    QUESTION = "SUGGESTED_QUESTION"
    PROMPT = "CHAT_PROMPT"


@dataclass(frozen=True, slots=True)
class AutomaticMessages:
    """Automatic messages of a chat page (P4); ``off`` names the kinds that are turned off."""

    welcome: str = ""
    questions: tuple[PreparedReply, ...] = ()
    prompts: tuple[PreparedReply, ...] = ()
    keywords: tuple[KeywordReply, ...] = ()
    off: tuple[str, ...] = ()

    @property
    def active(self) -> "AutomaticMessages":
        """Return the messages without kinds that are turned off."""
        return AutomaticMessages(
            welcome="" if AutomaticKind.WELCOME in self.off else self.welcome,
            questions=() if AutomaticKind.QUESTION in self.off else self.questions,
            prompts=() if AutomaticKind.PROMPT in self.off else self.prompts,
            keywords=self.keywords,
        )


@dataclass(frozen=True, slots=True)
class PrivateNote:
    """Private note of a member in a thread; like a notice it is no message."""

    id: str
    business_id: str
    conversation_id: str
    text: Annotated[str, SealedIn("private_notes.text")]
    author: str
    at: datetime


class ScheduleState(StrEnum):
    DUE = "due"
    SENT = "sent"
    CANCELLED = "cancelled"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ScheduledReply:
    """A reply that goes out at ``due_at``; ``reason`` says what stopped it."""

    id: str
    business_id: str
    conversation_id: str
    text: str
    author: str
    due_at: datetime
    state: ScheduleState
    reason: str | None


@dataclass(frozen=True, slots=True)
class SavedReply:
    """A text that members use again; ``shortcut`` follows a slash."""

    id: str
    business_id: str
    shortcut: str
    text: Annotated[str, SealedIn("saved_replies.text", ("shortcut",))]


@dataclass(frozen=True, slots=True)
class ConversationEvent:
    """Base of the events of a conversation."""

    business_id: str
    conversation_id: str


@dataclass(frozen=True, slots=True)
class ConversationStarted(ConversationEvent):
    """A person wrote for the first time."""

    person_id: str


class ConversationMarkedSpam(ConversationEvent):
    """A member found that a conversation is spam."""


@dataclass(frozen=True, slots=True)
class MessageReceived(ConversationEvent):
    """A customer's message was stored."""

    message_id: str


@dataclass(frozen=True, slots=True)
class MessageSent(ConversationEvent):
    """A message of the business was stored, written here or on the platform."""

    message_id: str


class ConversationChanged(ConversationEvent):
    """A member assigned, labelled, noted, snoozed, resolved, reopened or blocked, or a snooze ended."""


@dataclass(frozen=True, slots=True)
class ReplyProgressed(ConversationEvent):
    """A reply was sent, delivered or refused, or it waits for a retry."""

    message_id: str


@dataclass(frozen=True, slots=True)
class AdTapped(ConversationEvent):
    """The platform reported the ad that a person came from; ``ad_number`` may be of an ad unknown here."""

    ad_number: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ConversationRead(ConversationEvent):
    """One side has read what the other wrote."""

    reader: Sender


class CustomerTyping(ConversationEvent):
    """A customer is typing; only open pages receive it."""


@dataclass(frozen=True, slots=True)
class MemberTyping(ConversationEvent):
    """A member is typing a reply; only open pages receive it."""

    member_id: str
    name: str


@dataclass(frozen=True, slots=True)
class NoticePosted(ConversationEvent):
    """An inline notice was added to a thread."""

    lead_id: str
