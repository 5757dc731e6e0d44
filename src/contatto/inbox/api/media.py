"""Fetching the pictures of a conversation through the API v1.3: a link that is good for ten minutes."""

from datetime import timedelta
from typing import Annotated, Final, Literal
from urllib.parse import quote

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import BusinessId, Permission
from contatto.accounts.rules import require
from contatto.accounts.store import is_token_live
from contatto.inbox import rules
from contatto.inbox.actions.business import load_business_account, load_business_conversation
from contatto.inbox.store.messages import find_message
from contatto.inbox.store.photos import find_photo_body, list_photos
from contatto.kit import errors
from contatto.kit.answer_schemas import ApiRouter
from contatto.kit.answers import Answer
from contatto.kit.api_types import ApiModel, TextId, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.http import Answered, HotRoute, api_answer
from contatto.ui.context import context_of

router: Final = ApiRouter(prefix="/open_api/v1.3/business/message", tags=["Business messages"])
MEDIA_KEY: Final = "media links"
LINK: Final = timedelta(minutes=10)
_SAFE: Final = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
}


class MediaBody(ApiModel):
    """``media_id`` is what a message of the conversation names as its picture."""

    business_id: TextId
    conversation_id: TextId
    message_id: TextId
    media_id: Annotated[str, Field(min_length=1, max_length=64)]
    media_type: Literal["IMAGE", "VIDEO"] = "IMAGE"


class MediaLink(Answer, frozen=True):
    download_url: str


@router.post("/media/download/")
async def download_business_media(
    request: Request, caller: ApiCaller, body: MediaBody
) -> Answered[MediaLink]:
    """A link to the picture of a message. Whoever has it needs no token.

    It is good for ten minutes, and no longer than the access token that asked for it.
    """
    require(caller, Permission.READ_INBOX)
    context = context_of(request)

    def work(tx: Tx) -> None:
        account = load_business_account(tx, caller.business_id, body.business_id)
        conversation = load_business_conversation(tx, account, body.conversation_id)
        message = find_message(tx, caller.business_id, body.message_id)
        if message is None or message.conversation_id != conversation.id:
            raise Refused(errors.NOT_FOUND, "message_id: there is no such message in this conversation.")
        known = list_photos(tx, caller.business_id, {body.media_id})
        if message.photo != body.media_id or not known:
            raise Refused(errors.NOT_FOUND, "media_id: this message has no such picture.")

    await context.db.read(work)
    until = int((context.clock.now() + LINK).timestamp())
    signer = context.vault.signer(MEDIA_KEY)
    token = rules.media_token(caller.business_id, caller.subject_id, body.media_id, until, signer)
    url = f"{context.settings.base_url}/media?token={quote(token)}"
    return api_answer(MediaLink(url), request_id_of(request))


async def send_media(request: Request) -> Response:
    """The picture of a link that we signed.

    Raises:
        Refused: UNSIGNED, LINK_EXPIRED, NOT_FOUND.
    """
    context = context_of(request)
    signer = context.vault.signer(MEDIA_KEY)
    now_s = int(context.clock.now().timestamp())
    token = request.query_params.get("token", "")
    business_id, holder, digest = rules.read_media_token(token, now_s, signer)

    def load(tx: Tx) -> tuple[str, bytes] | None:
        if not is_token_live(tx, BusinessId(business_id), holder):
            raise Refused(errors.LINK_EXPIRED, "The access token that asked for it was revoked.")
        return find_photo_body(tx, business_id, digest)

    found = await context.db.read(load)
    if found is None:
        raise Refused(errors.NOT_FOUND, "There is no such picture any more.")
    media_type, picture = found
    return Response(picture, media_type=media_type, headers=_SAFE)


routes = [HotRoute("/media", send_media, methods=["GET"])]
