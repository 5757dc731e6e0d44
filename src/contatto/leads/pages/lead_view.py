"""Values of the page of one lead: contact points, timeline, and changes that can be undone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Final

from contatto.accounts.model import Caller
from contatto.audit.model import AuditEntry
from contatto.audit.store import list_acts_on
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import N_, Translator
from contatto.leads.actions.points import list_put_back
from contatto.leads.model import STATUS_TEXTS, HistoryEntry, HistoryKind, Label, Lead, LeadStatus, Note, Task
from contatto.leads.ports import LeadPorts
from contatto.leads.rules.records import ARROW, UNDO_WITHIN, Reach, status_step_to_undo
from contatto.leads.store.annotations import list_labels_of


@dataclass(frozen=True, slots=True)
class LeadView:
    """The lead itself; ``owner`` is a name, and None when nobody has it.

    ``wrote_at`` is when the person first wrote, ``answer_s`` the seconds until they were first answered.
    """

    id: str
    name: str
    handle: str | None
    status: str
    source: str
    channel: str | None
    account_name: str | None
    conversation_id: str | None
    created_at: datetime
    last_activity_at: datetime
    owner_id: str | None
    owner: str | None
    is_deleted: bool
    is_test: bool
    wrote_at: datetime | None
    answer_s: int | None


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """Source of a contact detail, and how certain it is."""

    text: str
    rule: str
    confidence: float
    href: str


@dataclass(frozen=True, slots=True)
class PointView:
    """A contact detail, with each way by which it was given, the first one first."""

    id: str
    field: str
    value: str
    reach: Reach
    captured_at: datetime
    primary: bool
    is_wrong: bool
    evidence: EvidenceView | None
    origins: Sequence[str]


@dataclass(frozen=True, slots=True)
class CreditView:
    """The ad that earned a lead, and the touch that did."""

    campaign_name: str
    ad_group_name: str
    ad_name: str
    goal: str
    touch: str
    touched_at: datetime
    converted_at: datetime
    window_days: int


@dataclass(frozen=True, slots=True)
class MergeView:
    """A lead that went into this one; ``credit`` names the ad group that earned it."""

    id: str
    name: str
    actor: str
    at: datetime
    reason: str
    credit: str | None


@dataclass(frozen=True, slots=True)
class TwinView:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """Something that happened to a lead, in the reader's language."""

    kind: str
    at: datetime
    text: str
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class UndoView:
    """A change of a short while ago that can be taken back: what it was, and the form that does it.

    ``path`` comes after the lead's own address.
    """

    text: str
    at: datetime
    actor: str
    path: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Detail:
    """All that is known of a lead."""

    lead: LeadView
    moves: Sequence[str]
    undos: Sequence[UndoView]
    members: Sequence[tuple[str, str]]
    labels: Sequence[Label]
    known_labels: Sequence[Label]
    notes: Sequence[Note]
    tasks: Sequence[Task]
    today: date
    fields: Sequence[str]
    contact_points: Sequence[PointView]
    attribution: CreditView | None
    conversion_id: int | None
    timeline: Sequence[TimelineEvent]
    merges: Sequence[MergeView]
    duplicates: Sequence[TwinView]
    score: int | None
    reasons: Sequence[tuple[bool, str]]


@dataclass(frozen=True, slots=True)
class MayDo:
    """Reader of the page, and their permissions on it."""

    caller: Caller
    can_edit: bool
    can_restore: bool
    can_erase: bool
    can_see_reports: bool


SHOWN_LOOKS: Final = 200
"""The latest looks that are shown; the audit log has all."""
SHOWN_TEXT: Final = 160
_CONSENT_TEXTS: Final = {True: N_("Agreed to: %(text)s"), False: N_("Did not agree to: %(text)s")}
_LOOK: Final = "GET /leads/{lead_id}"


def consent_events(tx: Tx, lead: Lead, words: Translator) -> list[TimelineEvent]:
    """An event for each consent that the person was asked for."""
    consents = tx.ports[LeadPorts].consents(tx, lead.business_id, lead.id)
    return [
        TimelineEvent(
            "consent", consent.at, words.gettext(_CONSENT_TEXTS[consent.given], text=_short(consent.text))
        )
        for consent in consents
    ]


def look_events(tx: Tx, lead: Lead, words: Translator) -> list[TimelineEvent]:
    """An event for each member and day of looking, at the time of the last look: an open page looks often."""
    entries = list_acts_on(tx, lead.business_id, _LOOK, f"lead_id={lead.id}", SHOWN_LOOKS)
    by_day = sorted(entries, key=_whose_day)
    return [_look_event(list(looks), words) for _, looks in groupby(by_day, key=_whose_day)]


def _whose_day(entry: AuditEntry) -> tuple[str, str]:
    return entry.actor_id, entry.at.date().isoformat()


def _look_event(looks: list[AuditEntry], words: Translator) -> TimelineEvent:
    last = max(looks, key=lambda entry: entry.seq)
    text = words.ngettext("Viewed this lead", "Viewed this lead %(num)s times on this day", len(looks))
    return TimelineEvent("look", last.at, text, last.actor)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_TEXT else f"{text[: SHOWN_TEXT - 1]}…"


_SHOWN: Final = 5
"""Details that were called no contact, of which so many are offered to be put back."""


def moved_text(step: HistoryEntry, words: Translator) -> str:
    """A change of status in the reader's language."""
    return ARROW.join(words.gettext(STATUS_TEXTS[LeadStatus(status)]) for status in step.detail.split(ARROW))


def undos_of(tx: Tx, lead: Lead, history: list[HistoryEntry], words: Translator) -> list[UndoView]:
    """List changes that can be undone, latest first."""
    if lead.hidden_at is not None:
        return []
    undos = [
        *_status(tx, lead, history, words),
        *_label(tx, lead, history, words),
        *_rejects(tx, lead, words),
    ]
    return sorted(undos, key=lambda undo: undo.at, reverse=True)


def _status(tx: Tx, lead: Lead, history: list[HistoryEntry], words: Translator) -> list[UndoView]:
    step = status_step_to_undo(history, lead.status, tx.now)
    if step is None:
        return []
    text = words.gettext("Status: %(detail)s", detail=moved_text(step, words))
    return [UndoView(text, step.at, step.actor, "/status/undo", {"seen": lead.status.value})]


def _label(tx: Tx, lead: Lead, history: list[HistoryEntry], words: Translator) -> list[UndoView]:
    """The label that was taken off last, unless it is back."""
    removed = [step for step in history if step.what is HistoryKind.UNLABELLED and step.detail]
    if not removed or tx.now - removed[-1].at > UNDO_WITHIN:
        return []
    step = removed[-1]
    worn = {label.name for label in list_labels_of(tx, lead.business_id, [lead.id])[lead.id]}
    if step.detail in worn:
        return []
    text = words.gettext("Label removed: %(detail)s", detail=step.detail)
    return [UndoView(text, step.at, step.actor, "/labels", {"name": step.detail})]


def _rejects(tx: Tx, lead: Lead, words: Translator) -> list[UndoView]:
    """The details that were called no contact, each of which can be put back."""
    return [
        UndoView(
            words.gettext("Not a contact detail: %(detail)s", detail=rejected.point.value),
            rejected.at,
            rejected.actor,
            f"/rejected/{rejected.id}/undo",
            {},
        )
        for rejected in list_put_back(tx, lead.business_id, lead.id)[:_SHOWN]
    ]
