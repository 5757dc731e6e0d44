"""Import of leads from a file; each rejected row has a reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import batched
from typing import Final

from contatto.accounts.model import BusinessId, Permission
from contatto.accounts.rules import is_able
from contatto.accounts.store import list_members
from contatto.capture.model import Field
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import LazyText
from contatto.kit.ids import new_id
from contatto.leads.actions.annotations import (
    add_note,
    assign_lead,
    keep_label,
    note_edit,
    put_label,
    remove_note,
)
from contatto.leads.actions.records import (
    change_lead_status,
    delete_lead,
    refresh_with_twins,
    return_lead_status,
    upsert_lead,
)
from contatto.leads.model import (
    Actor,
    HistoryKind,
    ItemState,
    JobItem,
    JobPlan,
    Lead,
    LeadStatus,
    Note,
    Origin,
    Signal,
)
from contatto.leads.rules.importing import ImportEntry, Sheet, UnreadableRow, guess_columns, read_entry
from contatto.leads.rules.records import MOVES, read_note
from contatto.leads.store import records as store
from contatto.leads.store.intake import list_sharing_leads
from contatto.leads.store.records import delete_contact_point, delete_lead_label, find_work, list_notes

SHOWN_ROWS: Final = 20
"""Rows of each kind that a preview shows."""
SHOWN_REASONS: Final = 12
_AT_ONCE: Final = 500
"""Rows whose details are looked up together."""
_LABEL, _STATUS, _OWNER, _NOTE = "l", "s", "o", "n"
"""What the words begin with by which a row's work can be undone."""
_NO_OWNER: Final = LazyText("The owner is not a member who can open leads.")
_NO_MOVE: Final = LazyText("This status cannot follow the current one, so the current status stays.")


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Prediction of a row's import: create, update or skip, with the values that cannot be imported."""

    number: int
    does: str
    name: str
    details: tuple[str, ...]
    reason: LazyText
    problems: tuple[LazyText, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """Prediction of an import.

    Attributes:
        counts: how many rows it creates, updates and skips.
        in_part: how many rows are taken without something that cannot be.
        reasons: why rows or cells are left out, the most frequent first, with how many.
        rows: some rows of each kind.
    """

    counts: dict[str, int]
    in_part: int
    reasons: list[tuple[LazyText, int]]
    rows: list[Foreseen]


def plan_import(sheet: Sheet, country: str, columns: Sequence[str] = ()) -> JobPlan:
    """Return the plan of a job; without ``columns`` each column gets its most probable meaning."""
    chosen = tuple(columns) or guess_columns(sheet.head, sheet.rows)
    return JobPlan(value=country, rows=sheet.rows, head=sheet.head, columns=chosen)


def foresee_import(tx: Tx, business_id: str, plan: JobPlan) -> Preview:
    """Say for each row what its import will do, without doing it."""
    counts = {"create": 0, "update": 0, "skip": 0}
    in_part = 0
    shown: list[Foreseen] = []
    reasons: Counter[str] = Counter()
    texts: dict[str, LazyText] = {}
    rows_by_value: dict[tuple[Field, str], int] = {}
    owners = owners_of(tx, business_id)
    of_kind: Counter[tuple[str, bool]] = Counter()
    for rows in batched(enumerate(plan.rows, 1), _AT_ONCE, strict=False):
        read = [(number, _read(plan.columns, cells, plan.value, owners)) for number, cells in rows]
        values = {
            contact.value for _, entry in read if isinstance(entry, ImportEntry) for contact in entry.contacts
        }
        existing_leads = store.list_leads_by_value(tx, business_id, values)
        for number, entry in read:
            foreseen = _foresee(number, entry, existing_leads, rows_by_value)
            counts[foreseen.does] += 1
            in_part += bool(foreseen.problems) and foreseen.does != "skip"
            for reason in foreseen.problems or ([foreseen.reason] if foreseen.does == "skip" else []):
                texts.setdefault(reason.text, reason)
                reasons[reason.text] += 1
            kind = (foreseen.does, bool(foreseen.problems))
            of_kind[kind] += 1
            if of_kind[kind] <= SHOWN_ROWS:
                shown.append(foreseen)
    common = [(texts[text], count) for text, count in reasons.most_common(SHOWN_REASONS)]
    return Preview(counts, in_part, common, shown)


def owners_of(tx: Tx, business_id: str) -> dict[str, str]:
    """Members who may open leads: their ids by name and by e-mail, in small letters."""
    able = [
        member
        for member in list_members(tx, BusinessId(business_id))
        if is_able(member, Permission.READ_LEADS)
    ]
    members_by_name: dict[str, str] = {member.display_name.casefold(): member.id for member in able}
    return members_by_name | {member.email.casefold(): member.id for member in able}


def _read(
    columns: tuple[str, ...], cells: tuple[str, ...], country: str, owners: Mapping[str, str]
) -> ImportEntry | UnreadableRow:
    try:
        entry = read_entry(columns, cells, country)
    except UnreadableRow as unfit:
        return unfit
    if entry.owner and entry.owner.casefold() not in owners:
        return replace(entry, owner="", problems=(*entry.problems, _NO_OWNER))
    return entry


def _foresee(
    number: int,
    entry: ImportEntry | UnreadableRow,
    existing_leads: Mapping[str, list[Lead]],
    rows_by_value: dict[tuple[Field, str], int],
) -> Foreseen:
    """Predict the outcome of a row, from the leads and the earlier rows that hold its values."""
    if isinstance(entry, UnreadableRow):
        return Foreseen(number, "skip", "", (), entry.says)
    values = tuple((contact.field, contact.value) for contact in entry.contacts)
    details = tuple(value for _, value in values)
    fitting = {lead.id: lead for value in details for lead in existing_leads.get(value, ())}
    earlier = {rows_by_value[value] for value in values if value in rows_by_value}
    for value in values:
        rows_by_value.setdefault(value, number)
    if len(fitting) > 1:
        return Foreseen(number, "skip", entry.name, details, _several(len(fitting)))
    does, reason = "create", LazyText("")
    problems = entry.problems
    if fitting:
        (lead,) = fitting.values()
        does, reason = (
            "update",
            LazyText("Updates %(name)s", name=lead.name)
            if lead.name
            else LazyText("Updates a lead without a name"),
        )
        problems += _status_problem(entry, lead)
    elif earlier:
        does, reason = "update", LazyText("Merged into row %(row)s", row=min(earlier))
    return Foreseen(number, does, entry.name, details, reason, problems)


def _status_problem(entry: ImportEntry, lead: Lead) -> tuple[LazyText, ...]:
    """Why a lead that is there does not get the status of its row."""
    if entry.status in (None, lead.status) or entry.status in MOVES[lead.status]:
        return ()
    return (_NO_MOVE,)


def _several(count: int) -> LazyText:
    return LazyText(
        "This row matches %(count)s leads. Merge them first, or remove the shared detail.", count=count
    )


def import_row(tx: Tx, actor: Actor, plan: JobPlan, job_id: str, number: int) -> JobItem:
    """Apply the forecast of a row, checked against the current rows."""
    owners = owners_of(tx, actor.business_id)
    entry = _read(plan.columns, plan.rows[number - 1], plan.value, owners)
    if isinstance(entry, UnreadableRow):
        return _skipped_item(number, entry.says)
    values = {contact.value for contact in entry.contacts}
    leads_by_value = store.list_leads_by_value(tx, actor.business_id, values)
    existing_leads = list({lead.id: lead for some in leads_by_value.values() for lead in some}.values())
    if len(existing_leads) > 1:
        return _skipped_item(number, _several(len(existing_leads)))
    source_id = f"{job_id}:{number}"
    lead = upsert_lead(
        tx, _signal(tx, actor, entry, existing_leads[0] if existing_leads else None, source_id)
    )
    if lead is None:
        return _skipped_item(number, LazyText("This row has no contact detail."))
    state = ItemState.CHANGED if existing_leads else ItemState.CREATED
    problems = entry.problems + (_status_problem(entry, lead) if existing_leads else ())
    # Apply the labels, status, owner and notes of a row, and note what an undo needs.
    is_new = not existing_leads
    labels = [keep_label(tx, actor.business_id, name) for name in entry.labels]
    before = [f"{_LABEL}{label.id}" for label in labels if put_label(tx, actor, lead.id, label)]
    status = entry.status
    if status is not None and status is not lead.status and (is_new or status in MOVES[lead.status]):
        change_lead_status(tx, lead.business_id, lead.id, lead.status, status, actor.name)
        before.append(f"{_STATUS}{lead.status.value}>{status.value}")
    owner_id = owners.get(entry.owner.casefold()) if entry.owner else None
    if owner_id is not None and owner_id != lead.owner_id:
        assign_lead(tx, actor, lead.id, lead.owner_id, owner_id)
        before.append(f"{_OWNER}{lead.owner_id or ''}>{owner_id}")
    if entry.notes:
        text = read_note(entry.notes)
        if all(note.text != text for note in list_notes(tx, lead.business_id, lead.id)):
            before.append(f"{_NOTE}{add_note(tx, actor, lead.id, text).id}")
    reason = _kept_reason(number, _joined(problems)) if problems else ""
    return JobItem(0, lead.id, state, ",".join(before), source_id, reason)


def _kept_reason(number: int, reason: LazyText) -> str:
    return LazyText("Row %(row)s: %(reason)s", row=number, reason=reason).kept()


def _joined(problems: Sequence[LazyText]) -> LazyText:
    """Several reasons as one, to be kept."""
    text = problems[0]
    for problem in problems[1:3]:
        text = LazyText("%(first)s %(second)s", first=text, second=problem)
    return text


def _skipped_item(number: int, reason: LazyText) -> JobItem:
    return JobItem(0, "", ItemState.SKIPPED, "", "", _kept_reason(number, reason))


def _signal(tx: Tx, actor: Actor, entry: ImportEntry, lead: Lead | None, source_id: str) -> Signal:
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
        # It stays when anything but the import has added to it.
        job_id = item.after.partition(":")[0]
        evidence = store.list_evidence_of_lead(tx, lead.business_id, lead.id)
        has_other_sources = any(proof.source_id.partition(":")[0] != job_id for proof in evidence)
        own_notes = {token[1:] for token in item.before.split(",") if token.startswith(_NOTE)}
        notes = list_notes(tx, lead.business_id, lead.id)
        if has_other_sources or any(note.id not in own_notes or note.revision for note in notes):
            return False
        delete_lead(tx, lead, actor.name)
        return True
    own = store.list_points_of_source(tx, lead.business_id, lead.id, item.after)
    shared = list_sharing_leads(tx, lead.business_id, {lead.id})
    for point_id in own:
        delete_contact_point(tx, lead.business_id, point_id)
    for token in filter(None, item.before.split(",")):
        # Take back one thing that a row did; what somebody has changed since stays.
        kind, value = token[0], token[1:]
        old, _, new = value.partition(">")
        if kind == _LABEL:
            delete_lead_label(tx, lead.business_id, lead.id, value)
        elif kind == _STATUS and lead.status.value == new:
            return_lead_status(tx, lead, LeadStatus(old), actor.name)
        elif kind == _OWNER and lead.owner_id == new:
            assign_lead(tx, actor, lead.id, new, old or None)
        elif kind == _NOTE:
            note = find_work(tx, lead.business_id, lead.id, value, Note)
            if note is not None and note.revision == 0:
                remove_note(tx, actor, note)
    refresh_with_twins(tx, lead.business_id, {lead.id}, shared)
    note_edit(tx, actor, lead.id, HistoryKind.IMPORT_UNDONE, "")
    return True
