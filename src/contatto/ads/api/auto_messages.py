"""Welcome messages of an ad account in the API v1.3."""

from typing import Annotated, Final, Literal

from pydantic import Field
from starlette.requests import Request

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.ads import store
from contatto.ads.actions.first_messages import NewWelcome, create_welcome_message
from contatto.ads.api.schemas import Ids
from contatto.ads.model import WelcomeMessage
from contatto.kit.api_types import (
    Answer,
    ApiId,
    ApiModel,
    IdText,
    JsonText,
    Listed,
    Nothing,
    PageQuery,
    TimeText,
    api_time,
    describe_query,
    page_info,
    read_query,
    request_id_of,
)
from contatto.kit.db.tx import Tx
from contatto.kit.http import Answered, api_answer
from contatto.kit.openapi import ApiRouter
from contatto.ui.context import context_of

welcome_router: Final = ApiRouter(prefix="/open_api/v1.3/creative/auto_message", tags=["Welcome messages"])
KIND: Final = "WELCOME_MESSAGE"


class SuggestedQuestion(ApiModel):
    question: str
    answer: str


class WelcomeBody(ApiModel):
    """Content of at most 200 characters with 1 to 3 questions of 70 and answers of 500 characters."""

    title: Annotated[str, Field(max_length=100)] = ""
    content: str
    suggested_questions: Annotated[list[SuggestedQuestion], Field(max_length=100)]


class CreateAutoMessage(ApiModel):
    advertiser_id: ApiId
    auto_message_type: Literal["WELCOME_MESSAGE"]
    welcome_message: WelcomeBody


class AutoMessageQuery(PageQuery):
    advertiser_id: ApiId
    auto_message_type: Literal["WELCOME_MESSAGE"] = "WELCOME_MESSAGE"
    auto_message_ids: JsonText[Ids | None] = None


class WelcomeQuestion(Answer, frozen=True):
    question: str
    answer: str


class WelcomeText(Answer, frozen=True):
    title: str
    content: str
    suggested_questions: list[WelcomeQuestion]


class WelcomeInfo(Answer, frozen=True):
    auto_message_id: IdText
    auto_message_type: Literal["WELCOME_MESSAGE"]
    audit_status: Literal["PASS"]
    welcome_message: WelcomeText
    create_time: TimeText


class WelcomeList(Listed[WelcomeInfo], frozen=True):
    """Welcome messages, newest first."""


@welcome_router.post("/create/")
async def create_auto_message(
    request: Request, caller: ApiCaller, body: CreateAutoMessage
) -> Answered[Nothing]:
    """Make a welcome message. The answer is empty: its id is read with ``/creative/auto_message/get/``."""
    require(caller, Permission.WRITE_ADS)
    welcome = body.welcome_message
    pairs = tuple(
        (suggested_question.question, suggested_question.answer)
        for suggested_question in welcome.suggested_questions
    )

    def work(tx: Tx) -> None:
        account = load_advertiser(tx, caller, body.advertiser_id)
        create_welcome_message(tx, account, NewWelcome(welcome.title, welcome.content, pairs))

    await context_of(request).db.write(work)
    return api_answer(Nothing(), request_id_of(request))


@welcome_router.get("/get/", openapi_extra=describe_query(AutoMessageQuery))
async def get_auto_messages(request: Request, caller: ApiCaller) -> Answered[WelcomeList]:
    """List welcome messages, newest first. Each passes its audit at once: nobody else reads them."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, AutoMessageQuery)

    def work(tx: Tx) -> WelcomeList:
        account = load_advertiser(tx, caller, query.advertiser_id)
        welcome_messages = store.list_welcome_messages(
            tx, caller.business_id, account.id, query.auto_message_ids
        )
        first = (query.page - 1) * query.page_size
        rows = [_show_welcome(message) for message in welcome_messages[first : first + query.page_size]]
        return WelcomeList(rows, page_info(query, len(welcome_messages)))

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def _show_welcome(message: WelcomeMessage) -> WelcomeInfo:
    pairs = zip(message.questions, message.answers, strict=True)
    questions = [WelcomeQuestion(question, answer) for question, answer in pairs]
    return WelcomeInfo(
        auto_message_id=str(message.number),
        auto_message_type=KIND,
        audit_status="PASS",
        welcome_message=WelcomeText(message.title, message.content, questions),
        create_time=api_time(message.created_at),
    )
