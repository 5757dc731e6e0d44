"""An import that a member still looks at: its file and what its columns are taken for, until it is started.

It is a job that waits for its member, so that erasing a person finds the rows. A member has one at a time.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.tables import change_encoding
from contatto.leads.actions.importing import plan_import
from contatto.leads.actions.jobs import check_waiting_jobs, new_job
from contatto.leads.model.annotations import Actor
from contatto.leads.model.jobs import Job, JobKind, JobState, Plan
from contatto.leads.rules.importing import Sheet, read_columns
from contatto.leads.store import jobs as store
from contatto.leads.store.erasing import record_plan

KEEP_DRAFT: Final = timedelta(days=1)
KEEP_REJECTS: Final = timedelta(days=7)
"""How long the rows that were left out can be fetched."""
_LOOK_BACK: Final = timedelta(days=30)


def keep_import_draft(tx: Tx, actor: Actor, plan: Plan) -> Job:
    """Keep a file until its member has looked at it, in place of the one before."""
    store.delete_drafts(tx, actor.business_id, actor.member_id)
    made = new_job(tx, actor, new_id(), JobKind.IMPORT, plan, len(plan.rows))
    draft = replace(made, state=JobState.DRAFT)
    store.save_job(tx, draft)
    return draft


def load_import_draft(tx: Tx, actor: Actor, job_id: str) -> Job:
    """The import that a member looks at.

    Raises:
        Refused: NOT_FOUND, also when it was started.
    """
    found = store.find_job(tx, actor.business_id, job_id)
    if found is None or found.state is not JobState.DRAFT or found.member_id != actor.member_id:
        raise Refused(errors.NOT_FOUND, "This file has expired. Choose it again.")
    return found


def map_import_columns(tx: Tx, actor: Actor, job_id: str, columns: Sequence[str], country: str) -> Plan:
    """Say what the columns of a file are taken for.

    Raises:
        Refused: NOT_FOUND; INVALID, when no column holds a contact detail.
    """
    draft = load_import_draft(tx, actor, job_id)
    chosen = read_columns(columns, len(draft.plan.head))
    plan = replace(draft.plan, columns=chosen, value=country)
    record_plan(tx, actor.business_id, draft.id, plan)
    return plan


def read_plan_in_encoding(plan: Plan, encoding: str, columns: Sequence[str], country: str) -> Plan:
    """Return the plan of a text file as it reads in another encoding.

    Columns that the member did not change are detected again, since their heads read differently.

    Raises:
        Refused: INVALID, when the file is no text in that encoding.
    """
    head, *rows = (
        tuple(change_encoding(cell, plan.encoding, encoding) for cell in row)
        for row in (plan.head, *plan.rows)
    )
    chosen = () if tuple(columns) == plan.columns else read_columns(columns, len(head))
    return replace(plan_import(Sheet(head, tuple(rows)), country, chosen), encoding=encoding)


def replace_import_plan(tx: Tx, actor: Actor, job_id: str, plan: Plan) -> None:
    """Save another plan for the import that a member looks at.

    Raises:
        Refused: NOT_FOUND, also when it was started.
    """
    record_plan(tx, actor.business_id, load_import_draft(tx, actor, job_id).id, plan)


def start_import(tx: Tx, actor: Actor, job_id: str) -> None:
    """Let an import begin as soon as it is its turn. One that was started before is left alone.

    Raises:
        Refused: NOT_FOUND; INVALID, when no column holds a contact detail; CONFLICT when too many jobs wait.
    """
    found = store.find_job(tx, actor.business_id, job_id)
    if found is not None and found.member_id == actor.member_id and found.state is not JobState.DRAFT:
        return
    draft = load_import_draft(tx, actor, job_id)
    read_columns(draft.plan.columns, len(draft.plan.head))
    check_waiting_jobs(tx, actor.business_id)
    store.record_draft_started(tx, draft)


def load_rejects(tx: Tx, business_id: str, job_id: str) -> tuple[Plan, dict[int, str]]:
    """The rows that an import left out or took in part, and the reason of each, as it was kept.

    Raises:
        Refused: NOT_FOUND, when there are none, or they are not kept any more.
    """
    job = store.find_job(tx, business_id, job_id)
    if job is None or job.kind is not JobKind.IMPORT or not job.has_ended or not any(job.plan.rows):
        raise Refused(errors.NOT_FOUND, "These rows have expired. Import the file again.")
    told = store.list_told(tx, business_id, job_id, len(job.plan.rows) + 1)
    return job.plan, {item.position: item.reason for item in told}


def purge_imports(tx: Tx) -> int:
    """Delete what nobody started, and forget rows that were left out long ago; say how many jobs."""
    until = tx.now - KEEP_REJECTS
    old = store.list_old_imports(tx, until - _LOOK_BACK, until)
    for job in old:
        record_plan(tx, job.business_id, job.id, replace(job.plan, rows=(), numbers=()))
    return len(old) + store.delete_old_drafts(tx, tx.now - KEEP_DRAFT)
