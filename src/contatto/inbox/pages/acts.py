"""Acts of members in the inbox; each is answered with the changed thread."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.channels.model import MessageKind, Sender
from contatto.inbox import rules
from contatto.inbox.actions.desk import (
    SeenConversation,
    add_private_note,
    assign_conversation,
    block_person,
    label_conversation,
    mark_conversation_as_lead,
    note_conversation_read,
    reopen_conversation,
    resolve_conversation,
    set_reply_target,
    snooze_conversation,
    unblock_person,
    unlabel_conversation,
)
from contatto.inbox.actions.replies import cancel_scheduled, retry_reply, schedule_reply, send_reply
from contatto.inbox.actions.threads import owned_conversation
from contatto.inbox.model import MemberTyping, Message
from contatto.inbox.pages.desk import after_post, is_uuid
from contatto.inbox.store.desk import find_reply_target
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import read_whole, split_fault
from contatto.kit.i18n import translator_of
from contatto.kit.ids import named_id, new_id
from contatto.kit.numbers import Revision
from contatto.kit.timestamps import check_year, instant_of
from contatto.leads.model import Actor, Lead
from contatto.ui.context import context_of



@router.post("/inbox/{conversation_id}/messages")
async def post_reply(
    request: Request,
    caller: FormCaller,
    conversation_id: str,
    text: Annotated[str, Form()] = "",
    client_message_id: Annotated[str, Form()] = "",
) -> Response:
    require(caller, Permission.WRITE_INBOX)

    def reply(tx: Tx) -> Message:
        message_id = named_id(conversation_id, client_message_id) if is_uuid(conversation_id) else ""
        message = Message(
            seq=0,
            id=message_id if client_message_id else new_id(),
            conversation_id=conversation_id,
            sender=Sender.BUSINESS,
            kind=MessageKind.TEXT,
            text=text.strip(),
            author=caller.display_name,
            at=tx.now,
        )
        return send_reply(tx, caller.business_id, conversation_id, message)

    await context_of(request).db.write(reply)
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/messages/{message_id}/retry")
async def post_retry(request: Request, caller: FormCaller, conversation_id: str, message_id: str) -> Response:
    require(caller, Permission.WRITE_INBOX)

    def retry(tx: Tx) -> None:
        retry_reply(tx, caller.business_id, conversation_id, message_id)

    await context_of(request).db.write(retry)
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/lead")
async def post_mark_as_lead(request: Request, caller: FormCaller, conversation_id: str) -> Response:
    require(caller, Permission.WRITE_LEADS)

    def mark(tx: Tx) -> Lead:
        return mark_conversation_as_lead(tx, caller.business_id, conversation_id, caller.display_name)

    await context_of(request).db.write(mark)
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/read")
async def post_read(request: Request, caller: FormCaller, conversation_id: str) -> Response:
    require(caller, Permission.WRITE_INBOX)
    await context_of(request).db.write(
        lambda tx: note_conversation_read(tx, caller.business_id, conversation_id, caller.subject_id)
    )
    return Response(status_code=204)


@router.post("/inbox/{conversation_id}/typing")
async def post_typing(request: Request, caller: FormCaller, conversation_id: str) -> Response:
    """Tell the customer's page and other members that this one writes; nothing of it is kept."""
    require(caller, Permission.WRITE_INBOX)
    context = context_of(request)
    await context.db.read(lambda tx: owned_conversation(tx, caller.business_id, conversation_id))
    typing = MemberTyping(caller.business_id, conversation_id, caller.subject_id, caller.display_name)
    context.live.broadcast_transient(caller.business_id, typing)
    return Response(status_code=204)


SeenRevision = Annotated[Revision, Form()]


def _actor(caller: Caller) -> Actor:
    require(caller, Permission.WRITE_INBOX)
    return Actor(caller.business_id, caller.subject_id, caller.display_name)


@router.post("/inbox/{conversation_id}/assign")
async def post_assign(
    request: Request,
    caller: FormCaller,
    conversation_id: str,
    revision: SeenRevision,
    member_id: Annotated[str, Form()] = "",
) -> Response:
    actor, expected = _actor(caller), SeenConversation(conversation_id, revision)
    await context_of(request).db.write(lambda tx: assign_conversation(tx, actor, expected, member_id or None))
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/snooze")
async def post_snooze(
    request: Request,
    caller: FormCaller,
    conversation_id: str,
    revision: SeenRevision,
    span: Annotated[str, Form()] = "",
) -> Response:
    actor, expected = _actor(caller), SeenConversation(conversation_id, revision)
    await context_of(request).db.write(lambda tx: snooze_conversation(tx, actor, expected, span))
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/resolve")
async def post_resolve(
    request: Request, caller: FormCaller, conversation_id: str, revision: SeenRevision
) -> Response:
    actor, expected = _actor(caller), SeenConversation(conversation_id, revision)
    await context_of(request).db.write(lambda tx: resolve_conversation(tx, actor, expected))
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/reopen")
async def post_reopen(
    request: Request, caller: FormCaller, conversation_id: str, revision: SeenRevision
) -> Response:
    actor, expected = _actor(caller), SeenConversation(conversation_id, revision)
    await context_of(request).db.write(lambda tx: reopen_conversation(tx, actor, expected))
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/block")
async def post_block(
    request: Request,
    caller: FormCaller,
    conversation_id: str,
    revision: SeenRevision,
    spam: Annotated[str, Form()] = "0",
) -> Response:
    actor, expected = _actor(caller), SeenConversation(conversation_id, revision)
    is_spam = spam == "1"
    if is_spam:
        require(caller, Permission.WRITE_LEADS)
    await context_of(request).db.write(lambda tx: block_person(tx, actor, expected, is_spam=is_spam))
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/unblock")
async def post_unblock(
    request: Request, caller: FormCaller, conversation_id: str, fine: Annotated[str, Form()] = "0"
) -> Response:
    actor, is_fine = _actor(caller), fine == "1"
    await context_of(request).db.write(lambda tx: unblock_person(tx, actor, conversation_id, is_fine=is_fine))
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/labels")
async def post_label(
    request: Request, caller: FormCaller, conversation_id: str, name: Annotated[str, Form()] = ""
) -> Response:
    actor = _actor(caller)
    await context_of(request).db.write(lambda tx: label_conversation(tx, actor, conversation_id, name))
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/labels/{label_id}/remove")
async def post_unlabel(request: Request, caller: FormCaller, conversation_id: str, label_id: str) -> Response:
    actor = _actor(caller)
    await context_of(request).db.write(lambda tx: unlabel_conversation(tx, actor, conversation_id, label_id))
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/notes")
async def post_private_note(
    request: Request,
    caller: FormCaller,
    conversation_id: str,
    text: Annotated[str, Form()] = "",
    client_message_id: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    actor = _actor(caller)
    is_named = bool(client_message_id) and is_uuid(conversation_id)
    note_id = named_id(conversation_id, f"note:{client_message_id}") if is_named else new_id()
    await context_of(request).db.write(lambda tx: add_private_note(tx, actor, conversation_id, note_id, text))
    return await after_post(request, caller, conversation_id)


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
    instant = instant_of(text)
    if instant is None:
        raise Refused(errors.INVALID, "at: choose a day and a time.")
    return instant


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
