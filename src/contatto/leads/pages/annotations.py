"""Posted changes of one lead: contact details, owner, labels, notes, tasks, merges."""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Form, Request
from pydantic import Field as Limits
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller, page_routes
from contatto.accounts.model import Permission, ReadAudit
from contatto.capture.model import Field
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.actions import annotations as actions
from contatto.leads.actions.annotations import TaskText
from contatto.leads.actions.merging import MergeRequest, merge_leads, undo_merge
from contatto.leads.model import Lead, Merge, Picks
from contatto.leads.pages.center import PostedForm, actor_of, rows_of
from contatto.leads.pages.detail import change_lead
from contatto.leads.rules.records import NOTE_LIMIT, read_day
from contatto.leads.store import records
from contatto.leads.store.annotations import find_merge, find_note, find_task, list_equal_points, list_row_ids
from contatto.ui.requests import context_of

router = page_routes()


class LeadForm:
    """A posted change of a lead by a member."""

    def __init__(self, request: Request, caller: FormCaller, lead_id: str) -> None:
        self.request, self.caller, self.lead_id, self.actor = request, caller, lead_id, actor_of(caller)

    async def change(self, change: Callable[[Tx], object]) -> Response:
        """Change the lead, and go back to it."""
        return await change_lead(self.request, self.caller, self.lead_id, change)


type PostedLead = Annotated[LeadForm, Depends()]


class _Point(PostedForm):
    """Change of a contact point, unless its value is no longer ``seen``."""

    do: Literal["save", "main", "wrong", "right"] = "save"
    value: str = Limits("", max_length=400)
    seen: str = Limits("", max_length=400)


@router.post("/leads/{lead_id}/points", Permission.WRITE_LEADS)
async def post_point(
    posted: PostedLead,
    field: Annotated[Field, Form()],
    value: Annotated[str, Form(max_length=400)] = "",
) -> Response:
    return await posted.change(
        lambda tx: actions.add_contact_point(tx, posted.actor, posted.lead_id, field, value)
    )


@router.post("/leads/{lead_id}/points/{point_id}", Permission.WRITE_LEADS)
async def post_point_change(posted: PostedLead, point_id: str, sent: Annotated[_Point, Form()]) -> Response:
    def change(tx: Tx) -> None:
        if sent.do == "save":
            actions.change_contact_point(tx, posted.actor, posted.lead_id, point_id, sent.seen, sent.value)
        elif sent.do == "main":
            actions.choose_main_contact(tx, posted.actor, posted.lead_id, point_id, sent.seen)
        else:
            is_wrong = sent.do == "wrong"
            actions.mark_contact_wrong(
                tx, posted.actor, posted.lead_id, point_id, sent.seen, is_wrong=is_wrong
            )

    return await posted.change(change)


@router.post("/leads/{lead_id}/points/{point_id}/reject", Permission.WRITE_LEADS)
async def post_reject(posted: PostedLead, point_id: str) -> Response:
    """Reject a contact point; with its last one, delete a lead that has no other origin."""
    business_id, actor = posted.caller.business_id, posted.caller.display_name
    return await posted.change(
        lambda tx: actions.reject_contact_point(tx, business_id, posted.lead_id, point_id, actor)
    )


@router.post("/leads/{lead_id}/rejected/{rejected_id}/undo", Permission.WRITE_LEADS)
async def post_reject_undo(posted: PostedLead, rejected_id: str) -> Response:
    return await posted.change(
        lambda tx: actions.put_back_contact(tx, posted.actor, posted.lead_id, rejected_id)
    )


_LONGEST: Final = 4 * NOTE_LIMIT


class _Owner(PostedForm):
    owner: str = Limits("", max_length=36)
    seen: str = Limits("", max_length=36)


class _Note(PostedForm):
    text: str = Limits("", max_length=_LONGEST)
    seen: int = Limits(0, ge=0, le=1_000_000_000)


class _Task(_Note):
    due_on: str = Limits("", max_length=20)


class _Change(_Task):
    do: Literal["save", "delete", "done", "open"] = "save"


@router.post("/leads/{lead_id}/owner", Permission.WRITE_LEADS)
async def post_owner(posted: PostedLead, sent: Annotated[_Owner, Form()]) -> Response:
    return await posted.change(
        lambda tx: actions.assign_lead(
            tx, posted.actor, posted.lead_id, sent.seen or None, sent.owner or None
        )
    )


@router.post("/leads/{lead_id}/labels", Permission.WRITE_LEADS)
async def post_label(posted: PostedLead, name: Annotated[str, Form(max_length=200)]) -> Response:
    return await posted.change(lambda tx: actions.label_lead(tx, posted.actor, posted.lead_id, name))


@router.post("/leads/{lead_id}/labels/{label_id}/remove", Permission.WRITE_LEADS)
async def post_unlabel(posted: PostedLead, label_id: str) -> Response:
    return await posted.change(lambda tx: actions.unlabel_lead(tx, posted.actor, posted.lead_id, label_id))


@router.post("/leads/{lead_id}/notes", Permission.WRITE_LEADS)
async def post_note(posted: PostedLead, sent: Annotated[_Note, Form()]) -> Response:
    return await posted.change(lambda tx: actions.add_note(tx, posted.actor, posted.lead_id, sent.text))


@router.post("/leads/{lead_id}/notes/{note_id}", Permission.WRITE_LEADS)
async def post_note_change(posted: PostedLead, note_id: str, sent: Annotated[_Change, Form()]) -> Response:
    def change(tx: Tx) -> None:
        note = find_note(tx, posted.caller.business_id, posted.lead_id, note_id)
        if note is None:
            raise Refused(errors.NOT_FOUND, "Somebody deleted this note.")
        if note.revision != sent.seen:
            raise Refused(
                errors.CONFLICT, "Somebody else changed this note. Your text is still in the field."
            )
        if sent.do == "delete":
            actions.remove_note(tx, posted.actor, note)
        else:
            actions.edit_note(tx, posted.actor, note, sent.text)

    return await posted.change(change)


@router.post("/leads/{lead_id}/tasks", Permission.WRITE_LEADS)
async def post_task(posted: PostedLead, sent: Annotated[_Task, Form()]) -> Response:
    task_text = TaskText(sent.text, read_day(sent.due_on))
    return await posted.change(lambda tx: actions.add_task(tx, posted.actor, posted.lead_id, task_text))


@router.post("/leads/{lead_id}/tasks/{task_id}", Permission.WRITE_LEADS)
async def post_task_change(posted: PostedLead, task_id: str, sent: Annotated[_Change, Form()]) -> Response:
    def change(tx: Tx) -> None:
        task = find_task(tx, posted.caller.business_id, posted.lead_id, task_id)
        if task is None:
            raise Refused(errors.NOT_FOUND, "Somebody deleted this task.")
        if task.revision != sent.seen:
            raise Refused(errors.CONFLICT, "Somebody else changed this task. Check it and try again.")
        if sent.do == "delete":
            actions.remove_task(tx, posted.actor, task)
        elif sent.do == "save":
            actions.edit_task(tx, posted.actor, task, TaskText(sent.text, read_day(sent.due_on)))
        else:
            actions.finish_task(tx, posted.actor, task, is_done=sent.do == "done")

    return await posted.change(change)


type Side = Literal["one", "two"]


class _MergeForm(PostedForm):
    keep: Side
    name: Side
    status: Side
    owner: Side
    reason: str = Limits("", max_length=1_000)


@router.get("/leads/{lead_id}/merge/{other_id}", Permission.WRITE_LEADS, ReadAudit.EACH)
async def show_merge(request: Request, caller: PageCaller, lead_id: str, other_id: str) -> HTMLResponse:
    context = context_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        leads = list[Lead]()
        for requested_id in (lead_id, other_id):
            lead = records.find_lead(tx, caller.business_id, requested_id)
            if lead is None or lead.hidden_at is not None:
                raise Refused(errors.NOT_FOUND, "Lead not found.")
            leads.append(lead)
        if lead_id == other_id:
            raise Refused(errors.INVALID, "Choose two different leads.")
        equal = list_equal_points(tx, caller.business_id, lead_id, other_id)
        sides = rows_of(tx, caller.business_id, leads)
        moves = [_moves(tx, lead, len(equal)) for lead in leads]
        return {"sides": sides, "moves": moves, "equal": len(equal)}

    values = await context.db.read(load)
    return context.pages.render(request, "leads/merge.html", values | {"caller": caller})


@router.post("/leads/{lead_id}/merge/{other_id}", Permission.WRITE_LEADS)
async def post_merge(
    request: Request, caller: FormCaller, lead_id: str, other_id: str, sent: Annotated[_MergeForm, Form()]
) -> RedirectResponse:
    target_id, source_id = (lead_id, other_id) if sent.keep == "one" else (other_id, lead_id)
    picks = Picks(*(picked != sent.keep for picked in (sent.name, sent.status, sent.owner)))
    actor, merge_request = actor_of(caller), MergeRequest(target_id, source_id, picks, sent.reason)

    def merge(tx: Tx) -> Merge:
        return merge_leads(tx, actor, merge_request)

    await context_of(request).db.write(merge)
    return RedirectResponse(f"/leads/{target_id}", 303)


@router.post("/leads/{lead_id}/merges/{merge_id}/undo", Permission.WRITE_LEADS)
async def post_unmerge(request: Request, caller: FormCaller, lead_id: str, merge_id: str) -> RedirectResponse:
    actor = actor_of(caller)

    def undo(tx: Tx) -> None:
        merge = find_merge(tx, caller.business_id, merge_id)
        if merge is None or lead_id not in (merge.kept_id, merge.merged_id):
            raise Refused(errors.NOT_FOUND, "Merge not found.")
        undo_merge(tx, actor, merge_id)

    await context_of(request).db.write(undo)
    return RedirectResponse(f"/leads/{lead_id}", 303)


def _moves(tx: Tx, lead: Lead, equal: int) -> dict[str, int]:
    rows = {name: len(ids) for name, ids in list_row_ids(tx, lead.business_id, lead.id).items()}
    return {
        "details": rows["contact_points"] - equal,
        "notes": rows["lead_notes"],
        "tasks": rows["lead_tasks"],
        "steps": rows["lead_history"],
    }
