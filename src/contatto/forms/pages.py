"""Pages of forms: overview, builder, answers, and pictures."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from babel import Locale
from fastapi import Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from contatto.accounts.auth import FormCaller, PageCaller, contact_reads_of, may, page_routes
from contatto.accounts.model import Access, Caller, Credential, Permission, ReadAudit
from contatto.accounts.store import list_ad_accounts
from contatto.channels.model import Platform
from contatto.channels.store import list_accounts
from contatto.forms import actions, store
from contatto.forms.model import (
    CONTACTS,
    END,
    REFUSE,
    ConsentReceipt,
    Content,
    FormAnswer,
    FormQuestion,
    FormVerdict,
    FormVersion,
    HiddenValue,
    Prefill,
    QuestionKind,
    Submission,
)
from contatto.forms.model import Form as InstantForm
from contatto.forms.rules.answers import (
    AUTOCOMPLETE,
    CHOOSERS,
    DAYS_AHEAD,
    PHONES,
    SLOT_LENGTHS,
    TEXTS,
    USUAL,
    check_submission,
    clean,
    count_score,
    label_of,
    list_zones,
    option_text,
    text_of,
)
from contatto.forms.rules.drafts import PICTURE_ID, change_content, edit_content, list_problems, set_time_zone
from contatto.forms.rules.views import REGIONS, picture_path, sample_text, show_sheet, without_wrong
from contatto.forms.store import form_pictures, list_default_forms
from contatto.kit import errors
from contatto.kit.api_types import json_answer, read_body
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.form_fields import split_fault
from contatto.kit.i18n import N_
from contatto.kit.ids import new_id
from contatto.kit.languages import LANGUAGES, Translator, translator_for
from contatto.kit.uploads import picture_answer
from contatto.kit.values import JSON_ERRORS, from_micros, micros, read_number
from contatto.leads.model import Lead
from contatto.leads.store.listing import list_leads_by_id, list_wrong_values
from contatto.leads.store.records import find_lead
from contatto.measurement.model import MeasuredAd
from contatto.measurement.store import list_measured_ads
from contatto.ui.render import iso, translator_of
from contatto.ui.requests import context_of, csv_file, stream_csv

KIND_NAMES: Final = {
    QuestionKind.NAME: N_("Name"),
    QuestionKind.TEXT: N_("Short text"),
    QuestionKind.LONG_TEXT: N_("Long text"),
    QuestionKind.NUMBER: N_("Number"),
    QuestionKind.APPOINTMENT: N_("Appointment"),
    QuestionKind.CHOICE: N_("One choice"),
    QuestionKind.CHOICES: N_("Several choices"),
    QuestionKind.HIDDEN: N_("Hidden"),
}
GROUPS = (
    (N_("Contact details"), (QuestionKind.NAME, QuestionKind.EMAIL, QuestionKind.PHONE,
    QuestionKind.WHATSAPP)),
    (
        N_("Messaging names"),
        (
            QuestionKind.INSTAGRAM, QuestionKind.FACEBOOK, QuestionKind.LINE, QuestionKind.MESSENGER,
            QuestionKind.TWITTER, QuestionKind.LINKEDIN, QuestionKind.WEIBO,
            QuestionKind.WECHAT, QuestionKind.SNAPCHAT,
        ),
    ),
    (N_("Place and time"), (QuestionKind.CITY, QuestionKind.POSTCODE, QuestionKind.COUNTRY,
    QuestionKind.DATE, QuestionKind.APPOINTMENT)),
    (N_("Questions"), (QuestionKind.CHOICE, QuestionKind.CHOICES, QuestionKind.TEXT,
    QuestionKind.LONG_TEXT, QuestionKind.NUMBER)),
    (N_("Not shown"), (QuestionKind.HIDDEN,)),
)  # fmt: skip
"""The kinds of questions in the groups of the builder's list."""
SOURCE_NAMES = {
    HiddenValue.CAMPAIGN: N_("Campaign"),
    HiddenValue.AD_GROUP: N_("Ad group"),
    HiddenValue.AD: N_("Ad"),
    HiddenValue.CLICK: N_("Click ID"),
}


def kind_name(kind: QuestionKind) -> str:
    return KIND_NAMES.get(kind, USUAL[kind].label)


def _question(content: Content, question: FormQuestion, place: int, words: Translator) -> dict[str, Any]:
    """Return the builder's values of a question; ``place`` is its index."""
    first = content.languages[0]
    labels = {
        any_question.key: label_of(content, any_question, first)
        or words.gettext(kind_name(any_question.kind))
        for any_question in content.questions
    }
    short = {key: label if len(label) <= 40 else f"{label[:39]}…" for key, label in labels.items()}
    # a question may depend on each option of an earlier question
    shows = [
        (
            f"{earlier.key}={option.key}",
            words.gettext(
                "%(question)s is “%(answer)s”",
                question=short[earlier.key],
                answer=option_text(content, earlier, option, first) or option.key,
            ),
        )
        for earlier in content.questions[:place]
        if earlier.kind in CHOOSERS
        for option in earlier.options
    ]
    later = [
        (later_question.key, words.gettext("Jump to “%(question)s”", question=short[later_question.key]))
        for later_question in content.questions[place + 1 :]
    ]
    skip, refuse = words.gettext("Skip to the end"), words.gettext("End: the offer does not fit")
    jumps = [("", words.gettext("Continue")), *later, (END, skip), (REFUSE, refuse)]
    name, hours = words.gettext(kind_name(question.kind)), question.hours
    length = "length" if question.kind in TEXTS else ""
    day_names = Locale.parse(words.lang, sep="-").days["stand-alone"]["wide"]
    return asdict(question) | {
        "kind_name": name,
        "title": labels[question.key],
        "autocomplete_words": AUTOCOMPLETE,
        "bounds": "number" if question.kind is QuestionKind.NUMBER else length,
        "is_contact": question.kind in CONTACTS,
        "is_phone": question.kind in PHONES,
        "is_chooser": question.kind in CHOOSERS,
        "has_jumps": question.kind is QuestionKind.CHOICE,
        "is_hidden": question.kind is QuestionKind.HIDDEN,
        "show": f"{question.show_if}={question.show_value}" if question.show_if else "",
        "shows": shows,
        "jumps": jumps,
        "hours": hours
        and asdict(hours)
        | {
            "zones": list_zones(),
            "days": [(day, str(day_names[day - 1]), day in hours.days) for day in range(1, 8)],
            "slots": SLOT_LENGTHS,
            "aheads": DAYS_AHEAD,
        },
        "source": question.source or "",
        "sources": [(source.value, words.gettext(name)) for source, name in SOURCE_NAMES.items()],
    }


router: Final = page_routes()
_LAST_REVISION: Final = 2**31 - 1
"""Largest value of the column."""
type Text = Annotated[str, Form()]


@router.get("/forms", Permission.READ_ADS)
async def show_forms(request: Request, caller: PageCaller) -> HTMLResponse:
    context, business_id = context_of(request), caller.business_id
    forms, versions, counts, defaults, accounts = await context.db.read(
        lambda tx: (
            store.list_forms(tx, business_id),
            store.list_versions(tx, business_id),
            store.count_answers(tx, business_id),
            list_default_forms(tx, business_id),
            list_accounts(tx, business_id),
        )
    )
    latest = {version.form_id: version for version in reversed(versions)}
    rows: list[dict[str, Any]] = []
    for form in forms:
        verdicts, last = counts.get(form.id, {}), latest.get(form.id)
        rows.append(
            row_of(form)
            | {
                "is_changed": last is not None and last.content != form.draft,
                "answers": verdicts.get(FormVerdict.TAKEN, 0),
                "no_fit": verdicts.get(FormVerdict.NO_FIT, 0),
            }
        )
    values = {
        "caller": caller,
        "can_edit": may(caller, Permission.WRITE_ADS),
        "forms": rows,
        "published": [(form.id, form.name) for form in forms if form.version],
        "accounts": [
            {"id": account.id, "name": account.name, "form_id": defaults.get(account.id, "")}
            for account in accounts
            if account.platform is Platform.WEBCHAT
        ],
    }
    return context.pages.render(request, "forms/list.html", values)


@router.get("/forms/new", Permission.WRITE_ADS)
async def show_new_form(request: Request, caller: PageCaller) -> HTMLResponse:
    typed = {"name": "", "language": "en"}
    values = {"caller": caller, "form": typed, "errors": {}, "form_languages": list(LANGUAGES.items())}
    return context_of(request).pages.render(request, "forms/new.html", values)


@router.post("/forms", Permission.WRITE_ADS)
async def post_form(request: Request, caller: FormCaller, name: Text = "", language: Text = "en") -> Response:
    """Make a form and go on to the builder."""
    db, business_id = context_of(request).db, caller.business_id
    accounts = await db.read(lambda tx: list_accounts(tx, business_id))
    country = accounts[0].registration_country if accounts else ""
    try:
        form = await db.write(lambda tx: actions.create_form(tx, business_id, name, language, country))
    except Refused as refused:
        field, says = split_fault(refused.expect(errors.INVALID), translator_of(request))
        wrong = {field: says}
        typed = {"name": name, "language": language}
        values = {"caller": caller, "form": typed, "errors": wrong, "form_languages": list(LANGUAGES.items())}
        return context_of(request).pages.render(request, "forms/new.html", values, 422)
    return RedirectResponse(f"/forms/{form.id}", 303)


@router.post("/forms/defaults/{account_id}", Permission.WRITE_ADS)
async def post_default(
    request: Request, caller: FormCaller, account_id: str, form_id: Text = ""
) -> RedirectResponse:
    """Choose the form that chats of an account get unless an ad has its own."""
    await context_of(request).db.write(
        lambda tx: actions.set_default_form(tx, caller.business_id, account_id, form_id or None)
    )
    return RedirectResponse("/forms", 303)


_PAGE: Final = 50
_CSV_PAGE: Final = 500
CSV_HEAD: Final = (
    "answer_id", "sent_time", "page_id", "version", "language", "lead_id", "ad_id", "ad_name", "score",
)  # fmt: skip
"""Columns of the download before those of the questions and consents."""


@router.page("/forms/{form_id}/answers", Permission.READ_LEADS, "forms/answers.html", ReadAudit.FOLDED)
def show_answers(tx: Tx, request: Request, caller: Caller, form_id: str, before: str = "") -> dict[str, Any]:
    """Show the answers of a form, latest first."""
    at, _, answer_id = before.partition("_")
    is_number = at.isascii() and at.isdigit() and len(at) <= 16
    cursor = (from_micros(int(at)), answer_id[:36]) if is_number else None
    form = actions.load_form(tx, caller.business_id, form_id)
    answers = store.list_answers(tx, caller.business_id, cursor, _PAGE + 1, form_id=form.id)
    counts = store.count_answers(tx, caller.business_id).get(form.id, {})
    can_export = may(caller, Permission.EXPORT_LEADS)
    return {
        "form": {"id": form.id, "name": form.name},
        "answers": _list_answer_facts(tx, caller.business_id, answers[:_PAGE]),
        "total": counts.get(FormVerdict.TAKEN, 0),
        "no_fit": counts.get(FormVerdict.NO_FIT, 0),
        "spam": counts.get(FormVerdict.SPAM, 0),
        "older": f"{micros(answers[_PAGE - 1].at)}_{answers[_PAGE - 1].id}" if len(answers) > _PAGE else "",
        "can_export": can_export,
    }


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """An answer with the rows that its page and its download show beside it."""

    answer: FormAnswer
    language: str
    version: FormVersion
    receipts: list[ConsentReceipt]
    lead: Lead | None
    ad: MeasuredAd | None


def _list_answer_facts(tx: Tx, business_id: str, answers: list[FormAnswer]) -> list[AnswerFacts]:
    versions = store.list_versions(tx, business_id, id={answer.version_id for answer in answers})
    versions_by_id = {version.id: version for version in versions}
    receipts = store.list_receipts(tx, business_id, {answer.id for answer in answers})
    ads = list_measured_ads(tx, business_id, {answer.ad_id for answer in answers if answer.ad_id})
    leads = list_leads_by_id(tx, business_id, {answer.lead_id for answer in answers if answer.lead_id})
    return [
        AnswerFacts(
            answer,
            LANGUAGES.get(answer.language, answer.language),
            versions_by_id[answer.version_id],
            receipts.get(answer.id, []),
            leads.get(answer.lead_id),
            ads.get(answer.ad_id or ""),
        )
        for answer in answers
    ]


@router.page("/leads/{lead_id}/answers", Permission.READ_LEADS, "forms/_lead.html", ReadAudit.EACH)
def show_lead_answers(tx: Tx, request: Request, caller: Caller, lead_id: str) -> dict[str, Any]:
    """Show the part of a lead's page with the forms as they were submitted."""
    check_found(find_lead(tx, caller.business_id, lead_id), "Lead not found.")
    answers = store.list_answers_of_leads(tx, caller.business_id, {lead_id})[lead_id]
    return {"lead_id": lead_id, "answers": _list_answer_facts(tx, caller.business_id, answers)}


@router.get("/forms/{form_id}/answers.csv", Permission.EXPORT_LEADS, ReadAudit.EACH)
async def download_answers(request: Request, caller: PageCaller, form_id: str) -> StreamingResponse:
    """Stream all answers of a form as CSV, one page at a time to save memory."""
    context, business_id = context_of(request), caller.business_id
    form, versions, counts = await context.db.read(
        lambda tx: (
            actions.load_form(tx, business_id, form_id),
            store.list_versions(tx, business_id, form_id=form_id),
            store.count_answers(tx, business_id),
        )
    )
    # every question and consent of all versions, with its latest label
    columns: dict[str, str] = {}
    for version in versions:
        texts = version.content.words.get(version.content.languages[0], {})
        for question in version.content.questions:
            columns.setdefault(question.key, texts.get(f"{question.key}.label") or question.key)
        for consent in version.content.consents:
            columns.setdefault(consent.key, f"Consent: {texts.get(f'{consent.key}.text', consent.key)}")
    contact_reads_of(request).counts["answer_id"] = counts.get(form.id, {}).get(FormVerdict.TAKEN, 0)
    read_page = partial(_read_page, business_id, form.id, columns)
    return csv_file("answers.csv", stream_csv(context.db, (*CSV_HEAD, *columns.values()), read_page))


def _read_page(
    business_id: str, form_id: str, columns: Mapping[str, str], last: store.AnswerCursor | None, tx: Tx
) -> tuple[store.AnswerCursor | None, list[list[str]]]:
    """Return the cursor of the next page, and a page of CSV rows without wrong contacts."""
    answers = store.list_answers(tx, business_id, last, _CSV_PAGE, form_id=form_id)
    page = _list_answer_facts(tx, business_id, answers)
    wrong = list_wrong_values(tx, business_id, {facts.lead.id for facts in page if facts.lead})
    rows = []
    for facts in page:
        answer, version, lead, ad = facts.answer, facts.version, facts.lead, facts.ad
        of_ad = [str(ad.ad_number), ad.ad_name] if ad else ["", ""]
        of_form = [str(version.number), str(version.version), answer.language]
        row = [answer.id, iso(answer.at), *of_form, answer.lead_id, *of_ad, str(answer.score)]
        fields = without_wrong(answer.answers, wrong[lead.id] if lead else ())
        values = {field.key: field.shown if field.kind in CHOOSERS else field.value for field in fields}
        values |= {receipt.purpose: "yes" if receipt.given else "no" for receipt in facts.receipts}
        rows.append(row + [values.get(key, "") for key in columns])
    return (answers[-1].at, answers[-1].id) if len(answers) == _CSV_PAGE else None, rows


_MOST_FIELDS: Final = 2_000
PUBLISH: Final = "publish"


@router.page("/forms/{form_id}", Permission.READ_ADS, "forms/builder.html")
def show_builder(
    tx: Tx, request: Request, caller: Caller, form_id: str, lang: str = "", *, editor: str = ""
) -> dict[str, Any]:
    """Show the builder in the language ``lang``.

    ``editor`` identifies the open page, so that its saves do not conflict.
    """
    words = translator_of(request)
    form = actions.load_form(tx, caller.business_id, form_id)
    language = lang if lang in form.draft.languages else form.draft.languages[0]
    content = form.draft
    first = content.languages[0]
    problems = [(problem.at, problem.in_language(words)) for problem in list_problems(content)]
    # the texts in one language, with those of the first one beside them
    draft = {
        **row_of(form),
        **row_of(content),
        "language": language,
        "is_first": language == first,
        "languages": [(code, LANGUAGES.get(code, code)) for code in content.languages],
        "other_languages": [
            (code, name) for code, name in LANGUAGES.items() if code not in content.languages
        ],
        "texts": content.words.get(language, {}),
        "first_texts": content.words.get(first, {}),
        "questions": [
            _question(content, question, place, words) for place, question in enumerate(content.questions)
        ],
        "problems": [{"at": at, "says": says} for at, says in problems],
        "wrong": dict(reversed(problems)),  # the first problem of a field
    }
    return {
        "draft": draft,
        "form": _sheet(form, language, tx.now),
        "versions": [
            {
                "number": str(version.number),
                "version": version.version,
                "headline": text_of(version.content, "headline", version.content.languages[0]),
                "by": version.published_by,
                "at": version.published_at,
            }
            for version in store.list_versions(tx, caller.business_id, form_id=form.id)
        ],
        "can_edit": may(caller, Permission.WRITE_ADS),
        "kind_groups": [
            (words.gettext(group), [(kind.value, words.gettext(kind_name(kind))) for kind in kinds])
            for group, kinds in GROUPS
        ],
        "editor": editor or new_id(),
        "regions": [pair.split("+") for pair in REGIONS.split(" ")],
        "account": {"id": "", "display_name": caller.business_name},
        "preview": True,
    }


def _sheet(form: InstantForm, language: str, at: datetime) -> dict[str, Any]:
    """Return the draft as people will see it, with sample details where the chat prefills."""
    prefilled = [question for question in form.draft.questions if question.prefill]
    details = {question.kind: sample_text(question, form.number) for question in prefilled}
    respondent = Prefill(details=details)
    sheet = show_sheet(form.draft, language, form.number, "", at, respondent)
    return sheet | {"image": picture_path(form.business_id, form.draft.image)}


@router.post("/forms/{form_id}/draft", Permission.WRITE_ADS)
async def post_draft(request: Request, caller: FormCaller, form_id: str) -> Response:
    """Save the draft, then do the action of the pressed button (``do``)."""
    sent = await request.form(max_files=0, max_fields=_MOST_FIELDS)
    fields: dict[str, list[str]] = {}
    for name, value in sent.multi_items():
        if isinstance(value, str):
            fields.setdefault(name, []).append(value)
    first = {name: values[0] for name, values in fields.items()}
    language, editor, change = (clean(first.get(name, ""))[:64] for name in ("lang", "editor", "do"))
    base_revision = min(read_number(first.get("revision", "")) or 0, _LAST_REVISION)
    lang = translator_of(request).lang

    def save(tx: Tx) -> InstantForm:
        form = actions.load_form(tx, caller.business_id, form_id)
        content = change_content(edit_content(form.draft, fields, language, lang), change)
        ad_accounts = list_ad_accounts(tx, caller.business_id)
        content = set_time_zone(content, ad_accounts[0].timezone if ad_accounts else "")
        renamed = replace(form, name=actions.check_form_name(first.get("name", "")))
        saved = actions.save_draft(tx, renamed, content, base_revision, editor)
        if change == PUBLISH:
            actions.publish_form(tx, caller.business_id, form_id, saved.revision, caller.display_name)
        return saved

    try:
        await context_of(request).db.write(save)
    except Refused as refused:
        if change != PUBLISH or refused.code is not errors.INVALID:
            raise
        # the draft is saved all the same; the page lists its problems
        change = ""
        await context_of(request).db.write(save)
    if request.headers.get("hx-request"):
        shown = change.partition(":")[2] if change.startswith("add_language:") else language
        return await show_builder.show(request, caller, form_id=form_id, lang=shown, editor=editor)
    return RedirectResponse(f"/forms/{form_id}?lang={language}", 303)


@router.get("/forms/{form_id}/test", Permission.READ_ADS)
# the API links to a version, and the page shows the draft all the same
@router.get("/forms/{form_id}/test/{page_id}", Permission.READ_ADS)
async def show_test(request: Request, caller: PageCaller, form_id: str, lang: str = "") -> HTMLResponse:
    """Show the draft as a customer sees it; answers are checked and discarded."""
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


_submission_decoder: Final = msgspec.json.Decoder(Submission)


@router.post("/forms/{form_id}/test", Permission.READ_ADS)
async def post_test(request: Request, caller: FormCaller, form_id: str) -> Response:
    """Check a test submission against the draft, and show the values that would be stored."""
    try:
        sent = _submission_decoder.decode(await read_body(request))
    except JSON_ERRORS as error:
        raise Refused(errors.UNREADABLE, "Send the form from its own page.") from error
    form = await context_of(request).db.read(lambda tx: actions.load_form(tx, caller.business_id, form_id))
    language = sent.language if sent.language in form.draft.languages else form.draft.languages[0]
    in_language = replace(sent, language=language)
    checked = check_submission(form.draft, in_language, {}, context_of(request).clock.now())
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
            answer.label: answer.shown if answer.kind in CHOOSERS else answer.value
            for answer in checked.answers
        },
    }
    return json_answer(body)


_BUSINESS: Final = re.compile(r"[0-9a-f-]{36}")


@router.post("/forms/{form_id}/photos", Permission.WRITE_ADS)
async def post_picture(request: Request, caller: FormCaller, form_id: str) -> Response:
    """Save a picture for a form; the draft refers to it with its next save."""
    context = context_of(request)
    await context.db.read(lambda tx: actions.load_form(tx, caller.business_id, form_id))
    picture = await context.uploads.take_picture(request, caller.subject_id)
    await context.db.write(lambda tx: form_pictures.save(tx, caller.business_id, picture))
    return json_answer({"image": picture.digest})


@router.get("/form-pictures/{business_id}/{digest}", Access(Credential.ADDRESS))
async def show_picture(request: Request, business_id: str, digest: str) -> Response:
    """Return a picture by the hash of its content, which cannot be guessed; it never changes."""
    picture = None
    if _BUSINESS.fullmatch(business_id) and PICTURE_ID.fullmatch(digest):
        picture = await context_of(request).db.read(lambda tx: form_pictures.find(tx, business_id, digest))
    if picture is None:
        raise Refused(errors.NOT_FOUND, "Photo not found.")
    return picture_answer(*picture, cache="public, max-age=31536000, immutable")
