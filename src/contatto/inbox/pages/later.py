"""Replies for later, and how soon the business wants to answer."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.inbox import rules
from contatto.inbox.actions.desk import set_reply_target
from contatto.inbox.actions.scheduled import cancel_scheduled, schedule_reply
from contatto.inbox.pages.answers import after_post, is_uuid
from contatto.inbox.store.targets import find_reply_target
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.faults import split_fault
from contatto.kit.i18n import translator_of
from contatto.kit.ids import named_id, new_id
from contatto.kit.timestamps import check_year, instant_of
from contatto.kit.typed_numbers import read_whole
from contatto.leads.model.annotations import Actor
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)


@router.post("/inbox/{conversation_id}/scheduled")
async def post_scheduled(
    request: Request,
    caller: FormCaller,
    conversation_id: str,
    text: Annotated[str, Form()] = "",
    at: Annotated[str, Form(max_length=40)] = "",
    client_message_id: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    require(caller, Permission.WRITE_INBOX)
    actor = Actor(caller.business_id, caller.subject_id, caller.display_name)
    due_at = _read_time(at)
    is_named = bool(client_message_id) and is_uuid(conversation_id)
    reply_id = named_id(conversation_id, f"later:{client_message_id}") if is_named else new_id()
    await context_of(request).db.write(
        lambda tx: schedule_reply(tx, actor, conversation_id, reply_id, text, due_at)
    )
    return await after_post(request, caller, conversation_id)


def _read_time(text: str) -> datetime:
    """An instant in ISO 8601; without a zone it is one of UTC.

    Raises:
        Refused: INVALID.
    """
    check_year("at", text)
    found = instant_of(text)
    if found is None:
        raise Refused(errors.INVALID, "at: choose a day and a time.")
    return found


@router.post("/inbox/{conversation_id}/scheduled/{reply_id}/cancel")
async def post_cancel_scheduled(
    request: Request, caller: FormCaller, conversation_id: str, reply_id: str
) -> Response:
    require(caller, Permission.WRITE_INBOX)
    await context_of(request).db.write(
        lambda tx: cancel_scheduled(tx, caller.business_id, conversation_id, reply_id)
    )
    return await after_post(request, caller, conversation_id)


@router.get("/settings/inbox")
async def show_inbox_settings(request: Request, caller: PageCaller) -> HTMLResponse:
    return await _render(request, caller)


@router.post("/settings/inbox")
async def post_inbox_settings(
    request: Request, caller: FormCaller, minutes: Annotated[str, Form(max_length=40)] = ""
) -> Response:
    require(caller, Permission.ADMINISTER)
    lang = translator_of(request).lang
    try:
        target = read_whole("minutes", minutes, lang) or 0
        await context_of(request).db.write(lambda tx: set_reply_target(tx, caller.business_id, target))
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        return await _render(request, caller, refused, minutes)
    return RedirectResponse("/settings/inbox", 303)


async def _render(
    request: Request, caller: Caller, refused: Refused | None = None, typed: str = ""
) -> HTMLResponse:
    """The page; after a refusal, with what was typed and what is wrong with it."""
    require(caller, Permission.READ_INBOX)
    context = context_of(request)
    target = await context.db.read(lambda tx: find_reply_target(tx, caller.business_id))
    values = {
        "caller": caller,
        "minutes": typed if refused else int(target.total_seconds() // 60) if target else "",
        "most": rules.TARGET_LIMIT_MIN,
        "can_manage": may(caller, Permission.ADMINISTER),
        "error": split_fault(refused, translator_of(request))[1] if refused else "",
    }
    status = refused.code.http_status if refused else 200
    return context.pages.render(request, "inbox/settings.html", values, status)
