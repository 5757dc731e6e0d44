"""What the thread and its neighbours show, as values; an entry's ``kind`` says how it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from contatto.inbox.model import InlineNotice, Photo, PrivateNote, ScheduledReply
from contatto.kit.i18n import LazyText
from contatto.leads.model.annotations import Label
from contatto.measurement.model import MeasuredAd


@dataclass(frozen=True, slots=True)
class Match:
    """A part of a text that is a contact detail."""

    field: str
    rule: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in a thread; of what came at the same time, the lower order is first."""

    kind: ClassVar[str]
    order: ClassVar[int]

    id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class AdEntry(Entry):
    """An ad that was tapped; without an id it is not one of ours."""

    kind = "ad"
    order = 0

    ad_id: str | None
    ad_name: str
    headline: str
    body: str | None
    goal: str | None = None
    ad_group_name: str = ""
    campaign_name: str = ""
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a message has come, why it stopped, and whether a person may try again."""

    state: str | None = None
    error: LazyText | None = None
    can_retry: bool = False


@dataclass(frozen=True, slots=True)
class MessageEntry(Entry):
    """A message, its text in parts; a picture that was forgotten is shown as gone."""

    kind = "message"
    order = 1

    side: str
    author: str | None
    segments: Sequence[tuple[str, Match | None]]
    is_form: bool
    has_photo: bool
    photo: Photo | None
    state: str | None
    error: LazyText | None
    can_retry: bool


@dataclass(frozen=True, slots=True)
class NoticeEntry(Entry):
    kind = "notice"
    order = 2

    lead_id: str
    fields: Sequence[str]


@dataclass(frozen=True, slots=True)
class NoteEntry(Entry):
    kind = "note"
    order = 3

    author: str
    text: str


@dataclass(frozen=True, slots=True)
class ScheduledEntry(Entry):
    """A reply for later; it stands after all that was said."""

    kind = "scheduled"
    order = 4

    author: str
    text: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class AdCard:
    """An ad of ours with all its names, and when it was tapped."""

    at: datetime
    ad_name: str
    goal: str
    ad_group_name: str
    campaign_name: str


@dataclass(frozen=True, slots=True)
class ThreadPart:
    """The entries of a thread, or of an older page of it, and what may be answered."""

    entries: Sequence[Entry]
    earlier_href: str | None
    newest_href: str | None
    before: int | None
    can_send: bool
    cannot_send_reason: LazyText | None
    reply_until: datetime | None
    replies_left: int | None
    text_limit: int
    forms: Sequence[tuple[str, str]]
    takes_photos: bool


@dataclass(frozen=True, slots=True)
class RowView:
    """A conversation in the list, and over its thread."""

    id: str
    person_name: str
    handle: str | None
    channel: str
    account_name: str
    ad_name: str | None
    snippet: str
    snippet_kind: str
    snippet_from: str
    last_message_at: datetime | None
    unread: int
    lead_id: str | None
    lead_status: str | None
    state: str
    snoozed_until: datetime | None
    assignee_id: str | None
    assignee: str | None
    waiting_since: datetime | None
    answer_by: datetime | None
    is_mentioned: bool
    labels: Sequence[Label]
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadView(ThreadPart):
    """A thread with what its reader may do."""

    conversation: RowView
    members: Sequence[tuple[str, str]]
    me: str
    known_labels: Sequence[Label]
    can_act: bool
    signs: Sequence[str]
    """Why it looks like spam; empty where it does not."""
    is_marked_spam: bool


@dataclass(frozen=True, slots=True)
class LeadChip:
    id: str
    status: str
    source: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DetailChip:
    """A contact detail, and how it was given."""

    field: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class ContactView:
    """Who the person is; the platform's id is None where it is a contact detail itself."""

    conversation_id: str
    person_name: str
    handle: str | None
    external_id: str | None
    channel: str
    account_name: str
    first_seen_at: datetime
    lead: LeadChip | None
    contact_points: Sequence[DetailChip]
    first_ad: AdCard | None


def notice_entry(notice: InlineNotice) -> NoticeEntry:
    return NoticeEntry(notice.id, notice.at, notice.lead_id, notice.fields)


def note_entry(note: PrivateNote) -> NoteEntry:
    return NoteEntry(note.id, note.at, note.author, note.text)


def scheduled_entry(reply: ScheduledReply) -> ScheduledEntry:
    return ScheduledEntry(reply.id, reply.due_at, reply.author, reply.text, reply.reason)


def ad_entry(entry_id: str, ad: MeasuredAd, at: datetime) -> AdEntry:
    return AdEntry(
        id=entry_id,
        at=at,
        ad_id=ad.ad_id,
        ad_name=ad.ad_name,
        headline=ad.headline or ad.ad_name,
        body=ad.text or None,
        goal=ad.goal.value,
        ad_group_name=ad.ad_group_name,
        campaign_name=ad.campaign_name,
    )
