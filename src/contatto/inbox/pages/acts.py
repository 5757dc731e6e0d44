"""What members do in the inbox: each answers with the thread as it is then."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from contatto.accounts.auth import FormCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.channels.model import MessageKind, Sender
from contatto.inbox.actions import desk, replies
from contatto.inbox.actions.desk import Seen
from contatto.inbox.actions.threads import owned_conversation
from contatto.inbox.model import MemberTyping, Message
from contatto.inbox.pages.answers import after_post, is_uuid
from contatto.kit.db.tx import Tx
from contatto.kit.ids import named_id, new_id
from contatto.kit.numbers import Revision
from contatto.leads.model.annotations import Actor
from contatto.leads.model.leads import Lead
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)


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
        return replies.send_reply(tx, caller.business_id, conversation_id, message)

    await context_of(request).db.write(reply)
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/messages/{message_id}/retry")
async def post_retry(request: Request, caller: FormCaller, conversation_id: str, message_id: str) -> Response:
    require(caller, Permission.WRITE_INBOX)

    def retry(tx: Tx) -> None:
        replies.retry_reply(tx, caller.business_id, conversation_id, message_id)

    await context_of(request).db.write(retry)
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/lead")
async def post_mark_as_lead(request: Request, caller: FormCaller, conversation_id: str) -> Response:
    require(caller, Permission.WRITE_LEADS)

    def mark(tx: Tx) -> Lead:
        return desk.mark_conversation_as_lead(tx, caller.business_id, conversation_id, caller.display_name)

    await context_of(request).db.write(mark)
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/read")
async def post_read(request: Request, caller: FormCaller, conversation_id: str) -> Response:
    require(caller, Permission.WRITE_INBOX)
    await context_of(request).db.write(
        lambda tx: desk.note_conversation_read(tx, caller.business_id, conversation_id, caller.subject_id)
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
    actor, seen = _actor(caller), Seen(conversation_id, revision)
    await context_of(request).db.write(
        lambda tx: desk.assign_conversation(tx, actor, seen, member_id or None)
    )
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/snooze")
async def post_snooze(
    request: Request,
    caller: FormCaller,
    conversation_id: str,
    revision: SeenRevision,
    span: Annotated[str, Form()] = "",
) -> Response:
    actor, seen = _actor(caller), Seen(conversation_id, revision)
    await context_of(request).db.write(lambda tx: desk.snooze_conversation(tx, actor, seen, span))
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/resolve")
async def post_resolve(
    request: Request, caller: FormCaller, conversation_id: str, revision: SeenRevision
) -> Response:
    actor, seen = _actor(caller), Seen(conversation_id, revision)
    await context_of(request).db.write(lambda tx: desk.resolve_conversation(tx, actor, seen))
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/reopen")
async def post_reopen(
    request: Request, caller: FormCaller, conversation_id: str, revision: SeenRevision
) -> Response:
    actor, seen = _actor(caller), Seen(conversation_id, revision)
    await context_of(request).db.write(lambda tx: desk.reopen_conversation(tx, actor, seen))
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/block")
async def post_block(
    request: Request,
    caller: FormCaller,
    conversation_id: str,
    revision: SeenRevision,
    spam: Annotated[str, Form()] = "0",
) -> Response:
    actor, seen = _actor(caller), Seen(conversation_id, revision)
    is_spam = spam == "1"
    if is_spam:
        require(caller, Permission.WRITE_LEADS)
    await context_of(request).db.write(lambda tx: desk.block_person(tx, actor, seen, is_spam=is_spam))
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/unblock")
async def post_unblock(
    request: Request, caller: FormCaller, conversation_id: str, fine: Annotated[str, Form()] = "0"
) -> Response:
    actor, is_fine = _actor(caller), fine == "1"
    await context_of(request).db.write(
        lambda tx: desk.unblock_person(tx, actor, conversation_id, is_fine=is_fine)
    )
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/labels")
async def post_label(
    request: Request, caller: FormCaller, conversation_id: str, name: Annotated[str, Form()] = ""
) -> Response:
    actor = _actor(caller)
    await context_of(request).db.write(lambda tx: desk.label_conversation(tx, actor, conversation_id, name))
    return await after_post(request, caller, conversation_id)


@router.post("/inbox/{conversation_id}/labels/{label_id}/remove")
async def post_unlabel(request: Request, caller: FormCaller, conversation_id: str, label_id: str) -> Response:
    actor = _actor(caller)
    await context_of(request).db.write(
        lambda tx: desk.unlabel_conversation(tx, actor, conversation_id, label_id)
    )
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
    await context_of(request).db.write(
        lambda tx: desk.add_private_note(tx, actor, conversation_id, note_id, text)
    )
    return await after_post(request, caller, conversation_id)
