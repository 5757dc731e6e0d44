"""Automatic messages of a business account in the API v1.3."""

from collections.abc import Callable
from typing import Annotated, Final, Literal

from msgspec import UNSET, UnsetType
from pydantic import BeforeValidator, Field
from starlette.requests import Request

from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.channels.model import ChannelAccount
from contatto.inbox.actions.automatic import (
    add_auto_message,
    change_auto_message,
    drop_auto_message,
    load_automatic,
    numbered_messages,
    sort_auto_message,
    turn_auto_messages,
)
from contatto.inbox.actions.threads import business_open_id, load_business_account
from contatto.inbox.model import AutomaticKind, PreparedReply
from contatto.kit import errors
from contatto.kit.api_types import (
    Answer,
    ApiId,
    ApiModel,
    IdText,
    TextId,
    describe_query,
    read_query,
    request_id_of,
)
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.http import Answered, api_answer
from contatto.kit.openapi import ApiRouter
from contatto.ui.context import context_of

router: Final = ApiRouter(prefix="/open_api/v1.3/business/message/auto_message", tags=["Business messages"])


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


class WelcomeBody(ApiModel):
    content: str


class SuggestedQuestion(ApiModel):
    question: str
    answer: str


class Prompt(ApiModel):
    title: str
    content: str


class OfKind(ApiModel):
    """``business_id`` is a channel account: its id on the platform, or the one of Settings."""

    business_id: TextId
    auto_message_type: AutomaticKind


class MessageBody(OfKind):
    """The part that fits the type.

    A welcome has 250 characters at most, a question 80 and its answer 200, the title of a prompt 18 and its
    content 150.
    """

    welcome_message: WelcomeBody | None = None
    suggested_question: SuggestedQuestion | None = None
    chat_prompt: Prompt | None = None


class ChangeBody(MessageBody):
    auto_message_id: ApiId


class OneBody(OfKind):
    auto_message_id: ApiId


class SortBody(OfKind):
    """The message that comes first, or several in their order."""

    auto_message_id: Annotated[list[ApiId], BeforeValidator(_listed), Field(min_length=1, max_length=10)]


class StatusBody(OfKind):
    operation_status: Literal["ENABLE", "DISABLE"]


class AutoQuery(OfKind):
    auto_message_id: ApiId | None = None


class AutoMessageId(Answer, frozen=True):
    auto_message_id: IdText


class ChangedAutoMessage(Answer, frozen=True):
    """The message that was changed; nothing when all of a type were."""

    auto_message: AutoMessageId | UnsetType = UNSET


class WelcomeContent(Answer, frozen=True):
    content: str


class QuestionContent(Answer, frozen=True):
    question: str
    answer: str


class PromptContent(Answer, frozen=True):
    title: str
    content: str


class AutoMessageInfo(Answer, frozen=True):
    """A message, with the part of its type."""

    auto_message_id: IdText
    auto_message_type: AutomaticKind
    audit_status: Literal["APPROVED"] = "APPROVED"
    welcome_message: WelcomeContent | UnsetType = UNSET
    suggested_question: QuestionContent | UnsetType = UNSET
    chat_prompt: PromptContent | UnsetType = UNSET


class AutoMessages(Answer, frozen=True):
    business_id: str
    operation_status: Literal["ENABLE", "DISABLE"]
    auto_messages: list[AutoMessageInfo]


@router.post("/create/")
async def create_business_auto_message(
    request: Request, caller: ApiCaller, body: MessageBody
) -> Answered[ChangedAutoMessage]:
    """Add a welcome message, one of 3 suggested questions, or one of 6 chat prompts.

    They take effect on the chat pages of this installation; for accounts of platforms they are kept and
    shown, and what the platform sends by itself is set there. Keyword replies are set in Settings alone.
    """
    require(caller, Permission.WRITE_INBOX)
    new = _exchange(body)

    def work(tx: Tx, account: ChannelAccount) -> str:
        return str(add_auto_message(tx, account, body.auto_message_type, new))

    return await _changed(request, caller, body, work)


@router.post("/update/")
async def update_business_auto_message(
    request: Request, caller: ApiCaller, body: ChangeBody
) -> Answered[ChangedAutoMessage]:
    """Change a message; it keeps its id and its place."""
    require(caller, Permission.WRITE_INBOX)
    new = _exchange(body)

    def work(tx: Tx, account: ChannelAccount) -> str:
        change_auto_message(tx, account, body.auto_message_type, body.auto_message_id, new)
        return str(body.auto_message_id)

    return await _changed(request, caller, body, work)


@router.post("/delete/")
async def delete_business_auto_message(
    request: Request, caller: ApiCaller, body: OneBody
) -> Answered[ChangedAutoMessage]:
    """Take a message away."""

    def work(tx: Tx, account: ChannelAccount) -> str:
        drop_auto_message(tx, account, body.auto_message_type, body.auto_message_id)
        return str(body.auto_message_id)

    return await _changed(request, caller, body, work)


@router.post("/sort/")
async def sort_business_auto_messages(
    request: Request, caller: ApiCaller, body: SortBody
) -> Answered[ChangedAutoMessage]:
    """Put a question or a prompt first, or several in their order; the others follow as they were."""

    def work(tx: Tx, account: ChannelAccount) -> str:
        sort_auto_message(tx, account, body.auto_message_type, body.auto_message_id)
        return str(body.auto_message_id[0])

    return await _changed(request, caller, body, work)


@router.post("/status/update/")
async def update_auto_message_status(
    request: Request, caller: ApiCaller, body: StatusBody
) -> Answered[ChangedAutoMessage]:
    """Turn all messages of a type on or off."""

    def work(tx: Tx, account: ChannelAccount) -> str:
        is_on = body.operation_status == "ENABLE"
        turn_auto_messages(tx, account, body.auto_message_type, is_on=is_on)
        return ""

    return await _changed(request, caller, body, work)


@router.get("/get/", openapi_extra=describe_query(AutoQuery))
async def get_business_auto_messages(request: Request, caller: ApiCaller) -> Answered[AutoMessages]:
    """The messages of a type, in their order; each is approved at once, as nobody else reads them."""
    require(caller, Permission.READ_INBOX)
    query = read_query(request, AutoQuery)

    def work(tx: Tx) -> AutoMessages:
        account = load_business_account(tx, caller.business_id, query.business_id)
        content, _ = load_automatic(tx, account)
        messages_by_number = numbered_messages(account, content, query.auto_message_type)
        message_number = query.auto_message_id
        shown = [
            _show(query.auto_message_type, number, message)
            for number, message in messages_by_number.items()
            if message_number in (None, number)
        ]
        status: Literal["ENABLE", "DISABLE"]
        status = "DISABLE" if query.auto_message_type in content.off else "ENABLE"
        return AutoMessages(business_open_id(account), status, shown)

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


async def _changed(
    request: Request, caller: Caller, body: OfKind, work: Callable[[Tx, ChannelAccount], str]
) -> Answered[ChangedAutoMessage]:
    require(caller, Permission.WRITE_INBOX)

    def change(tx: Tx) -> str:
        return work(tx, load_business_account(tx, caller.business_id, body.business_id))

    number = await context_of(request).db.write(change)
    data = ChangedAutoMessage(AutoMessageId(number) if number else UNSET)
    return api_answer(data, request_id_of(request))


def _exchange(body: MessageBody) -> PreparedReply:
    """The part of a body that its type needs.

    Raises:
        Refused: INVALID, naming the part that lacks.
    """
    if body.auto_message_type is AutomaticKind.WELCOME and body.welcome_message:
        if not body.welcome_message.content.strip():
            raise Refused(errors.INVALID, "welcome_message.content: write something.")
        return PreparedReply("", body.welcome_message.content.strip())
    if body.auto_message_type is AutomaticKind.QUESTION and body.suggested_question:
        return PreparedReply(body.suggested_question.question.strip(), body.suggested_question.answer.strip())
    if body.auto_message_type is AutomaticKind.PROMPT and body.chat_prompt:
        return PreparedReply(body.chat_prompt.title.strip(), body.chat_prompt.content.strip())
    name = body.auto_message_type.value.lower()
    raise Refused(
        errors.INVALID, f"{name}: it is needed with auto_message_type {body.auto_message_type.value}."
    )


def _show(kind: AutomaticKind, number: int, reply: PreparedReply) -> AutoMessageInfo:
    return AutoMessageInfo(
        str(number),
        kind,
        welcome_message=WelcomeContent(reply.say) if kind is AutomaticKind.WELCOME else UNSET,
        suggested_question=(
            QuestionContent(reply.ask, reply.say) if kind is AutomaticKind.QUESTION else UNSET
        ),
        chat_prompt=PromptContent(reply.ask, reply.say) if kind is AutomaticKind.PROMPT else UNSET,
    )
