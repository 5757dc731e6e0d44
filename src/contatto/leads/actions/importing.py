"""Leads out of a file: each row makes a lead, adds to the one that it fits, or is left with a reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import batched
from typing import Final

from contatto.capture.model import Field
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import LazyText
from contatto.kit.ids import new_id
from contatto.leads.actions import annotations, records
from contatto.leads.actions.facets import refresh_with_twins
from contatto.leads.model.annotations import Actor
from contatto.leads.model.jobs import ItemState, JobItem, Plan
from contatto.leads.model.leads import HistoryKind, Lead, Origin, Signal
from contatto.leads.rules.importing import Entry, Sheet, UnreadableRow, read_entry
from contatto.leads.store import annotations as work_store
from contatto.leads.store import records as store
from contatto.leads.store.facets import list_sharing_leads

SHOWN_ROWS: Final = 100
_AT_ONCE: Final = 500
"""Rows whose details are looked up together."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What the import of a row will do: create, update or skip, and why."""

    number: int
    does: str
    name: str
    details: tuple[str, ...]
    reason: LazyText


@dataclass(frozen=True, slots=True)
class Preview:
    """What an import will do, in numbers, with its first rows and all that are left out."""

    counts: dict[str, int]
    rows: list[Foreseen]


def plan_import(sheet: Sheet, country: str) -> Plan:
    """The plan of a job: the head and the country stand before the rows."""
    return Plan(value=country, query="\t".join(sheet.columns), rows=sheet.rows)


def foresee_import(tx: Tx, business_id: str, sheet: Sheet, country: str) -> Preview:
    """Say for each row what its import will do, without doing it."""
    counts = {"create": 0, "update": 0, "skip": 0}
    shown: list[Foreseen] = []
    seen: dict[tuple[Field, str], int] = {}
    for rows in batched(enumerate(sheet.rows, 1), _AT_ONCE, strict=False):
        read = [(number, _read(sheet.columns, cells, country)) for number, cells in rows]
        values = {each.value for _, entry in read if isinstance(entry, Entry) for each in entry.contacts}
        known = store.list_leads_by_value(tx, business_id, values)
        for number, entry in read:
            foreseen = _foresee(number, entry, known, seen)
            counts[foreseen.does] += 1
            if len(shown) < SHOWN_ROWS or (foreseen.does == "skip" and len(shown) < 5 * SHOWN_ROWS):
                shown.append(foreseen)
    return Preview(counts, shown)


def _read(columns: tuple[str, ...], cells: tuple[str, ...], country: str) -> Entry | UnreadableRow:
    try:
        return read_entry(columns, cells, country)
    except UnreadableRow as unfit:
        return unfit


def _foresee(
    number: int,
    entry: Entry | UnreadableRow,
    known: Mapping[str, list[Lead]],
    seen: dict[tuple[Field, str], int],
) -> Foreseen:
    """What becomes of a row: ``known`` are the leads by their values, ``seen`` the earlier rows by theirs."""
    if isinstance(entry, UnreadableRow):
        return Foreseen(number, "skip", "", (), entry.says)
    values = tuple((each.field, each.value) for each in entry.contacts)
    details = tuple(value for _, value in values)
    fitting = {lead.id: lead for value in details for lead in known.get(value, ())}
    earlier = {seen[value] for value in values if value in seen}
    for value in values:
        seen.setdefault(value, number)
    if len(fitting) > 1:
        return Foreseen(number, "skip", entry.name, details, _several(len(fitting)))
    if fitting:
        (lead,) = fitting.values()
        return Foreseen(number, "update", entry.name, details, _adds_to(lead.name))
    if earlier:
        return Foreseen(
            number, "update", entry.name, details, LazyText("Adds to row %(row)s", row=min(earlier))
        )
    return Foreseen(number, "create", entry.name, details, LazyText(""))


def _adds_to(name: str) -> LazyText:
    return LazyText("Adds to %(name)s", name=name) if name else LazyText("Adds to a lead without a name")


def _several(count: int) -> LazyText:
    return LazyText("It fits %(count)s leads. Merge them first, or take the shared detail out.", count=count)


def import_row(tx: Tx, actor: Actor, plan: Plan, job_id: str, number: int) -> JobItem:
    """Do what was foreseen for a row, as things are by now."""
    try:
        entry = read_entry(plan.query.split("\t"), plan.rows[number - 1], plan.value)
    except UnreadableRow as unfit:
        return _left(number, unfit.says)
    values = {each.value for each in entry.contacts}
    known = store.list_leads_with_values(tx, actor.business_id, values)
    if len(known) > 1:
        return _left(number, _several(len(known)))
    source_id = f"{job_id}:{number}"
    lead = records.upsert_lead(tx, _signal(tx, actor, entry, known[0] if known else None, source_id))
    if lead is None:
        return _left(number, LazyText("There is no contact detail in it."))
    labels = [annotations.keep_label(tx, actor.business_id, name) for name in entry.labels]
    fresh = [label.id for label in labels if annotations.put_label(tx, actor, lead.id, label)]
    state = ItemState.CHANGED if known else ItemState.CREATED
    return JobItem(0, lead.id, state, ",".join(fresh), source_id, "")


def _left(number: int, reason: LazyText) -> JobItem:
    said = LazyText("Row %(row)s: %(reason)s", row=number, reason=reason)
    return JobItem(0, "", ItemState.SKIPPED, "", "", said.kept())


def _signal(tx: Tx, actor: Actor, entry: Entry, lead: Lead | None, source_id: str) -> Signal:
    return Signal(
        business_id=actor.business_id,
        person_id=lead.person_id if lead else new_id(),
        channel_account_id=lead.channel_account_id if lead else "",
        conversation_id=lead.conversation_id if lead else "",
        origin=Origin.IMPORT,
        source_id=source_id,
        at=tx.now,
        contacts=entry.contacts,
        stated_name=None,
        profile_name=entry.name,
        actor=actor.name,
    )


def take_back_row(tx: Tx, actor: Actor, lead: Lead, item: JobItem) -> bool:
    """Undo a row: a lead that it made is deleted, details that it added go; False when others built on it."""
    if item.state is ItemState.CREATED:
        if _was_used(tx, lead, item.after):
            return False
        records.delete_lead(tx, lead, actor.name)
        return True
    own = store.list_points_of_source(tx, lead.business_id, lead.id, item.after)
    shared = list_sharing_leads(tx, lead.business_id, {lead.id})
    for point_id in own:
        store.delete_contact_point(tx, lead.business_id, point_id)
    for label_id in filter(None, item.before.split(",")):
        work_store.delete_lead_label(tx, lead.business_id, lead.id, label_id)
    refresh_with_twins(tx, lead.business_id, {lead.id}, shared)
    annotations.note_edit(tx, actor, lead.id, HistoryKind.IMPORT_UNDONE, "")
    return True


def _was_used(tx: Tx, lead: Lead, source_id: str) -> bool:
    """Whether anything but the import has added to a lead."""
    job_id = source_id.partition(":")[0]
    evidence = store.list_evidence_of_lead(tx, lead.business_id, lead.id)
    others = any(each.source_id.partition(":")[0] != job_id for each in evidence)
    return others or bool(work_store.list_notes(tx, lead.business_id, lead.id))
