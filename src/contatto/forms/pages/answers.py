"""What people sent: the answers of a form, their download, and those of one lead."""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, StreamingResponse

from contatto.accounts.auth import PageCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import may, require
from contatto.forms.actions import records as actions
from contatto.forms.model import ConsentReceipt, FormAnswer, FormVerdict, FormVersion
from contatto.forms.pages.views import SentForm, show_answer
from contatto.forms.rules.kinds import CHOOSERS
from contatto.forms.rules.outside import without_wrong
from contatto.forms.store import records as store
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.looks import note_number_seen
from contatto.kit.table_export import csv_lines
from contatto.kit.timestamps import from_micros, micros
from contatto.leads.store.records import find_lead, list_leads_by_id, list_wrong_values
from contatto.measurement.model import MeasuredAd
from contatto.measurement.store import list_measured_ads
from contatto.ui.context import Context, context_of
from contatto.ui.render import iso

router: Final = APIRouter()
_PAGE: Final = 50
_CSV_PAGE: Final = 500
CSV_HEAD: Final = (
    "answer_id", "sent_time", "page_id", "version", "language", "lead_id", "ad_id", "ad_name", "score",
)  # fmt: skip
"""Columns of the download before those of the questions and consents."""


@router.get("/forms/{form_id}/answers")
async def show_answers(request: Request, caller: PageCaller, form_id: str, before: str = "") -> HTMLResponse:
    """The answers of a form, latest first."""
    require(caller, Permission.READ_LEADS)
    context = context_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        form = actions.load_form(tx, caller.business_id, form_id)
        found = store.list_answers(tx, caller.business_id, form.id, _cursor(before), _PAGE + 1)
        counts = store.count_answers(tx, caller.business_id).get(form.id, {})
        return {
            "form": {"id": form.id, "name": form.name},
            "answers": _shown(tx, caller.business_id, found[:_PAGE]),
            "total": counts.get(FormVerdict.TAKEN, 0),
            "no_fit": counts.get(FormVerdict.NO_FIT, 0),
            "spam": counts.get(FormVerdict.SPAM, 0),
            "older": _cursor_text(found[_PAGE - 1]) if len(found) > _PAGE else "",
        }

    values = await context.db.read(load)
    values |= {"caller": caller, "can_export": may(caller, Permission.EXPORT_LEADS)}
    return context.pages.render(request, "forms/answers.html", values)


def _cursor(text: str) -> tuple[datetime, str] | None:
    at, _, answer_id = text.partition("_")
    known = at.isascii() and at.isdigit() and len(at) <= 16
    return (from_micros(int(at)), answer_id[:36]) if known else None


def _cursor_text(answer: FormAnswer) -> str:
    return f"{micros(answer.at)}_{answer.id}"


def _shown(tx: Tx, business_id: str, found: list[FormAnswer]) -> list[SentForm]:
    versions = store.list_versions_by_id(tx, business_id, {answer.version_id for answer in found})
    receipts = store.list_receipts(tx, business_id, {answer.id for answer in found})
    ads = list_measured_ads(tx, business_id, {answer.ad_id for answer in found if answer.ad_id})
    leads = list_leads_by_id(tx, business_id, {answer.lead_id for answer in found if answer.lead_id})
    return [
        show_answer(
            answer,
            versions.get(answer.version_id),
            receipts.get(answer.id, []),
            leads.get(answer.lead_id),
            ads.get(answer.ad_id or ""),
        )
        for answer in found
    ]


@router.get("/leads/{lead_id}/answers")
async def show_lead_answers(request: Request, caller: PageCaller, lead_id: str) -> HTMLResponse:
    """The part of a lead's page that shows the forms as they were submitted."""
    require(caller, Permission.READ_LEADS)
    context = context_of(request)

    def load(tx: Tx) -> list[SentForm]:
        if find_lead(tx, caller.business_id, lead_id) is None:
            raise Refused(errors.NOT_FOUND, "Lead not found.")
        return _shown(tx, caller.business_id, store.list_answers_of_lead(tx, caller.business_id, lead_id))

    values = {"caller": caller, "lead_id": lead_id, "answers": await context.db.read(load)}
    return context.pages.render(request, "forms/_lead.html", values)


@router.get("/forms/{form_id}/answers.csv")
async def download_answers(request: Request, caller: PageCaller, form_id: str) -> StreamingResponse:
    """All answers of a form as CSV, page by page: memory stays flat however many there are."""
    require(caller, Permission.EXPORT_LEADS)
    context = context_of(request)
    columns = await context.db.read(lambda tx: _columns(tx, caller.business_id, form_id))
    counts = await context.db.read(lambda tx: store.count_answers(tx, caller.business_id))
    note_number_seen("answer_id", sum(counts.get(form_id, {}).values()))
    headers = {"Content-Disposition": 'attachment; filename="answers.csv"', "Cache-Control": "no-store"}
    lines = _stream_csv(context, caller.business_id, form_id, columns)
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


def _columns(tx: Tx, business_id: str, form_id: str) -> dict[str, str]:
    """Every question and consent that any version has had, by key, with its latest label."""
    actions.load_form(tx, business_id, form_id)
    columns: dict[str, str] = {}
    for version in store.list_versions(tx, business_id, form_id):
        texts = version.content.words.get(version.content.languages[0], {})
        for question in version.content.questions:
            columns.setdefault(question.key, texts.get(f"{question.key}.label") or question.key)
        for consent in version.content.consents:
            columns.setdefault(consent.key, f"Consent: {texts.get(f'{consent.key}.text', consent.key)}")
    return columns


async def _stream_csv(
    context: Context, business_id: str, form_id: str, columns: dict[str, str]
) -> AsyncIterator[bytes]:
    for line in csv_lines([(*CSV_HEAD, *columns.values())], bom=True):
        yield line
    last: tuple[datetime, str] | None = None
    while True:
        read = _page_reader(business_id, form_id, columns, last)
        rows, last = await context.db.read_long(read)
        for line in csv_lines(rows):
            yield line
        if last is None:
            return


def _page_reader(
    business_id: str, form_id: str, columns: dict[str, str], last: tuple[datetime, str] | None
) -> Any:
    def read_page(tx: Tx) -> tuple[list[list[str]], tuple[datetime, str] | None]:
        found = store.list_answers(tx, business_id, form_id, last, _CSV_PAGE)
        versions = store.list_versions_by_id(tx, business_id, {answer.version_id for answer in found})
        receipts = store.list_receipts(tx, business_id, {answer.id for answer in found})
        ads = list_measured_ads(tx, business_id, {answer.ad_id for answer in found if answer.ad_id})
        leads = list_leads_by_id(tx, business_id, {answer.lead_id for answer in found if answer.lead_id})
        wrong = list_wrong_values(tx, business_id, {lead.id for lead in leads.values()})
        rows = [
            _csv_row(answer, versions[answer.version_id], ads.get(answer.ad_id or ""))
            + _csv_cells(
                answer,
                receipts.get(answer.id, []),
                columns,
                wrong[leads[answer.lead_id].id] if answer.lead_id in leads else (),
            )
            for answer in found
        ]
        more = (found[-1].at, found[-1].id) if len(found) == _CSV_PAGE else None
        return rows, more

    return read_page


def _csv_row(answer: FormAnswer, version: FormVersion, ad: MeasuredAd | None) -> list[str]:
    of_ad = [str(ad.ad_number), ad.ad_name] if ad else ["", ""]
    of_form = [str(version.number), str(version.version), answer.language]
    return [answer.id, iso(answer.at) or "", *of_form, answer.lead_id, *of_ad, str(answer.score)]


def _csv_cells(
    answer: FormAnswer, receipts: list[ConsentReceipt], columns: Mapping[str, str], wrong: Collection[str]
) -> list[str]:
    """Return normal forms for programs, the words of a choice for people, and no contact that is wrong."""
    answers = without_wrong(answer.answers, wrong)
    given = {each.key: each.shown if each.kind in CHOOSERS else each.value for each in answers}
    given |= {each.purpose: "yes" if each.given else "no" for each in receipts}
    return [given.get(key, "") for key in columns]
