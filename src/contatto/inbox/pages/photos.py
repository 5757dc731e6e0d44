"""Photos of the inbox: a member sends one, and looks at those of a thread."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.channels.model import MessageKind, Sender
from contatto.inbox.actions.photos import keep_photo
from contatto.inbox.actions.replies import send_reply
from contatto.inbox.actions.threads import owned_conversation
from contatto.inbox.model import Message
from contatto.inbox.pages.answers import after_post, is_uuid
from contatto.inbox.store.messages import find_message
from contatto.inbox.store.photos import find_photo_body
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id
from contatto.kit.uploads import picture_answer
from contatto.ui.context import context_of

router = APIRouter(include_in_schema=False)
_CACHE: Final = "no-store"


async def show_photo(request: Request, business_id: str, conversation_id: str, message_id: str) -> Response:
    """The picture of a message of this conversation.

    Raises:
        Refused: NOT_FOUND.
    """

    def load(tx: Tx) -> tuple[str, bytes] | None:
        message = find_message(tx, business_id, message_id)
        if message is None or message.conversation_id != conversation_id or not message.photo:
            return None
        return find_photo_body(tx, business_id, message.photo)

    found = await context_of(request).db.read(load)
    if found is None:
        raise Refused(errors.NOT_FOUND, "Photo not found.")
    return picture_answer(*found, cache=_CACHE)


@router.get("/inbox/{conversation_id}/photos/{message_id}")
async def show_thread_photo(
    request: Request, caller: PageCaller, conversation_id: str, message_id: str
) -> Response:
    require(caller, Permission.READ_INBOX)
    return await show_photo(request, caller.business_id, conversation_id, message_id)


@router.post("/inbox/{conversation_id}/photos")
async def post_photo(
    request: Request,
    caller: FormCaller,
    conversation_id: str,
    client_message_id: Annotated[str, Query(min_length=8, max_length=64)],
) -> Response:
    require(caller, Permission.WRITE_INBOX)
    if not is_uuid(conversation_id):
        raise Refused(errors.NOT_FOUND)
    context = context_of(request)
    await context.db.read(lambda tx: owned_conversation(tx, caller.business_id, conversation_id))
    picture = await context.uploads.take_from_member(request, caller.subject_id)

    def send(tx: Tx) -> Message:
        message = Message(
            seq=0,
            id=named_id(conversation_id, client_message_id),
            conversation_id=conversation_id,
            sender=Sender.BUSINESS,
            kind=MessageKind.PHOTO,
            text="",
            author=caller.display_name,
            at=tx.now,
            photo=keep_photo(tx, caller.business_id, picture).digest,
        )
        return send_reply(tx, caller.business_id, conversation_id, message)

    await context.db.write(send)
    return await after_post(request, caller, conversation_id)
