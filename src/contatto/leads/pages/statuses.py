"""What the buttons for the status of one lead send; who was slower is told so on the lead's own page."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from contatto.accounts.auth import FormCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.actions import statuses as actions
from contatto.leads.model.leads import LeadStatus
from contatto.leads.pages.detail import answer_lead
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)


async def change_lead(
    request: Request, caller: Caller, lead_id: str, change: Callable[[Tx], object]
) -> Response:
    """Change a lead and go back to it. A refused change is answered on the lead's page, with the reason."""
    require(caller, Permission.WRITE_LEADS)
    try:
        await context_of(request).db.write(change)
    except Refused as refused:
        if refused.code not in (errors.CONFLICT, errors.INVALID):
            raise
        return await answer_lead(request, caller, lead_id, refused)
    return RedirectResponse(f"/leads/{lead_id}", 303)


@router.post("/leads/{lead_id}/status")
async def post_status(
    request: Request,
    caller: FormCaller,
    lead_id: str,
    status: Annotated[LeadStatus, Form()],
    seen: Annotated[LeadStatus, Form()],
) -> Response:
    of, actor = caller.business_id, caller.display_name
    return await change_lead(
        request, caller, lead_id, lambda tx: actions.change_lead_status(tx, of, lead_id, seen, status, actor)
    )


@router.post("/leads/{lead_id}/status/undo")
async def post_status_undo(
    request: Request, caller: FormCaller, lead_id: str, seen: Annotated[LeadStatus, Form()]
) -> Response:
    of, actor = caller.business_id, caller.display_name
    return await change_lead(
        request, caller, lead_id, lambda tx: actions.undo_lead_status(tx, of, lead_id, seen, actor)
    )
