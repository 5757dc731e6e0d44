"""What the forms of contact details send: a new one, a correction, the main one, a wrong one, none at all."""

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Limits
from starlette.responses import Response

from contatto.accounts.auth import FormCaller
from contatto.capture.model import Field
from contatto.kit.db.tx import Tx
from contatto.leads.actions import points as actions
from contatto.leads.pages.query import actor_of
from contatto.leads.pages.statuses import change_lead

router = APIRouter(include_in_schema=False)


class _Point(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    do: Literal["save", "main", "wrong", "right"] = "save"
    value: str = Limits("", max_length=400)
    seen: str = Limits("", max_length=400)


@router.post("/leads/{lead_id}/points")
async def post_point(
    request: Request,
    caller: FormCaller,
    lead_id: str,
    field: Annotated[Field, Form()],
    value: Annotated[str, Form(max_length=400)] = "",
) -> Response:
    actor = actor_of(caller)
    return await change_lead(
        request, caller, lead_id, lambda tx: actions.add_contact_point(tx, actor, lead_id, field, value)
    )


@router.post("/leads/{lead_id}/points/{point_id}")
async def post_point_change(
    request: Request, caller: FormCaller, lead_id: str, point_id: str, sent: Annotated[_Point, Form()]
) -> Response:
    actor = actor_of(caller)

    def change(tx: Tx) -> None:
        if sent.do == "save":
            actions.change_contact_point(tx, actor, lead_id, point_id, sent.seen, sent.value)
        elif sent.do == "main":
            actions.choose_main_contact(tx, actor, lead_id, point_id, sent.seen)
        else:
            is_wrong = sent.do == "wrong"
            actions.mark_contact_wrong(tx, actor, lead_id, point_id, sent.seen, is_wrong=is_wrong)

    return await change_lead(request, caller, lead_id, change)


@router.post("/leads/{lead_id}/points/{point_id}/reject")
async def post_reject(request: Request, caller: FormCaller, lead_id: str, point_id: str) -> Response:
    """Not a contact: the point goes, and with the last one a lead that nothing else made."""
    of, actor = caller.business_id, caller.display_name
    return await change_lead(
        request, caller, lead_id, lambda tx: actions.reject_contact_point(tx, of, lead_id, point_id, actor)
    )


@router.post("/leads/{lead_id}/rejected/{rejected_id}/undo")
async def post_reject_undo(request: Request, caller: FormCaller, lead_id: str, rejected_id: str) -> Response:
    actor = actor_of(caller)
    return await change_lead(
        request, caller, lead_id, lambda tx: actions.put_back_contact(tx, actor, lead_id, rejected_id)
    )
