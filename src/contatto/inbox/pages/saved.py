"""The settings page of saved replies."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.inbox.actions import desk
from contatto.inbox.store.desk import list_saved_replies
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.faults import split_fault
from contatto.kit.i18n import translator_of
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False, prefix="/settings/replies")


@router.get("")
async def show_saved_replies(request: Request, caller: PageCaller) -> HTMLResponse:
    return await _render(request, caller)


@router.post("")
async def post_saved_reply(
    request: Request,
    caller: FormCaller,
    shortcut: Annotated[str, Form()] = "",
    text: Annotated[str, Form()] = "",
) -> Response:
    require(caller, Permission.WRITE_INBOX)
    try:
        await context_of(request).db.write(
            lambda tx: desk.keep_saved_reply(tx, caller.business_id, shortcut, text)
        )
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await _render(request, caller, refused, {"shortcut": shortcut, "text": text})
    return RedirectResponse("/settings/replies", 303)


@router.post("/{reply_id}/remove")
async def post_remove_saved_reply(request: Request, caller: FormCaller, reply_id: str) -> Response:
    require(caller, Permission.WRITE_INBOX)
    await context_of(request).db.write(lambda tx: desk.remove_saved_reply(tx, caller.business_id, reply_id))
    return RedirectResponse("/settings/replies", 303)


async def _render(
    request: Request, caller: Caller, refused: Refused | None = None, typed: dict[str, str] | None = None
) -> HTMLResponse:
    """The page; after a refusal, with what was typed and what is wrong with it."""
    require(caller, Permission.READ_INBOX)
    context = context_of(request)
    field, says = split_fault(refused, translator_of(request)) if refused else ("", "")
    values = {
        "caller": caller,
        "replies": await context.db.read(lambda tx: list_saved_replies(tx, caller.business_id)),
        "can_write": may(caller, Permission.WRITE_INBOX),
        "errors": {field: says} if refused else {},
        "typed": typed or {"shortcut": "", "text": ""},
    }
    return context.pages.render(
        request, "inbox/saved.html", values, refused.code.http_status if refused else 200
    )
