"""What the customer's page sends besides texts: photos, that all is read, that somebody types."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from contatto.inbox import rules
from contatto.inbox.actions.customers import note_visitor_read, typing_of
from contatto.inbox.actions.photos import take_photo
from contatto.inbox.actions.threads import conversation_id_of
from contatto.inbox.auth import admit_newcomer, admit_sender, chat_visitor
from contatto.inbox.limits import ChatLimits
from contatto.inbox.pages.photos import show_photo
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.http import json_answer
from contatto.kit.limits import client_network
from contatto.ui.context import context_of, part_of

router = APIRouter(include_in_schema=False, prefix="/chat")
_DONE: Final = 204


@router.post("/{account_id}/photos")
async def post_chat_photo(
    request: Request, client_message_id: Annotated[str, Query(max_length=64)]
) -> Response:
    """Take a customer's photo; the same ``client_message_id`` again changes nothing."""
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    if not request.headers.get("content-type", "").startswith("image/"):
        raise Refused(errors.NOT_A_PHOTO)
    rules.check_client_id(client_message_id)
    now = context.clock.now()
    limits = part_of(request, ChatLimits)
    limits.photos.check(f"{account.id}:{visitor}", now.timestamp())
    limits.photos_of_network.check(client_network(request), now.timestamp())
    admit_sender(request, account)
    picture = await context.uploads.take_from_stranger(request)

    def work(tx: Tx) -> str:
        admit_newcomer(tx, request, account, conversation_id_of(account, visitor))
        return take_photo(tx, account, visitor, client_message_id, picture)

    message_id = await context.db.write(work)
    return json_answer({"accepted": True, "message_id": message_id})


@router.get("/{account_id}/photos/{message_id}")
async def show_chat_photo(request: Request, message_id: str) -> Response:
    account, visitor = await chat_visitor(request)
    conversation_id = conversation_id_of(account, visitor)
    return await show_photo(request, account.business_id, conversation_id, message_id)


@router.post("/{account_id}/read")
async def post_chat_read(request: Request) -> Response:
    """Note that the visitor has all messages before their eyes."""
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    part_of(request, ChatLimits).signs.check(f"read:{account.id}:{visitor}", context.clock.now().timestamp())
    await context.db.write(lambda tx: note_visitor_read(tx, account, visitor))
    return Response(status_code=_DONE)


@router.post("/{account_id}/typing")
async def post_chat_typing(request: Request) -> Response:
    """Tell the members who have this thread open that the visitor types; nothing of it is kept."""
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    part_of(request, ChatLimits).signs.check(
        f"typing:{account.id}:{visitor}", context.clock.now().timestamp()
    )
    typing = await context.db.read(lambda tx: typing_of(tx, account, visitor))
    if typing is not None:
        context.live.broadcast_transient(account.business_id, typing)
    return Response(status_code=_DONE)
