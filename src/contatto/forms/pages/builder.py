"""The builder: one draft, saved as it is typed, with its preview, its test and its versions."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import msgspec
from fastapi import APIRouter
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.accounts.store import list_ad_accounts
from contatto.forms.actions import records as actions
from contatto.forms.model import Form, Known, Submission
from contatto.forms.pages.views import kind_groups, show_draft, show_version
from contatto.forms.rules.answers import check_submission
from contatto.forms.rules.drafts import change_content, edit_content, place_hours
from contatto.forms.rules.kinds import CHOOSERS
from contatto.forms.rules.logic import count_score
from contatto.forms.rules.outside import sample_details
from contatto.forms.rules.readers import clean
from contatto.forms.rules.sheet import REGIONS, picture_path, show_sheet
from contatto.forms.store import records as store
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.http import json_answer, read_body
from contatto.kit.i18n import translator_of
from contatto.kit.ids import new_id
from contatto.kit.languages import translator_for
from contatto.kit.numbers import read_number
from contatto.kit.reading import UNREADABLE
from contatto.ui.context import context_of

router: Final = APIRouter()
_MOST_FIELDS: Final = 2_000
PUBLISH: Final = "publish"


@router.get("/forms/{form_id}")
async def show_builder(request: Request, caller: PageCaller, form_id: str, lang: str = "") -> HTMLResponse:
    """The builder; ``lang`` chooses the language whose texts are edited."""
    require(caller, Permission.READ_ADS)
    return await _render(request, caller, form_id, lang)


async def _render(
    request: Request, caller: Caller, form_id: str, lang: str, editor: str = ""
) -> HTMLResponse:
    context, words = context_of(request), translator_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        form = actions.load_form(tx, caller.business_id, form_id)
        language = lang if lang in form.draft.languages else form.draft.languages[0]
        return {
            "draft": show_draft(form, language, words),
            "form": _sheet(form, language, context.clock.now()),
            "versions": [show_version(each) for each in store.list_versions(tx, caller.business_id, form.id)],
        }

    values = await context.db.read(load)
    values |= {
        "caller": caller,
        "can_edit": may(caller, Permission.WRITE_ADS),
        "kind_groups": kind_groups(words),
        "editor": editor or new_id(),
        "regions": [pair.split("+") for pair in REGIONS.split(" ")],
        "account": {"id": "", "display_name": caller.business_name},
        "preview": True,
    }
    return context.pages.render(request, "forms/builder.html", values)


def _sheet(form: Form, language: str, now: datetime) -> dict[str, Any]:
    """The draft as people will see it; what the chat would fill in is filled in with examples."""
    known = Known(details=sample_details(form.draft, form.number))
    sheet = show_sheet(form.draft, language, form.number, "", now, known)
    return sheet | {"image": picture_path(form.business_id, form.draft.image)}


@router.post("/forms/{form_id}/draft")
async def post_draft(request: Request, caller: FormCaller, form_id: str) -> Response:
    """Save what is typed, then do what the pressed button asks for (``do``)."""
    require(caller, Permission.WRITE_ADS)
    sent = await request.form(max_files=0, max_fields=_MOST_FIELDS)
    language, editor, asked = (clean(_one(sent, name))[:64] for name in ("lang", "editor", "do"))
    seen, lang = _revision(sent), translator_of(request).lang

    def save(tx: Tx) -> Form:
        form = actions.load_form(tx, caller.business_id, form_id)
        content = change_content(edit_content(form.draft, _values(sent), language, lang), asked)
        ours = list_ad_accounts(tx, caller.business_id)
        content = place_hours(content, ours[0].timezone if ours else "")
        named = replace(form, name=actions.check_form_name(_one(sent, "name")))
        saved = actions.save_draft(tx, named, content, seen, editor)
        if asked == PUBLISH:
            actions.publish_form(tx, caller.business_id, form_id, saved.revision, caller.display_name)
        return saved

    try:
        await context_of(request).db.write(save)
    except Refused as refused:
        if asked != PUBLISH or refused.code is not errors.INVALID:
            raise
        # the draft is kept all the same; the page lists what is missing
        asked = ""
        await context_of(request).db.write(save)
    if request.headers.get("hx-request"):
        shown = asked.partition(":")[2] if asked.startswith("add_language:") else language
        return await _render(request, caller, form_id, shown, editor)
    return RedirectResponse(f"/forms/{form_id}?lang={language}", 303)


def _one(sent: FormData, name: str) -> str:
    value = sent.get(name, "")
    return value if isinstance(value, str) else ""


def _revision(sent: FormData) -> int:
    return read_number(_one(sent, "revision")) or 0


def _values(sent: FormData) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in sent.multi_items():
        if isinstance(value, str):
            found.setdefault(name, []).append(value)
    return found


@router.get("/forms/{form_id}/test")
@router.get("/forms/{form_id}/test/{page_id}")
async def show_test(request: Request, caller: PageCaller, form_id: str, lang: str = "") -> HTMLResponse:
    """The draft as a customer meets it; what is sent here is checked and thrown away."""
    require(caller, Permission.READ_ADS)
    context = context_of(request)
    form = await context.db.read(lambda tx: actions.load_form(tx, caller.business_id, form_id))
    language = lang if lang in form.draft.languages else form.draft.languages[0]
    values = {
        "caller": caller,
        "draft": {"id": form.id, "name": form.name},
        "form": _sheet(form, language, context.clock.now()),
        "account": {"id": "", "display_name": caller.business_name},
        "preview": False,
    }
    return context.pages.render(request, "forms/test.html", values)


class _Sent(msgspec.Struct):
    submission_id: str
    language: str
    answers: dict[str, str | list[str]]
    consents: list[str] = []


_sent: Final = msgspec.json.Decoder(_Sent)


@router.post("/forms/{form_id}/test")
async def post_test(request: Request, caller: FormCaller, form_id: str) -> Response:
    """Check what was typed against the draft, and say what would be taken."""
    require(caller, Permission.READ_ADS)
    try:
        sent = _sent.decode(await read_body(request))
    except UNREADABLE as error:
        raise Refused(errors.UNREADABLE, "Send the form from its own page.") from error
    form = await context_of(request).db.read(lambda tx: actions.load_form(tx, caller.business_id, form_id))
    language = sent.language if sent.language in form.draft.languages else form.draft.languages[0]
    submission = Submission(sent.submission_id, language, sent.answers, tuple(sent.consents))
    checked = check_submission(form.draft, submission, {}, context_of(request).clock.now())
    if checked.problems and not checked.refused:
        words = translator_for(language)
        problems = {problem.at: problem.in_language(words) for problem in checked.problems}
        message = words.gettext("Some answers need a correction.")
        return json_answer({"code": "unanswered", "message": message, "problems": problems}, 422)
    verdict = "no_fit" if checked.refused else "taken"
    body = {
        "accepted": True,
        "verdict": verdict,
        "score": count_score(form.draft, sent.answers),
        "taken": {
            each.label: each.shown if each.kind in CHOOSERS else each.value for each in checked.answers
        },
    }
    return json_answer(body)
