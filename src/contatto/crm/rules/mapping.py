"""Mapping of lead fields to CRM fields, and of CRM states to lead statuses."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Final

from contatto.capture.model import Field
from contatto.crm import model as crm
from contatto.crm.model import CrmField, MappedField, Payload, Target
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.values import SealedIn
from contatto.leads.model import LeadStatus
from contatto.leads.rules.records import MOVES

NAME: Final = "name"
FIRST_NAME: Final = "first_name"
LAST_NAME: Final = "last_name"
STATUS: Final = "status"
OWNER: Final = "owner"
ANSWER: Final = "answer:"
"""Prefix of the name of an answer to a form; the question follows."""
PLAIN_SOURCES: Final = (
    NAME,
    FIRST_NAME,
    LAST_NAME,
    *(contact.value for contact in Field),
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
"""All sources but answers. A name of one word is the last name; ``owner`` is an e-mail address."""


@dataclass(frozen=True, slots=True)
class LeadTexts:
    """Texts of a lead at a moment, by the names of ``PLAIN_SOURCES`` and answers.

    ``wrong`` has the contact values that members marked wrong, by their sources.
    """

    lead_id: str
    values: dict[str, str] = field(repr=False)
    occurred_at: datetime
    wrong: dict[str, list[str]] = field(default_factory=dict, repr=False)


NOTE_LIMIT: Final = 10_000
"""Most characters of a note, as no CRM accepts a longer text."""
_NOTED: Final = (NAME, *(contact.value for contact in Field))
"""Sources that go into the note if they have no field, as answers do: no word of the person is lost."""
_PHONES: Final = (Field.PHONE.value, Field.WHATSAPP.value)


def default_mapping(traits: crm.ConnectorTraits) -> tuple[MappedField, ...]:
    """Return the first mapping of a target."""
    if traits.takes_anything and not traits.defaults:
        return tuple(MappedField(source, source) for source in PLAIN_SOURCES)
    return tuple(MappedField(source, target) for source, target in traits.defaults)


def split_name(name: str) -> tuple[str, str]:
    """Split into first and last name; one word is the last name, which every CRM requires."""
    first, _, last = name.strip().rpartition(" ")
    return first.strip(), last


def name_values(name: str) -> dict[str, str]:
    first, last = split_name(name)
    return {NAME: name, FIRST_NAME: first, LAST_NAME: last} if name else {}


def map_lead(
    target: Target,
    traits: crm.ConnectorTraits,
    snapshot: LeadTexts,
    revision: int,
    without: Collection[str] = (),
) -> Payload:
    """Return what a delivery of a lead writes; values without a valid field go into the note.

    ``without`` are fields of the CRM that keep their value.
    """
    no_fields = {fault.field for fault in target.faults if fault.weakness is crm.Weakness.NO_FIELD}
    wrong = {
        (fault.field, fault.value) for fault in target.faults if fault.weakness is crm.Weakness.NO_CHOICE
    }
    limits = {field.name: field.limit for field in target.described if field.limit}
    values: dict[str, str] = {}
    sources: dict[str, str] = {}
    covered_sources = {row.source for row in target.mapping if row.target in without}
    for row in target.mapping:
        text = snapshot.values.get(row.source, "")
        if not text or row.target in without or row.target in no_fields or row.target in values:
            continue
        value = dict(row.words).get(text, text)
        if (row.target, text) in wrong or 0 < limits.get(row.target, 0) < len(value):
            continue  # the note has a long value whole
        values[row.target] = value
        sources[row.target] = row.source
        covered_sources.add(row.source)
    if FIRST_NAME in covered_sources or LAST_NAME in covered_sources:
        covered_sources.add(NAME)
    lines = [
        f"{source.removeprefix(ANSWER)}: {text}"
        for source, text in snapshot.values.items()
        if text and source not in covered_sources and (source.startswith(ANSWER) or source in _NOTED)
    ]
    phone = next((snapshot.values[name] for name in _PHONES if snapshot.values.get(name)), "")
    # A contact detail stands in each required field of the name, as many persons never write theirs.
    # Any of them may be required until the first description, and the first leads do not wait for it.
    filled = {*values, *without}
    required = {field.name for field in target.described if field.is_required}
    if traits.describes and target.described_at is None:
        required = {row.target for row in target.mapping}
    contacts = (snapshot.values.get(contact.value, "").partition(", ")[0] for contact in Field)
    stand_in = next(filter(None, contacts), snapshot.values.get("lead_id", ""))
    names = (NAME, FIRST_NAME, LAST_NAME)
    stand_ins = {
        row.target: stand_in
        for row in target.mapping
        if row.source in names and row.target in required and row.target not in filled
    }
    return Payload(
        snapshot.lead_id,
        revision,
        values,
        note="\n".join(lines)[:NOTE_LIMIT],
        email=snapshot.values.get(Field.EMAIL, "").partition(", ")[0],
        phone=phone.partition(", ")[0],
        occurred_at=snapshot.occurred_at.isoformat(),
        sources=sources,
        stand_ins=stand_ins,
        wrong={
            row.target: snapshot.wrong[row.source]
            for row in target.mapping
            if row.source in snapshot.wrong and row.target not in no_fields and row.target not in without
        },
    )


def leave_out(payload: Payload, field: str) -> Payload:
    """Move the value of a field that the CRM refuses into the note."""
    values = {name: text for name, text in payload.values.items() if name != field}
    source = payload.sources.get(field, field).removeprefix(ANSWER)
    text = payload.values.get(field, "")
    line = f"{source}: {text}" if text else ""
    note = "\n".join(part for part in (payload.note, line) if part)[:NOTE_LIMIT]
    stand_ins = {name: text for name, text in payload.stand_ins.items() if name != field}
    return replace(payload, values=values, note=note, stand_ins=stand_ins)


def with_edits(payload: Payload, edited: Mapping[str, str]) -> Payload:
    """Replace mapped values by those that a member edited; an empty one is omitted."""
    values = {name: text for name, text in {**payload.values, **edited}.items() if text}
    return replace(payload, values=values)


def check_mapping(
    mapping: Iterable[MappedField], fields: Iterable[CrmField], *, takes_anything: bool = False
) -> tuple[crm.MappingFault, ...]:
    """Compare a mapping with the CRM's description of its fields."""
    if takes_anything:
        return ()
    described = {field.name: field for field in fields}
    rows = list(mapping)
    faults: list[crm.MappingFault] = []
    for row in rows:
        field = described.get(row.target)
        if field is None:
            faults.append(crm.MappingFault(row.target, crm.Weakness.NO_FIELD))
        elif field.kind is crm.FieldKind.CHOICE and field.choices:
            words, choices = dict(row.words), {value for value, _ in field.choices}
            our_words = [status.value for status in LeadStatus] if row.source == STATUS else list(words)
            wrong_words = [word for word in our_words if words.get(word, word) not in choices]
            faults += [crm.MappingFault(row.target, crm.Weakness.NO_CHOICE, word) for word in wrong_words]
    filled = {row.target for row in rows}
    missing = [field for field in described.values() if field.is_required and field.name not in filled]
    faults += [crm.MappingFault(field.name, crm.Weakness.NOT_MAPPED) for field in missing]
    return tuple(dict.fromkeys(faults))


MOST_SETS: Final = 50
"""CRM event sets of one ad account."""
MOST_EVENTS: Final = 1_000
"""Events of one request."""
NAME_LIMIT: Final = 40
EVENT_LIMIT: Final = 64
AHEAD: Final = timedelta(days=1)
"""Most that a sender's clock may be ahead."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_WORD: Final = re.compile(r"[^a-z0-9]+")

STATUS_WORDS: Final = {
    LeadStatus.CONTACTED: frozenset({
        "contacted", "contact", "lead_contacted", "contacted_lead", "in_progress",
    }),
    LeadStatus.QUALIFIED: frozenset({
        "qualified", "qualified_lead", "lead_qualified", "sales_qualified", "sales_qualified_lead", "sql",
        "marketing_qualified_lead", "mql", "opportunity",
    }),
    LeadStatus.CONVERTED: frozenset({
        "converted", "converted_lead", "lead_converted", "conversion", "purchase", "complete_payment",
        "place_an_order", "closed_won", "deal_won", "won", "customer",
    }),
    LeadStatus.UNQUALIFIED: frozenset({
        "unqualified", "unqualified_lead", "lead_unqualified", "disqualified", "disqualified_lead",
        "closed_lost", "deal_lost", "lost", "junk", "junk_lead", "spam",
    }),
}  # fmt: skip
"""Names of events by status, in small letters with underscores; another name moves no lead."""
_RANK: Final = {
    LeadStatus.RAW: 0,
    LeadStatus.UNQUALIFIED: 0,
    LeadStatus.CONTACTED: 1,
    LeadStatus.QUALIFIED: 2,
    LeadStatus.CONVERTED: 3,
}


@dataclass(frozen=True, slots=True)
class EventSet:
    """A CRM event set of an ad account; ``number`` is the API's ``event_set_id``."""

    id: str
    business_id: str
    number: int
    ad_account_id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LeadEvent:
    """An event of a lead in a CRM; a second one with the same ``natural_key`` is a duplicate."""

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
    """Return the status of an event's name, in any spelling."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    word = _WORD.sub("_", spaced.lower()).strip("_")
    return next((status for status, words in STATUS_WORDS.items() if word in words), None)


def follows(current: LeadStatus, status: LeadStatus | None) -> bool:
    """Return whether an event moves a lead on; a late event of an earlier stage does not."""
    if status is None or status not in MOVES[current]:
        return False
    return status is LeadStatus.UNQUALIFIED or _RANK[status] > _RANK[current]


def check_hashes(where: str, values: Iterable[str]) -> None:
    """Refuse a value that is not a SHA-256, such as a contact detail in clear.

    Raises:
        Refused: NOT_HASHED, which does not repeat the value.
    """
    if not all(_SHA256.fullmatch(value) for value in values):
        raise Refused(errors.NOT_HASHED, f"{where}: a value is no SHA-256 in lower-case hexadecimal.")


def check_event_time(where: str, at_s: int, received_at: datetime) -> datetime:
    """Return the time of an event.

    Raises:
        Refused: INVALID, for a time in other units or in the future.
    """
    latest = (received_at + AHEAD).timestamp()
    if not 0 < at_s <= latest:
        raise Refused(errors.INVALID, f"{where}: give seconds since 1970, not later than now.")
    return datetime.fromtimestamp(at_s, received_at.tzinfo)


def status_of_word(words: Mapping[str, str], word: str) -> LeadStatus | None:
    """Return our status of a CRM's word: by the business's mapping, else by its usual meaning."""
    named = words.get(word)
    if named in set(LeadStatus):
        return LeadStatus(named)
    return status_of_event(word) if word else None
