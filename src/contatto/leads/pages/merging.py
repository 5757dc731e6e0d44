"""Two leads side by side, what a merge would move, and the merge with its undo."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Limits
from starlette.responses import HTMLResponse, RedirectResponse

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.actions.merging import MergeRequest, merge_leads, undo_merge
from contatto.leads.model import Lead, Merge, Picks
from contatto.leads.pages.center import actor_of, rows_of
from contatto.leads.store import records
from contatto.leads.store.merges import find_merge, list_equal_points, list_row_ids
from contatto.ui.context import context_of

type Side = Literal["one", "two"]


class _MergeForm(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    keep: Side
    name: Side
    status: Side
    owner: Side
    reason: str = Limits("", max_length=1_000)


@router.get("/leads/{lead_id}/merge/{other_id}")
async def show_merge(request: Request, caller: PageCaller, lead_id: str, other_id: str) -> HTMLResponse:
    require(caller, Permission.WRITE_LEADS)
    context = context_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        leads = [_open_lead(tx, caller.business_id, requested_id) for requested_id in (lead_id, other_id)]
        if lead_id == other_id:
            raise Refused(errors.INVALID, "Choose two different leads.")
        equal = list_equal_points(tx, caller.business_id, lead_id, other_id)
        sides = rows_of(tx, caller.business_id, leads)
        moves = [_moves(tx, lead, len(equal)) for lead in leads]
        return {"sides": sides, "moves": moves, "equal": len(equal)}

    values = await context.db.read(load)
    return context.pages.render(request, "leads/merge.html", values | {"caller": caller})


@router.post("/leads/{lead_id}/merge/{other_id}")
async def post_merge(
    request: Request, caller: FormCaller, lead_id: str, other_id: str, sent: Annotated[_MergeForm, Form()]
) -> RedirectResponse:
    require(caller, Permission.WRITE_LEADS)
    target_id, source_id = (lead_id, other_id) if sent.keep == "one" else (other_id, lead_id)
    picks = Picks(*(picked != sent.keep for picked in (sent.name, sent.status, sent.owner)))
    actor, merge_request = actor_of(caller), MergeRequest(target_id, source_id, picks, sent.reason)

    def merge(tx: Tx) -> Merge:
        return merge_leads(tx, actor, merge_request)

    await context_of(request).db.write(merge)
    return RedirectResponse(f"/leads/{target_id}", 303)


@router.post("/leads/{lead_id}/merges/{merge_id}/undo")
async def post_unmerge(request: Request, caller: FormCaller, lead_id: str, merge_id: str) -> RedirectResponse:
    require(caller, Permission.WRITE_LEADS)
    actor = actor_of(caller)

    def undo(tx: Tx) -> None:
        merge = find_merge(tx, caller.business_id, merge_id)
        if merge is None or lead_id not in (merge.kept_id, merge.merged_id):
            raise Refused(errors.NOT_FOUND, "Merge not found.")
        undo_merge(tx, actor, merge_id)

    await context_of(request).db.write(undo)
    return RedirectResponse(f"/leads/{lead_id}", 303)


def _open_lead(tx: Tx, business_id: str, lead_id: str) -> Lead:
    lead = records.find_lead(tx, business_id, lead_id)
    if lead is None or lead.hidden_at is not None:
        raise Refused(errors.NOT_FOUND, "Lead not found.")
    return lead


def _moves(tx: Tx, lead: Lead, equal: int) -> dict[str, int]:
    rows = {name: len(ids) for name, ids in list_row_ids(tx, lead.business_id, lead.id).items()}
    return {
        "details": rows["contact_points"] - equal,
        "notes": rows["lead_notes"],
        "tasks": rows["lead_tasks"],
        "steps": rows["lead_history"],
    }
