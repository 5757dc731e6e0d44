"""Background jobs on leads: bulk changes with their undo, imports, and scores."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import batched
from typing import Final
from urllib.parse import parse_qsl

import msgspec
import sqlalchemy as sa

from contatto.accounts.model import BusinessId, Permission
from contatto.accounts.store import list_able_members, list_businesses
from contatto.capture.model import Field
from contatto.kit import errors
from contatto.kit.background import PeriodicStudy, Study
from contatto.kit.db.tx import Tx, in_time, rows_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.i18n import N_, LazyText
from contatto.kit.ids import new_id
from contatto.kit.log import logger
from contatto.kit.outbox import emit
from contatto.kit.sandbox import SandboxPool
from contatto.kit.untrusted_files import change_encoding
from contatto.leads.actions.annotations import (
    add_note,
    assign_lead,
    change_work,
    check_member,
    erase_leads,
    keep_label,
    label_name,
    merge_leads,
    put_label,
    undo_merge,
)
from contatto.leads.actions.records import (
    change_lead_status,
    delete_lead,
    move_lead,
    note_edit,
    refresh_with_twins,
    restore_lead,
    upsert_leads,
)
from contatto.leads.engines import Correction, ScoringRequest, ScoringResult, prepare_trees, score_round
from contatto.leads.model import (
    STATUS_TEXTS,
    Actor,
    HistoryKind,
    ItemState,
    JobItem,
    JobKind,
    JobPlan,
    Lead,
    LeadJob,
    LeadJobMoved,
    LeadJobState,
    LeadModel,
    LeadStatus,
    Note,
    Origin,
    Picks,
    Signal,
)
from contatto.leads.rules.importing import (
    MOST_ROWS,
    ImportEntry,
    UnreadableRow,
    guess_columns,
    read_columns,
    read_entry,
)
from contatto.leads.rules.records import MOST_ERASED, MOVES, for_member, is_enough, read_filter, read_note
from contatto.leads.store import jobs as store
from contatto.leads.store import listing
from contatto.leads.store import records as lead_store
from contatto.leads.store.intake import list_sharing_leads, record_facets
from contatto.leads.store.tables import IS_OPEN, contact_points, evidence, lead_jobs, lead_labels

EVERY_S: Final = 3_600.0
_SCORED_FOR: Final = timedelta(days=180)
MOST: Final = 5_000
"""Newest leads of a business that a scoring round learns from and scores."""
_OLD: Final = timedelta(hours=20)
"""Age from which new outcomes replace a model: less than a day, so that each day trains one."""
_CLOCK_S: Final = 600.0
_PROCESSOR_S: Final = 120
"""Limit of CPU time, about ten times the need of ``MOST`` leads."""


@dataclass(slots=True)
class LeadScorer:
    """Scoring requests of a round, business by business; each business has its own model."""

    _business_ids: Iterator[str] | None = None

    def start_over(self) -> None:
        """Begin a round with the first business."""
        self._business_ids = None

    def read_next(self, tx: Tx) -> Study | None:
        """Return the scoring request of the next business with news; None at the end."""
        if self._business_ids is None:
            self._business_ids = iter([str(business.id) for business in list_businesses(tx)])
        for business_id in self._business_ids:
            model = store.find_lead_model(tx, business_id)
            leads = store.list_leads_to_score(tx, business_id, tx.now - _SCORED_FOR, MOST)
            is_old = model is None or model.learned_at <= tx.now - _OLD
            outcomes = [lead.is_good for lead in leads if lead.is_good is not None]
            has_news = any(
                lead.log_odds is None or (lead.is_good is not None and not lead.is_counted) for lead in leads
            )
            has_changed = model is None or model.outcomes != len(outcomes) or has_news
            is_due = is_old and has_changed and is_enough(outcomes)
            if is_due or (model is not None and has_news):
                correction = msgspec.json.decode(model.correction, type=Correction) if model else Correction()
                current = None if is_due else model
                request = ScoringRequest(leads, current.body if current else b"", correction)
                return Study(msgspec.json.encode(request), partial(_save_round, business_id, current))
        return None


def scoring_study() -> PeriodicStudy:
    """Return the hourly scoring of leads; its process ends after each round."""
    scorer = LeadScorer()
    open_sandbox = partial(SandboxPool, 1, _CLOCK_S, _PROCESSOR_S, prepare_trees)
    return PeriodicStudy(EVERY_S, scorer.start_over, scorer.read_next, score_round, open_sandbox)


def _save_round(business_id: str, current: LeadModel | None, raw: bytes, tx: Tx) -> None:
    """Save the changed scores, and the new model or else the calibration of the current one."""
    answer = msgspec.json.decode(raw, type=ScoringResult)
    correction = msgspec.json.encode(answer.correction)
    if (new := answer.learned) is not None:
        model = LeadModel(
            business_id, tx.now, new.outcomes, new.share, new.loss, correction, new.model, new.held
        )
        store.save_lead_model(tx, model)
        if not new.has_trees:
            logger().warning(
                "leads.scored_without_trees", says="LightGBM cannot be loaded: is libgomp there?"
            )
    elif current is not None:
        store.save_lead_model(tx, replace(current, correction=correction))
    lead_store.save_scores(tx, business_id, answer.scores)


CHUNK: Final = 100
"""Most leads of one step, which ends earlier when its time is over."""
MOST_WAITING: Final = 50
"""Jobs of a business that may wait."""
STALLED: Final = timedelta(hours=1)
"""A running job with failing steps stops counting against its business's limit after this time."""
MOST_SELECTED: Final = 500
_LABELLING: Final = frozenset({JobKind.LABEL, JobKind.UNLABEL, JobKind.UNDO})
"""Jobs that may change labels; each of their steps saves the facets of its leads at its end."""
SKIPPED_FIRST: Final = LazyText("Somebody changed this lead in the meantime.")


def start_job(tx: Tx, actor: Actor, kind: JobKind, plan: JobPlan) -> LeadJob:
    """Queue a job on the chosen leads, or on all that match a filter.

    Raises Refused: INVALID without a lead or with an invalid value; CONFLICT, when too many jobs wait, or
    when a lead to erase was merged.
    """
    plan = _prepare(tx, actor, kind, plan)
    total = len(plan.rows) or len(plan.lead_ids)
    if not total:
        lead_filter = for_member(read_filter(parse_qsl(plan.query)), actor.member_id)
        total = listing.count_leads(tx, actor.business_id, lead_filter)
    if not total:
        raise Refused(errors.INVALID, "Choose at least one lead.")
    check_waiting_jobs(tx, actor.business_id)
    job = _new_job(tx, actor, kind, plan, total)
    store.save_job(tx, job)
    return job


def undo_job(tx: Tx, actor: Actor, job_id: str) -> LeadJob:
    """Queue the undo of a job, which skips leads that changed since. Raises Refused: NOT_FOUND; CONFLICT."""
    job = check_found(store.find_job(tx, actor.business_id, job_id), "Task not found.")
    if job.kind is JobKind.ERASE:
        raise Refused(errors.CONFLICT, "Erasing cannot be undone, because no data is left.")
    if not job.has_ended or job.undone_by or job.kind is JobKind.UNDO:
        raise Refused(errors.CONFLICT, "This cannot be undone. It is still running, or was already undone.")
    undo = replace(_new_job(tx, actor, JobKind.UNDO, JobPlan(), job.done), undo_of=job.id)
    store.record_job(tx, replace(job, undone_by=undo.id))
    check_waiting_jobs(tx, actor.business_id)
    store.save_job(tx, undo)
    return undo


def has_job_to_start(tx: Tx, most: int) -> bool:
    """Report whether a waiting job may run; each business runs ``most`` at a time."""
    return bool(store.list_free_businesses(tx, most, tx.now - STALLED))


def start_waiting_jobs(tx: Tx, most: int) -> int:
    """Start the jobs that have waited longest, a limited number for each business; return their number."""
    tx.hold_key("starting jobs on leads")
    started = 0
    for business_id, places in store.list_free_businesses(tx, most, tx.now - STALLED):
        is_waiting = rows_of(lead_jobs, business_id, state=LeadJobState.WAITING)
        waiting = sa.select(lead_jobs.c.id).where(IS_OPEN, *is_waiting).limit(places)
        oldest = waiting.order_by(lead_jobs.c.created_at, lead_jobs.c.id)
        for job_id in tx.execute(oldest.with_for_update(skip_locked=True)).scalars().all():
            tx.change(lead_jobs, business_id, job_id, state=LeadJobState.RUNNING, moved_at=tx.now)
            emit(tx, business_id, LeadJobMoved(business_id, job_id))
            started += 1
    return started


def continue_job(tx: Tx, event: LeadJobMoved) -> None:
    """Do the next step of a job, and emit the event that continues it; a handler of that event."""
    tx.hold_key("imports and erasures", event.business_id)  # a step that began must not bring rows back
    job = store.find_job(tx, event.business_id, event.job_id)
    if job is None or job.state is not LeadJobState.RUNNING:
        return
    if job.kind is JobKind.IMPORT:
        start = int(job.cursor or 0)
        due = in_time(range(start + 1, min(start + CHUNK, len(job.plan.rows)) + 1))
        items = [import_row(tx, job.member, job.plan, job.id, number) for number in due]
        cursor = str(start + len(items))
    elif job.kind is JobKind.ERASE:
        # Erase the next leads, also deleted ones; skip those that no longer exist.
        ids = [lead_id for lead_id in job.plan.lead_ids if lead_id > job.cursor][:CHUNK]
        items, erased = list[JobItem](), set[str]()
        for lead_id in in_time(ids):
            lead = lead_store.find_lead(tx, job.business_id, lead_id)
            if lead is not None and lead_id not in erased:
                erased |= erase_leads(tx, job.business_id, [lead], job.actor)
            changed = JobItem(0, lead_id, ItemState.CHANGED, "", "erased", "")
            missing = _skipped(lead_id, LazyText("This lead no longer exists."))
            items.append(changed if lead_id in erased else missing)
        cursor = items[-1].lead_id if items else job.cursor
    elif job.kind is JobKind.UNDO:
        items, cursor = _undo_step(tx, job)
    else:
        items, cursor = _change_step(tx, job)
    if job.kind in _LABELLING:
        record_facets(tx, job.business_id, {item.lead_id for item in items})
    skipped = sum(item.state is ItemState.SKIPPED for item in items)
    first = job.done + job.skipped + 1
    store.append_job_items(tx, job, [replace(item, position=first + n) for n, item in enumerate(items)])
    done = job.done + len(items) - skipped
    moved_job = replace(job, cursor=cursor, done=done, skipped=job.skipped + skipped, moved_at=tx.now)
    emit(tx, job.business_id, LeadJobMoved(job.business_id, job.id))
    if items:
        store.record_job(tx, moved_job)
        return
    store.record_job(tx, replace(moved_job, state=LeadJobState.DONE, ended_at=tx.now))
    if job.plan.rows:
        # A member can fetch, correct and send again the rows that were left out or taken in part.
        rejects = store.list_items_with_reason(tx, job.business_id, job.id, MOST_ROWS)
        numbers = tuple(item.position for item in rejects if item.position <= len(job.plan.rows))
        rows = tuple(job.plan.rows[number - 1] for number in numbers)
        store.record_plan(tx, job.business_id, job.id, replace(job.plan, rows=rows, numbers=numbers))


def check_waiting_jobs(tx: Tx, business_id: str) -> None:
    """Refuse one more job of a business where too many wait. Raises Refused: CONFLICT."""
    tx.hold_key("jobs on leads", business_id)
    waiting = rows_of(lead_jobs, business_id, state=LeadJobState.WAITING)
    if tx.scalar(sa.select(sa.func.count()).select_from(lead_jobs).where(IS_OPEN, *waiting)) >= MOST_WAITING:
        raise Refused(
            errors.CONFLICT, "%(most)s jobs are already waiting. Try again later.", most=MOST_WAITING
        )


def _new_job(
    tx: Tx, actor: Actor, kind: JobKind, plan: JobPlan, total: int, state: LeadJobState = LeadJobState.WAITING
) -> LeadJob:
    member = actor.member_id, actor.name
    return LeadJob(new_id(), actor.business_id, kind, state, *member, plan, total, tx.now, tx.now)


def _prepare(tx: Tx, actor: Actor, kind: JobKind, plan: JobPlan) -> JobPlan:
    """Return the plan with the id of its label and with sorted leads, after checks. Raises Refused."""
    value = plan.value
    if kind is JobKind.ERASE:
        if not 0 < len(plan.lead_ids) <= MOST_ERASED:
            raise Refused(errors.INVALID, "Choose at most %(most)s leads to erase.", most=MOST_ERASED)
        # A lead is not erased without its target lead; from here on it cannot be merged.
        leads = lead_store.list_leads_to_change(tx, actor.business_id, plan.lead_ids)
        if any(lead.merged_into and lead.merged_into not in leads for lead in leads.values()):
            raise Refused(
                errors.CONFLICT,
                "Somebody merged one of these leads into another one. Nothing was erased. "
                "Choose the other lead.",
            )
    elif len(plan.lead_ids) > MOST_SELECTED:
        raise Refused(errors.INVALID, "Choose at most %(most)s leads, or all that match.", most=MOST_SELECTED)
    elif kind is JobKind.STATUS and value not in list(LeadStatus):
        raise Refused(errors.INVALID, "status: choose one from the list.")
    elif kind is JobKind.OWNER:
        check_member(tx, actor.business_id, value or None)
    elif kind is JobKind.LABEL:
        value = keep_label(tx, actor.business_id, value).id
    elif kind is JobKind.UNLABEL:
        label = lead_store.find_label(tx, actor.business_id, value)
        if label is None:
            raise Refused(errors.INVALID, "label: this label does not exist.")
        value = label.id
    return replace(plan, value=value, lead_ids=tuple(sorted(set(plan.lead_ids))))


def _change_step(tx: Tx, job: LeadJob) -> tuple[list[JobItem], str]:
    if job.plan.lead_ids:
        ids = [lead_id for lead_id in job.plan.lead_ids if lead_id > job.cursor][:CHUNK]
    else:  # leads that came after the job began have greater ids, and are left out
        lead_filter = for_member(read_filter(parse_qsl(job.plan.query)), job.member_id)
        lead_ids = listing.list_lead_ids_after(tx, job.business_id, lead_filter, job.cursor, CHUNK)
        ids = [lead_id for lead_id in lead_ids if lead_id < job.id]
    leads = lead_store.list_leads_to_change(tx, job.business_id, ids)
    actor, items = job.member, list[JobItem]()
    for lead_id in in_time(ids):
        lead = leads.get(lead_id)
        if lead is None or lead.hidden_at is not None or lead.id != lead_id:
            items.append(_skipped(lead_id, LazyText("This lead no longer exists.")))
            continue
        try:
            items.append(_change_lead(tx, actor, lead, job.kind, job.plan.value))
        except Refused as refused:
            items.append(_skipped(lead_id, refused.said))
    return items, items[-1].lead_id if items else job.cursor


def _skipped(lead_id: str, reason: LazyText) -> JobItem:
    return JobItem(0, lead_id, ItemState.SKIPPED, "", "", reason.kept())


def _change_lead(tx: Tx, actor: Actor, lead: Lead, kind: JobKind, value: str) -> JobItem:
    """Apply the change of a job to a lead; skip a lead that already has the new value."""
    before, after, obstacle = "", value, None
    if kind is JobKind.STATUS:
        before, new = lead.status.value, LeadStatus(value)
        if lead.status is new:
            obstacle = LazyText("The status is already %(status)s.", status=LazyText(STATUS_TEXTS[new]))
        else:
            change_lead_status(tx, actor.business_id, lead.id, lead.status, new, actor.name)
    elif kind is JobKind.OWNER:
        before = lead.owner_id or ""
        if before == value:
            obstacle = LazyText("The lead already has this owner.")
        else:
            assign_lead(tx, actor, lead.id, lead.owner_id, value or None)
    elif kind is JobKind.LABEL:
        if lead_store.append_lead_label(tx, actor.business_id, lead.id, value):
            note_edit(tx, actor, lead.id, HistoryKind.LABELLED, label_name(tx, actor.business_id, value))
        else:
            obstacle = LazyText("The lead already has this label.")
    elif kind is JobKind.DELETE:
        after = "deleted"
        delete_lead(tx, lead, actor.name)
    elif tx.delete(lead_labels, actor.business_id, lead_id=lead.id, label_id=value):
        before, after = value, ""
        note_edit(tx, actor, lead.id, HistoryKind.UNLABELLED, label_name(tx, actor.business_id, value))
    else:
        obstacle = LazyText("The lead does not have this label.")
    changed = JobItem(0, lead.id, ItemState.CHANGED, before, after, "")
    return _skipped(lead.id, obstacle) if obstacle else changed


def _undo_step(tx: Tx, job: LeadJob) -> tuple[list[JobItem], str]:
    original = store.find_job(tx, job.business_id, job.undo_of or "")
    if original is None:
        return [], job.cursor
    items = store.list_job_items(tx, job.business_id, original.id, int(job.cursor or 0), CHUNK)
    leads = lead_store.list_leads_to_change(tx, job.business_id, {item.lead_id for item in items})
    actor, kind = job.member, original.kind
    results = list[JobItem]()
    for item in in_time(items):
        lead, result = leads.get(item.lead_id), _skipped(item.lead_id, SKIPPED_FIRST)
        is_there = lead is not None and (lead.hidden_at is not None) is (kind is JobKind.DELETE)
        if lead is not None and lead.id == item.lead_id and is_there:
            try:
                if _undo_change(tx, actor, lead, kind, item):
                    result = JobItem(0, lead.id, ItemState.CHANGED, item.after, item.before, "")
            except Refused as refused:
                result = _skipped(item.lead_id, refused.said)
        results.append(result)
    return results, str(items[len(results) - 1].position) if items else job.cursor


def _undo_change(tx: Tx, actor: Actor, lead: Lead, kind: JobKind, item: JobItem) -> bool:
    """Undo the change of a job on one lead; return False if somebody has changed it since."""
    if kind is JobKind.IMPORT:
        return take_back_row(tx, actor, lead, item)
    if kind in (JobKind.LABEL, JobKind.UNLABEL):
        opposite = JobKind.UNLABEL if item.after else JobKind.LABEL
        result = _change_lead(tx, actor, lead, opposite, item.after or item.before)
        return result.state is ItemState.CHANGED
    current = {JobKind.STATUS: lead.status.value, JobKind.OWNER: lead.owner_id or ""}
    if current.get(kind, item.after) != item.after or (kind is JobKind.DELETE and lead.merged_into):
        return False
    if kind is JobKind.STATUS:
        move_lead(tx, lead, LeadStatus(item.before), actor.name, HistoryKind.STATUS_UNDONE)
    elif kind is JobKind.OWNER:
        assign_lead(tx, actor, lead.id, lead.owner_id, item.before or None)
    elif kind is JobKind.DELETE:
        restore_lead(tx, lead, actor.name)
    else:
        undo_merge(tx, actor, item.after)
    return True


KEEP_DRAFT: Final = timedelta(days=1)
KEEP_REJECTS: Final = timedelta(days=7)
"""Time for which a member can download the rejected rows of an import."""
_IMPORTS_KEPT_FOR: Final = timedelta(days=30)


def keep_import_draft(tx: Tx, actor: Actor, plan: JobPlan) -> LeadJob:
    """Save a file as the member's import draft, in place of an earlier one."""
    drafts = rows_of(lead_jobs, actor.business_id, member_id=actor.member_id, state=LeadJobState.DRAFT)
    tx.execute(lead_jobs.delete().where(IS_OPEN, *drafts))
    draft = _new_job(tx, actor, JobKind.IMPORT, plan, len(plan.rows), LeadJobState.DRAFT)
    store.save_job(tx, draft)
    return draft


def load_import_draft(tx: Tx, actor: Actor, job_id: str) -> LeadJob:
    """Return a member's import draft. Raises Refused: NOT_FOUND, also for an import that has started."""
    job = store.find_job(tx, actor.business_id, job_id)
    if job is None or job.state is not LeadJobState.DRAFT or job.member_id != actor.member_id:
        raise Refused(errors.NOT_FOUND, "This file has expired. Choose it again.")
    return job


def read_plan_in_encoding(plan: JobPlan, encoding: str, columns: Sequence[str], country: str) -> JobPlan:
    """Return the plan of a text file as it reads in another encoding.

    Columns that the member did not change are detected again, since their heads read differently.

    Raises Refused: INVALID, when the file is no text in that encoding.
    """
    head, *rows = (
        tuple(change_encoding(cell, plan.encoding, encoding) for cell in row)
        for row in (plan.head, *plan.rows)
    )
    sheet = JobPlan(head=head, rows=tuple(rows), encoding=encoding)
    chosen = () if tuple(columns) == plan.columns else read_columns(columns, len(head))
    return plan_import(sheet, country, chosen)


def start_import(tx: Tx, actor: Actor, job_id: str) -> None:
    """Start an import, unless it was started before. Raises Refused: NOT_FOUND; INVALID; CONFLICT."""
    job = store.find_job(tx, actor.business_id, job_id)
    if job is not None and job.member_id == actor.member_id and job.state is not LeadJobState.DRAFT:
        return
    draft = load_import_draft(tx, actor, job_id)
    read_columns(draft.plan.columns, len(draft.plan.head))
    check_waiting_jobs(tx, actor.business_id)
    is_draft = lead_jobs.c.state == LeadJobState.DRAFT
    values = {"state": LeadJobState.WAITING, "created_at": tx.now, "moved_at": tx.now}
    tx.change(lead_jobs, draft.business_id, draft.id, is_draft, **values)


def load_rejects(tx: Tx, business_id: str, job_id: str) -> tuple[JobPlan, dict[int, str]]:
    """Return the plan with an import's rejected rows, and reasons by row. Raises Refused: NOT_FOUND."""
    job = store.find_job(tx, business_id, job_id)
    if job is None or job.kind is not JobKind.IMPORT or not job.has_ended or not any(job.plan.rows):
        raise Refused(errors.NOT_FOUND, "These rows have expired. Import the file again.")
    rejects = store.list_items_with_reason(tx, business_id, job_id, len(job.plan.rows) + 1)
    return job.plan, {item.position: item.reason for item in rejects}


def purge_imports(tx: Tx) -> int:
    """Delete jobs that were not started, and old rejected rows of imports; return the number of jobs."""
    until = tx.now - KEEP_REJECTS
    ended_at = lead_jobs.c.ended_at
    is_old = ended_at >= until - _IMPORTS_KEPT_FOR, ended_at < until
    imports = store.list_jobs_with_plans(tx, lead_jobs.c.kind == JobKind.IMPORT, *is_old)
    old = [job for job in imports if job.plan.rows]
    for job in old:
        store.record_plan(tx, job.business_id, job.id, replace(job.plan, rows=(), numbers=()))
    is_draft = IS_OPEN, lead_jobs.c.state == LeadJobState.DRAFT
    drafts = lead_jobs.delete().where(*is_draft, lead_jobs.c.moved_at < tx.now - KEEP_DRAFT)
    return len(old) + tx.execute(drafts).rowcount


MERGE_LIMIT: Final = 20
"""Most leads of one merge."""


def merge_many_leads(tx: Tx, actor: Actor, kept_id: str, lead_ids: Sequence[str], reason: str) -> LeadJob:
    """Merge all of the leads into one of them: either all of them, or none.

    The target lead keeps its fields; a missing name or owner comes from the first lead that has one.

    Raises Refused: INVALID for fewer than two leads or too many, or when none of them is kept; NOT_FOUND;
    CONFLICT when one of them is hidden by now.
    """
    chosen = list(dict.fromkeys(lead_ids))
    if not 2 <= len(chosen) <= MERGE_LIMIT or kept_id not in chosen:
        raise Refused(
            errors.INVALID, "Choose 2 to %(most)s leads, and which of them stays.", most=MERGE_LIMIT
        )
    lead_store.list_leads_to_change(tx, actor.business_id, chosen)  # locked before the merges lock each pair
    merges = [
        merge_leads(tx, actor, kept_id, lead_id, Picks(), reason) for lead_id in chosen if lead_id != kept_id
    ]
    # the last one first: that is the order of undoing
    items = [
        JobItem(position, kept_id, ItemState.CHANGED, "", merge.id, "")
        for position, merge in enumerate(reversed(merges), 1)
    ]
    plan = JobPlan(lead_ids=tuple(sorted(chosen)))
    new_job = _new_job(tx, actor, JobKind.MERGE, plan, len(items), LeadJobState.DONE)
    job = replace(new_job, done=len(items), ended_at=tx.now)
    store.save_job(tx, job)
    store.append_job_items(tx, job, items)
    emit(tx, job.business_id, LeadJobMoved(job.business_id, job.id))
    return job


SHOWN_ROWS: Final = 20
"""Rows of each kind that a preview shows."""
SHOWN_REASONS: Final = 12
_AT_ONCE: Final = 500
"""Rows of a file with one query for their leads."""
_LABEL, _STATUS, _OWNER, _NOTE = "l", "s", "o", "n"
"""First letters of the undo tokens in ``JobItem.before``, one token per change of an imported row."""
_SEVERAL: Final = N_("This row matches %(count)s leads. Merge them first, or remove the shared detail.")
_NO_OWNER: Final = LazyText("The owner is not a member who can open leads.")
_NO_MOVE: Final = LazyText("This status cannot follow the current one, so the current status stays.")


@dataclass(frozen=True, slots=True)
class RowPreview:
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
        in_part: how many rows it imports without some of their values.
        reasons: reasons for skipped rows and values, the most frequent first, with their counts.
        rows: some rows of each kind.
    """

    counts: dict[str, int]
    in_part: int
    reasons: list[tuple[LazyText, int]]
    rows: list[RowPreview]


def plan_import(sheet: JobPlan, country: str, columns: Sequence[str] = ()) -> JobPlan:
    """Return the plan of an import; without ``columns`` each column gets its most probable meaning."""
    chosen = tuple(columns) or guess_columns(sheet.head, sheet.rows)
    return replace(sheet, value=country, columns=chosen)


def foresee_import(tx: Tx, business_id: str, plan: JobPlan) -> Preview:
    """Predict the outcome of each row of an import, without a change."""
    counts = {"create": 0, "update": 0, "skip": 0}
    in_part = 0
    shown: list[RowPreview] = []
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
        existing_leads = lead_store.list_leads_by_value(tx, business_id, values)
        for number, entry in read:
            preview = _outcome(number, entry, existing_leads, rows_by_value)
            counts[preview.does] += 1
            in_part += bool(preview.problems) and preview.does != "skip"
            for reason in preview.problems or ([preview.reason] if preview.does == "skip" else []):
                texts.setdefault(reason.text, reason)
                reasons[reason.text] += 1
            kind = (preview.does, bool(preview.problems))
            of_kind[kind] += 1
            if of_kind[kind] <= SHOWN_ROWS:
                shown.append(preview)
    common = [(texts[text], count) for text, count in reasons.most_common(SHOWN_REASONS)]
    return Preview(counts, in_part, common, shown)


def owners_of(tx: Tx, business_id: str) -> dict[str, str]:
    """Return ids of members who may open leads, by case-folded name and by e-mail."""
    members = list_able_members(tx, BusinessId(business_id), Permission.READ_LEADS)
    names: dict[str, str] = {member.display_name.casefold(): member.id for member in members}
    return names | {member.email.casefold(): member.id for member in members}


def _read(
    columns: tuple[str, ...], cells: tuple[str, ...], country: str, owners: Mapping[str, str]
) -> ImportEntry | UnreadableRow:
    try:
        entry = read_entry(columns, cells, country)
    except UnreadableRow as unreadable_row:
        return unreadable_row
    if entry.owner and entry.owner.casefold() not in owners:
        return replace(entry, owner="", problems=(*entry.problems, _NO_OWNER))
    return entry


def _outcome(
    number: int,
    entry: ImportEntry | UnreadableRow,
    existing_leads: Mapping[str, list[Lead]],
    rows_by_value: dict[tuple[Field, str], int],
) -> RowPreview:
    """Predict the outcome of a row, from the leads and the earlier rows that hold its values."""
    if isinstance(entry, UnreadableRow):
        return RowPreview(number, "skip", "", (), entry.says)
    values = tuple((contact.field, contact.value) for contact in entry.contacts)
    details = tuple(value for _, value in values)
    matches = {lead.id: lead for value in details for lead in existing_leads.get(value, ())}
    earlier = {rows_by_value[value] for value in values if value in rows_by_value}
    for value in values:
        rows_by_value.setdefault(value, number)
    if len(matches) > 1:
        return RowPreview(number, "skip", entry.name, details, LazyText(_SEVERAL, count=len(matches)))
    does, reason, problems = "create", LazyText(""), entry.problems
    if matches:
        (lead,) = matches.values()
        does, reason = "update", LazyText("Updates a lead without a name")
        if lead.name:
            reason = LazyText("Updates %(name)s", name=lead.name)
        if entry.status not in (None, lead.status) and entry.status not in MOVES[lead.status]:
            problems = (*problems, _NO_MOVE)
    elif earlier:
        does, reason = "update", LazyText("Merged into row %(row)s", row=min(earlier))
    return RowPreview(number, does, entry.name, details, reason, problems)


def import_row(tx: Tx, actor: Actor, plan: JobPlan, job_id: str, number: int) -> JobItem:
    """Import a row: create a lead, or update the one lead that has its contact values."""
    owners = owners_of(tx, actor.business_id)
    entry = _read(plan.columns, plan.rows[number - 1], plan.value, owners)
    if isinstance(entry, UnreadableRow):
        return _skipped("", _join_reasons(number, entry.says))
    values = {contact.value for contact in entry.contacts}
    leads_by_value = lead_store.list_leads_by_value(tx, actor.business_id, values)
    existing_leads = list({lead.id: lead for some in leads_by_value.values() for lead in some}.values())
    if len(existing_leads) > 1:
        return _skipped("", _join_reasons(number, LazyText(_SEVERAL, count=len(existing_leads))))
    source_id = f"{job_id}:{number}"
    existing_lead = existing_leads[0] if existing_leads else None
    signal = Signal(
        business_id=actor.business_id,
        person_id=existing_lead.person_id if existing_lead else new_id(),
        channel_account_id=existing_lead.channel_account_id if existing_lead else "",
        conversation_id=existing_lead.conversation_id if existing_lead else "",
        origin=Origin.IMPORT,
        source_id=source_id,
        at=tx.now,
        contacts=entry.contacts,
        stated_name=None,
        profile_name=entry.name,
        actor=actor.name,
    )
    [lead] = upsert_leads(tx, [signal])
    if lead is None:
        return _skipped("", _join_reasons(number, LazyText("This row has no contact detail.")))
    is_new = existing_lead is None
    status = entry.status
    can_move = is_new or status in (None, lead.status) or status in MOVES[lead.status]
    problems = entry.problems if can_move else (*entry.problems, _NO_MOVE)
    # Apply the labels, status, owner and notes of a row, and note what an undo needs.
    labels = [keep_label(tx, actor.business_id, name) for name in entry.labels]
    before = [f"{_LABEL}{label.id}" for label in labels if put_label(tx, actor, lead.id, label)]
    if status is not None and status is not lead.status and can_move:
        change_lead_status(tx, lead.business_id, lead.id, lead.status, status, actor.name)
        before.append(f"{_STATUS}{lead.status.value}>{status.value}")
    owner_id = owners.get(entry.owner.casefold()) if entry.owner else None
    if owner_id is not None and owner_id != lead.owner_id:
        assign_lead(tx, actor, lead.id, lead.owner_id, owner_id)
        before.append(f"{_OWNER}{lead.owner_id or ''}>{owner_id}")
    if entry.notes:
        text = read_note(entry.notes)
        if all(note.text != text for note in lead_store.list_work(tx, lead.business_id, lead.id, Note)):
            before.append(f"{_NOTE}{add_note(tx, actor, lead.id, text).id}")
    state = ItemState.CREATED if is_new else ItemState.CHANGED
    reason = _join_reasons(number, *problems).kept() if problems else ""
    return JobItem(0, lead.id, state, ",".join(before), source_id, reason)


def _join_reasons(number: int, first: LazyText, *others: LazyText) -> LazyText:
    """Return at most three reasons for a row as one."""
    for reason in others[:2]:
        first = LazyText("%(first)s %(second)s", first=first, second=reason)
    return LazyText("Row %(row)s: %(reason)s", row=number, reason=first)


def take_back_row(tx: Tx, actor: Actor, lead: Lead, item: JobItem) -> bool:
    """Undo an imported row: delete its new lead, or its additions to an existing one.

    Return False for a new lead that has other sources or notes by now.
    """
    lead_evidence = lead_store.list_evidence_of_lead(tx, lead.business_id, lead.id)
    notes = lead_store.list_work(tx, lead.business_id, lead.id, Note)
    if item.state is ItemState.CREATED:
        # The lead stays if anything but the import has added to it.
        job_id = item.after.partition(":")[0]
        has_other_sources = any(proof.source_id.partition(":")[0] != job_id for proof in lead_evidence)
        own_notes = {token[1:] for token in item.before.split(",") if token.startswith(_NOTE)}
        if has_other_sources or any(note.id not in own_notes or note.revision for note in notes):
            return False
        delete_lead(tx, lead, actor.name)
        return True
    unchanged_notes = {note.id: note for note in notes if note.revision == 0}
    sources: dict[str, set[str]] = defaultdict(set)
    for proof in lead_evidence:
        sources[proof.contact_point_id].add(proof.source_id)
    shared = list_sharing_leads(tx, lead.business_id, {lead.id})
    for point_id, source_ids in sources.items():
        if source_ids == {item.after}:
            tx.delete(evidence, lead.business_id, contact_point_id=point_id)
            tx.delete(contact_points, lead.business_id, id=point_id)
    for token in filter(None, item.before.split(",")):
        # Take back one thing that a row did; what somebody has changed since stays.
        kind, value = token[0], token[1:]
        old, _, new = value.partition(">")
        if kind == _LABEL:
            tx.delete(lead_labels, lead.business_id, lead_id=lead.id, label_id=value)
        elif kind == _STATUS and lead.status.value == new:
            move_lead(tx, lead, LeadStatus(old), actor.name, HistoryKind.STATUS_UNDONE)
        elif kind == _OWNER and lead.owner_id == new:
            assign_lead(tx, actor, lead.id, new, old or None)
        elif kind == _NOTE and value in unchanged_notes:
            change_work(tx, actor, unchanged_notes[value], "delete")
    refresh_with_twins(tx, lead.business_id, {lead.id}, shared)
    note_edit(tx, actor, lead.id, HistoryKind.IMPORT_UNDONE, "")
    return True
