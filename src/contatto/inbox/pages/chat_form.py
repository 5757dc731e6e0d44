"""The instant form beside the customer's chat: its sheet in a language, and what the customer sends."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from contatto.forms.actions import Unanswered
from contatto.forms.model import FormVerdict, Submission
from contatto.forms.rules.answers import TAKEN, check_opening
from contatto.inbox.actions.forms import GatheredSheets, Opening
from contatto.inbox.actions.taking import ChatVisitor, GatheredForms, HandedIn
from contatto.inbox.actions.threads import conversation_id_of
from contatto.inbox.auth import admit_sender, chat_visitor
from contatto.inbox.limits import ChatLimits
from contatto.inbox.pages.sheets import OPENING_KEY, SheetReader, draw_sheet
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.http import DirectRoute, json_answer, read_body
from contatto.kit.i18n import translator_of
from contatto.kit.languages import LANGUAGES, translator_for
from contatto.kit.limits import client_network
from contatto.kit.numbers import read_number
from contatto.kit.reading import UNREADABLE
from contatto.ui.context import Context, context_of, part_of
from contatto.ui.render import UNKEPT

_BODY_LIMIT: Final = 32 * 1024
_MOST_ANSWERS: Final = 100


class SentForm(msgspec.Struct):
    """What the sheet of a form sends."""

    page_id: str
    opening: str
    submission_id: str
    language: str
    answers: dict[str, str | list[str]]
    consents: list[str] = []
    website: str = ""


_sent: Final = msgspec.json.Decoder(SentForm)


async def show_form(request: Request) -> HTMLResponse:
    """The sheet alone, in another language."""
    account, visitor = await chat_visitor(request)
    number = _number_of(request.path_params["page_id"])
    opened = await part_of(request, GatheredSheets).sheets.put(Opening(account, visitor, number))
    if opened is None:
        raise Refused(errors.NOT_FOUND, "Form not found.")
    version, known = opened
    reader = SheetReader(account, visitor, known)
    return HTMLResponse(
        draw_sheet(request, version, reader, request.query_params.get("lang", "")).html, headers=UNKEPT
    )


async def post_form(request: Request) -> Response:
    """Take what a customer sends; the same ``submission_id`` again gives the same answer."""
    context = context_of(request)
    account, visitor = await chat_visitor(request)
    sent = await read_sent(request)
    now_s = context.clock.now().timestamp()
    part_of(request, ChatLimits).forms.check(f"{account.id}:{visitor}", now_s)
    admit_sender(request, account)

    number = _number_of(sent.page_id)
    handed = HandedIn(
        account.business_id,
        number,
        conversation_id_of(account, visitor),
        submission_of(sent),
        ChatVisitor(account, visitor, client_network(request)),
        find_misopening(context, sent, number, visitor),
    )
    return await answer_form(request, sent, handed)


def find_misopening(context: Context, sent: SentForm, number: int, opened_by: str) -> Refused | None:
    """What is wrong with how a form was opened, if anything is."""
    signer, now_s = context.vault.signer(OPENING_KEY), context.clock.now().timestamp()
    try:
        check_opening(sent.opening, number, opened_by, now_s, signer)
    except Refused as refused:
        return refused
    return None


async def answer_form(request: Request, sent: SentForm, handed: HandedIn) -> Response:
    """What the sheet is told: that it was taken, or what is wrong with which answer."""
    try:
        answer = await part_of(request, GatheredForms).forms.put(handed)
    except Unanswered as unanswered:
        words = translator_for(sent.language) if sent.language in LANGUAGES else translator_of(request)
        problems = {problem.at: problem.in_language(words) for problem in unanswered.problems}
        message = words.gettext("Some answers need a correction.")
        is_stale = any(problem.says == TAKEN for problem in unanswered.problems)
        body = {"code": "unanswered", "message": message, "problems": problems, "stale": is_stale}
        return json_answer(body, 422)
    # A program that filled in the trap is told the same as a person.
    verdict = "no_fit" if answer.verdict is FormVerdict.NO_FIT else "taken"
    return json_answer({"accepted": True, "verdict": verdict})


def submission_of(sent: SentForm) -> Submission:
    return Submission(
        sent.submission_id, sent.language, sent.answers, tuple(sent.consents[:20]), sent.website
    )


async def read_sent(request: Request) -> SentForm:
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Refused(errors.UNREADABLE, "Send JSON.")
    raw = await read_body(request, _BODY_LIMIT)
    try:
        sent = _sent.decode(raw)
    except UNREADABLE as error:
        raise Refused(errors.UNREADABLE, "Send the form from its own page.") from error
    if not (8 <= len(sent.submission_id) <= 64 and sent.submission_id.isprintable()):
        raise Refused(errors.INVALID, "submission_id: use 8 to 64 printable characters.")
    if len(sent.answers) > _MOST_ANSWERS:
        raise Refused(errors.INVALID, "answers: use at most %(most)s.", most=_MOST_ANSWERS)
    return sent


def _number_of(page_id: str) -> int:
    number = read_number(page_id)
    if number is None:
        raise Refused(errors.NOT_FOUND, "Form not found.")
    return number


routes = [
    DirectRoute("/chat/{account_id}/form/{page_id}", show_form, methods=["GET"]),
    DirectRoute("/chat/{account_id}/form", post_form, methods=["POST"]),
]
