"""Mapping of lead fields to CRM fields, and of CRM states to lead statuses."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Final

from contatto.capture.model import Field
from contatto.crm.model import (
    ConnectorTraits,
    CrmField,
    FieldKind,
    MappedField,
    MappingFault,
    Payload,
    Target,
    Weakness,
)
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import SealedIn
from contatto.leads.model import LeadStatus
from contatto.leads.rules.records import MOVES

NAME: Final = "name"
FIRST_NAME: Final = "first_name"
LAST_NAME: Final = "last_name"
STATUS: Final = "status"
OWNER: Final = "owner"
ANSWER: Final = "answer:"
"""Begins the name of an answer to a form; the question's own words follow."""
PLAIN_SOURCES: Final = (
    NAME,
    FIRST_NAME,
    LAST_NAME,
    *(each.value for each in Field),
    STATUS,
    OWNER,
    "labels",
    "lead_id",
    "lead_url",
    "lead_source",
    "created_at",
    "campaign_id",
    "campaign_name",
    "adgroup_id",
    "adgroup_name",
    "ad_id",
    "ad_name",
    "form_name",
)
"""All but the answers. The last name is the whole name where there is one word; ``owner`` is an address."""


@dataclass(frozen=True, slots=True)
class LeadSnapshot:
    """All that is known of a lead at a moment, as texts by the names of ``PLAIN_SOURCES`` and of answers.

    ``wrong`` has the contact values that members marked wrong, by their sources.
    """

    lead_id: str
    values: dict[str, str] = field(repr=False)
    occurred_at: datetime
    wrong: dict[str, list[str]] = field(default_factory=dict, repr=False)


NOTE_LIMIT: Final = 10_000
"""Most characters of a note; no CRM takes more in one text, and none of ours is longer in earnest."""
_NOTED: Final = (NAME, *(field.value for field in Field))
"""What goes into the note if it has no field, beside the answers: nothing that the person said is lost."""
_PHONES: Final = (Field.PHONE.value, Field.WHATSAPP.value)


def default_mapping(traits: ConnectorTraits) -> tuple[MappedField, ...]:
    """The mapping that a target begins with."""
    if traits.takes_anything and not traits.defaults:
        return tuple(MappedField(source, source) for source in PLAIN_SOURCES)
    return tuple(MappedField(source, target) for source, target in traits.defaults)


def split_name(name: str) -> tuple[str, str]:
    """First and last name; a name of one word is the last, which every CRM requires."""
    first, _, last = name.strip().rpartition(" ")
    return first.strip(), last


def name_values(name: str) -> dict[str, str]:
    first, last = split_name(name)
    return {NAME: name, FIRST_NAME: first, LAST_NAME: last} if name else {}


def map_lead(
    target: Target,
    traits: ConnectorTraits,
    snapshot: LeadSnapshot,
    revision: int,
    without: Collection[str] = (),
) -> Payload:
    """What goes to a target of a lead.

    Args:
        target: its mapping, and the faults in it: those fields go into the note.
        traits: of its connector.
        snapshot: what is known of the lead.
        revision: of the lead for this target.
        without: fields of the CRM that are left as they are.
    """
    gone = {fault.field for fault in target.faults if fault.weakness is Weakness.NO_FIELD}
    wrong = {(fault.field, fault.value) for fault in target.faults if fault.weakness is Weakness.NO_CHOICE}
    limits = {each.name: each.limit for each in target.described if each.limit}
    values: dict[str, str] = {}
    sources: dict[str, str] = {}
    told: set[str] = set()
    for row in target.mapping:
        text = snapshot.values.get(row.source, "")
        if not text or row.target in without:
            told |= {row.source} if row.target in without else set()
            continue
        value = dict(row.words).get(text, text)
        limit = limits.get(row.target, 0)
        if row.target in gone or (row.target, text) in wrong or row.target in values:
            continue
        if limit and len(value) > limit:
            continue  # it would be cut: the note has it whole
        values[row.target] = value
        sources[row.target] = row.source
        told.add(row.source)
    wrong_values = {
        row.target: snapshot.wrong[row.source]
        for row in target.mapping
        if row.source in snapshot.wrong and row.target not in gone and row.target not in without
    }
    note = _note(snapshot, told)
    phone = next((snapshot.values[name] for name in _PHONES if snapshot.values.get(name)), "")
    email = snapshot.values.get(Field.EMAIL, "").partition(", ")[0]
    at = snapshot.occurred_at.isoformat()
    first_phone = phone.partition(", ")[0]
    return Payload(
        snapshot.lead_id,
        revision,
        values,
        note,
        email,
        first_phone,
        at,
        sources=sources,
        stand_ins=_stand_ins(target, traits, snapshot, {*values, *without}),
        wrong=wrong_values,
    )


def _stand_ins(
    target: Target, traits: ConnectorTraits, snapshot: LeadSnapshot, filled: Collection[str]
) -> dict[str, str]:
    """A contact detail for each field of the name that the CRM requires: many who chat never say theirs.

    It may require any of them until it has described itself, which the first leads do not wait for.
    """
    required = {each.name for each in target.described if each.is_required}
    if traits.describes and target.described_at is None:
        required = {row.target for row in target.mapping}
    known = (snapshot.values.get(each.value, "").partition(", ")[0] for each in Field)
    text = next(filter(None, known), snapshot.values.get("lead_id", ""))
    names = (NAME, FIRST_NAME, LAST_NAME)
    return {
        row.target: text
        for row in target.mapping
        if row.source in names and row.target in required and row.target not in filled
    }


def _note(snapshot: LeadSnapshot, told: set[str]) -> str:
    if FIRST_NAME in told or LAST_NAME in told:
        told = told | {NAME}
    lines = [
        f"{source.removeprefix(ANSWER)}: {text}"
        for source, text in snapshot.values.items()
        if text and source not in told and (source.startswith(ANSWER) or source in _NOTED)
    ]
    return "\n".join(lines)[:NOTE_LIMIT]


def leave_out(payload: Payload, field: str) -> Payload:
    """The payload without a field that the CRM does not take; its value goes into the note."""
    values = {name: text for name, text in payload.values.items() if name != field}
    source = payload.sources.get(field, field).removeprefix(ANSWER)
    text = payload.values.get(field, "")
    line = f"{source}: {text}" if text else ""
    note = "\n".join(part for part in (payload.note, line) if part)[:NOTE_LIMIT]
    stand_ins = {name: text for name, text in payload.stand_ins.items() if name != field}
    return replace(payload, values=values, note=note, stand_ins=stand_ins)


def with_edits(payload: Payload, edited: Mapping[str, str]) -> Payload:
    """The payload with values that a member put in the place of the mapped ones; an empty one is left out."""
    values = {name: text for name, text in {**payload.values, **edited}.items() if text}
    return replace(payload, values=values)


def check_mapping(
    mapping: Iterable[MappedField], fields: Iterable[CrmField], *, takes_anything: bool = False
) -> tuple[MappingFault, ...]:
    """What is wrong with a mapping, held against the CRM's own description of its fields."""
    if takes_anything:
        return ()
    known = {field.name: field for field in fields}
    rows = list(mapping)
    faults: list[MappingFault] = []
    for row in rows:
        found = known.get(row.target)
        if found is None:
            faults.append(MappingFault(row.target, Weakness.NO_FIELD))
        elif found.kind is FieldKind.CHOICE and found.choices:
            faults += _wrong_choices(row, found)
    filled = {row.target for row in rows}
    missing = [each for each in known.values() if each.is_required and each.name not in filled]
    faults += [MappingFault(each.name, Weakness.NOT_MAPPED) for each in missing]
    return tuple(dict.fromkeys(faults))


def _wrong_choices(row: MappedField, found: CrmField) -> list[MappingFault]:
    """Our words that lead to no choice of the field: those that are mapped, and our statuses."""
    choices = {value for value, _ in found.choices}
    words = dict(row.words)
    ours = [status.value for status in LeadStatus] if row.source == STATUS else list(words)
    return [
        MappingFault(row.target, Weakness.NO_CHOICE, word)
        for word in ours
        if words.get(word, word) not in choices
    ]


MOST_SETS: Final = 50
"""CRM event sets of one ad account."""
MOST_EVENTS: Final = 1_000
"""Events of one request."""
NAME_LIMIT: Final = 40
EVENT_LIMIT: Final = 64
AHEAD: Final = timedelta(days=1)
"""How far a sender's clock may be ahead."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_WORD: Final = re.compile(r"[^a-z0-9]+")

STATUS_WORDS: Final = {
    LeadStatus.CONTACTED: frozenset(
        {"contacted", "contact", "lead_contacted", "contacted_lead", "in_progress"}
    ),
    LeadStatus.QUALIFIED: frozenset(
        {
            "qualified",
            "qualified_lead",
            "lead_qualified",
            "sales_qualified",
            "sales_qualified_lead",
            "sql",
            "marketing_qualified_lead",
            "mql",
            "opportunity",
        }
    ),
    LeadStatus.CONVERTED: frozenset(
        {
            "converted",
            "converted_lead",
            "lead_converted",
            "conversion",
            "purchase",
            "complete_payment",
            "place_an_order",
            "closed_won",
            "deal_won",
            "won",
            "customer",
        }
    ),
    LeadStatus.UNQUALIFIED: frozenset(
        {
            "unqualified",
            "unqualified_lead",
            "lead_unqualified",
            "disqualified",
            "disqualified_lead",
            "closed_lost",
            "deal_lost",
            "lost",
            "junk",
            "junk_lead",
            "spam",
        }
    ),
}
"""Which names of events stand for which status, in small letters with underscores; others bring none."""
_RANK: Final = {
    LeadStatus.RAW: 0,
    LeadStatus.UNQUALIFIED: 0,
    LeadStatus.CONTACTED: 1,
    LeadStatus.QUALIFIED: 2,
    LeadStatus.CONVERTED: 3,
}


@dataclass(frozen=True, slots=True)
class EventSet:
    """A CRM's place to send events to; ``number`` is the API's ``event_set_id``."""

    id: str
    business_id: str
    number: int
    ad_account_id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LeadEvent:
    """Something that a CRM saw happen to a lead; the same ``natural_key`` again is the same event."""

    id: str
    business_id: str
    lead_id: str
    set_number: int
    name: Annotated[str, SealedIn("lead_events.name")]
    natural_key: str
    status: LeadStatus | None
    occurred_at: datetime
    received_at: datetime


def status_of_event(name: str) -> LeadStatus | None:
    """The status that an event's name stands for, however it is written."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    word = _WORD.sub("_", spaced.lower()).strip("_")
    return next((status for status, words in STATUS_WORDS.items() if word in words), None)


def follows(current: LeadStatus, wanted: LeadStatus | None) -> bool:
    """Return whether an event moves a lead on. A late word of an earlier stage takes nothing back."""
    if wanted is None or wanted not in MOVES[current]:
        return False
    return wanted is LeadStatus.UNQUALIFIED or _RANK[wanted] > _RANK[current]


def check_hashes(where: str, values: Iterable[str]) -> None:
    """Refuse what is no SHA-256; contact details in clear are not taken.

    Raises:
        Refused: NOT_HASHED, which does not repeat the value.
    """
    if not all(_SHA256.fullmatch(value) for value in values):
        raise Refused(errors.NOT_HASHED, f"{where}: a value is no SHA-256 in lower-case hexadecimal.")


def check_event_time(where: str, at_s: int, now: datetime) -> datetime:
    """The time of an event.

    Raises:
        Refused: INVALID, for one that is not in seconds, or lies in the future.
    """
    latest = (now + AHEAD).timestamp()
    if not 0 < at_s <= latest:
        raise Refused(errors.INVALID, f"{where}: give seconds since 1970, not later than now.")
    return datetime.fromtimestamp(at_s, now.tzinfo)


def status_of_word(words: Mapping[str, str], word: str) -> LeadStatus | None:
    """Our status: what the business says that the word means, else what such words usually mean."""
    named = words.get(word)
    if named in set(LeadStatus):
        return LeadStatus(named)
    return status_of_event(word) if word else None
