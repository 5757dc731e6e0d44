"""What of a lead goes into which field of a CRM, what into the note, and whether the CRM has the fields."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from contatto.capture.model import Field
from contatto.crm.model.deliveries import Payload
from contatto.crm.model.operations import CrmField, FieldKind
from contatto.crm.model.sources import ANSWER, FIRST_NAME, LAST_NAME, NAME, PLAIN_SOURCES, STATUS, Snapshot
from contatto.crm.model.targets import MappedField, MappingFault, Target, Weakness
from contatto.crm.model.traits import Traits
from contatto.leads.model import LeadStatus

NOTE_LIMIT: Final = 10_000
"""Most characters of a note; no CRM takes more in one text, and none of ours is longer in earnest."""
_NOTED: Final = (NAME, *(field.value for field in Field))
"""What goes into the note if it has no field, beside the answers: nothing that the person said is lost."""
_PHONES: Final = (Field.PHONE.value, Field.WHATSAPP.value)


def default_mapping(traits: Traits) -> tuple[MappedField, ...]:
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
    target: Target, traits: Traits, snapshot: Snapshot, revision: int, without: Collection[str] = ()
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


def _stand_ins(target: Target, traits: Traits, snapshot: Snapshot, filled: Collection[str]) -> dict[str, str]:
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


def _note(snapshot: Snapshot, told: set[str]) -> str:
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
