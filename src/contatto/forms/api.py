"""Forms, test leads, leads and files of leads in the API v1.3."""

import json
from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import asdict
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.auth import ApiCaller, api_routes, load_advertiser
from contatto.accounts.model import AdAccount, Caller, Permission, ReadAudit
from contatto.capture.rules import detect_contacts
from contatto.forms import store
from contatto.forms.actions import LEAD_FILES, find_test_lead, list_form_entries
from contatto.forms.model import FormVersion, QuestionAnswer, TestLeadMade
from contatto.forms.rules.answers import contacts_of
from contatto.forms.rules.views import (
    TEST_NAME,
    answer_data,
    field_labels,
    sample_answers,
    sample_email,
    sample_phone,
    without_wrong,
)
from contatto.forms.store import list_answers_of_leads
from contatto.kit import errors
from contatto.kit.api_types import (
    Answer,
    Answered,
    ApiId,
    ApiModel,
    ApiTime,
    IdText,
    JsonText,
    Listed,
    PageQuery,
    TimeText,
    api_answer,
    api_time,
    describe_query,
    page_info,
    read_query,
    request_id_of,
)
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused, check_found
from contatto.kit.exports import (
    ExportJob,
    ExportKind,
    ExportState,
    find_export,
    find_export_content,
    queue_export,
)
from contatto.kit.ids import named_id
from contatto.kit.outbox import emit
from contatto.leads.actions.records import mark_as_lead, remove_test_lead, upsert_leads
from contatto.leads.model import Lead, LeadSource, Origin, Signal
from contatto.leads.rules.records import (
    CHAT_FIELDS,
    ORIGINS,
    LeadFilter,
    LeadMeta,
    chat_data,
    meta_data,
    source_of,
)
from contatto.leads.store.listing import (
    find_newest_lead,
    is_earned_elsewhere,
    list_credits,
    list_outgoing_points,
    list_wrong_values,
)
from contatto.leads.store.records import find_lead_by_number
from contatto.measurement.store import find_measured_ad_by_number
from contatto.ui.requests import context_of


class OfPage(ApiModel):
    """A form for an ad account; all ad accounts of a business share its forms."""

    advertiser_id: ApiId
    page_id: ApiId


class OfSource(ApiModel):
    """Leads of a form, which ``page_id`` names, or of the chat, which has none."""

    advertiser_id: ApiId
    lead_source: LeadSource = LeadSource.INSTANT_FORM
    page_id: ApiId | None = None


class LeadInfo(Answer, frozen=True):
    """A lead: the labels of its form with the answers, or the kinds of contact details with their values."""

    lead_data: dict[str, str]
    meta_data: LeadMeta


def load_page(tx: Tx, business_id: str, number: int) -> FormVersion:
    """Return a published form by its ``page_id``. Raises Refused: NOT_FOUND."""
    return check_found(store.find_version(tx, business_id, number), "page_id: published form not found.")


def load_source(tx: Tx, business_id: str, source: OfSource) -> FormVersion | None:
    """Return the form of a source, or None for the chat.

    Raises Refused: INVALID when ``page_id`` is missing or not allowed; NOT_FOUND.
    """
    if source.lead_source is LeadSource.DIRECT_MESSAGE:
        if source.page_id is not None:
            raise Refused(errors.INVALID, "page_id: leave it out with lead_source DIRECT_MESSAGE.")
        return None
    if source.page_id is None:
        raise Refused(errors.INVALID, "page_id: it is needed with lead_source INSTANT_FORM.")
    return load_page(tx, business_id, source.page_id)


form_router: Final = api_routes("Forms and leads", "/page")

type PageKind = Literal[
    "LEAD_GEN", "POP_UP_FORM", "STORE_FRONT", "APP_PROFILE_PAGE", "TIKTOK_INSTANT_PAGE", "SHOP_ADS_PLP",
    "SHOP_ADS_PDP", "SLIDESHOW",
]  # fmt: skip
type PageStatus = Literal["EDITED", "PUBLISHED"]
FORM_KIND: Final = "LEAD_GEN"


class TimeRange(ApiModel):
    start: ApiTime
    end: ApiTime


class FormsQuery(PageQuery):
    """``page_status`` is read like ``status``; both spellings are in use."""

    advertiser_id: ApiId
    page_size: int = Field(10, ge=1, le=100)
    status: PageStatus | None = None
    page_status: PageStatus | None = None
    title: Annotated[str, Field(max_length=200)] = ""
    update_time_range: JsonText[TimeRange | None] = None
    business_type: PageKind = "LEAD_GEN"
    business_types: JsonText[list[PageKind] | None] = None


class PageOfForm(Answer, frozen=True):
    """A published version of a form, or a draft with unpublished changes."""

    page_id: IdText
    title: str
    status: PageStatus
    business_type: Literal["LEAD_GEN"]
    create_time: TimeText
    update_time: TimeText
    publish_time: TimeText | None
    preview_url: str


class PageList(Listed[PageOfForm], frozen=True):
    """Versions and drafts, last changed first."""


class PageMeta(Answer, frozen=True):
    page_id: IdText
    create_time: TimeText
    page_name: str
    page_url: str


class PageFields(Answer, frozen=True):
    """The labels of a form's fields."""

    fields: list[str]
    meta_data: PageMeta


@form_router.transact("/get/", Permission.READ_ADS)
def get_pages(tx: Tx, caller: Caller, query: FormsQuery, request: Request) -> PageList:
    """List instant forms, last changed first: each published version, and each draft with changes.

    Other values of ``business_type`` return an empty list.
    """
    base_url = context_of(request).settings.base_url
    load_advertiser(tx, caller, query.advertiser_id)
    business_types = query.business_types or [query.business_type]
    pages = list[tuple[datetime, PageOfForm]]()
    if FORM_KIND in business_types:
        forms = {form.id: form for form in store.list_forms(tx, caller.business_id)}
        versions = store.list_versions(tx, caller.business_id)
        newest = {version.form_id: version for version in reversed(versions)}
        for version in versions:
            at = version.published_at
            created_at = forms[version.form_id].created_at if version.form_id in forms else at
            page = PageOfForm(
                page_id=str(version.number),
                title=version.name,
                status="PUBLISHED",
                business_type=FORM_KIND,
                create_time=api_time(created_at),
                update_time=api_time(at),
                publish_time=api_time(at),
                preview_url=f"{base_url}/forms/{version.form_id}/test/{version.number}",
            )
            pages.append((at, page))
        for form in forms.values():
            latest = newest.get(form.id)
            if latest is None or latest.content != form.draft:
                page = PageOfForm(
                    page_id=str(form.number),
                    title=form.name,
                    status="EDITED",
                    business_type=FORM_KIND,
                    create_time=api_time(form.created_at),
                    update_time=api_time(form.updated_at),
                    publish_time=None,
                    preview_url="",
                )
                pages.append((form.updated_at, page))
    status, span = query.status or query.page_status, query.update_time_range
    title = query.title.casefold()
    rows = [
        row
        for at, row in sorted(pages, key=lambda pair: pair[0], reverse=True)
        if status in (None, row.status) and title in row.title.casefold()
        if span is None or span.start <= at <= span.end
    ]
    first = (query.page - 1) * query.page_size
    return PageList(rows[first : first + query.page_size], page_info(query, len(rows)))


@form_router.transact("/field/get/", Permission.READ_ADS)
def get_page_fields(tx: Tx, caller: Caller, query: OfPage, request: Request) -> PageFields:
    """List the fields of a published form, by their labels in leads."""
    base_url = context_of(request).settings.base_url
    load_advertiser(tx, caller, query.advertiser_id)
    return show_fields(load_page(tx, caller.business_id, query.page_id), base_url)


def show_fields(version: FormVersion, base_url: str) -> PageFields:
    """Return the fields of a form with its ``meta_data``."""
    meta = PageMeta(
        page_id=str(version.number),
        create_time=api_time(version.published_at),
        page_name=version.name,
        page_url=f"{base_url}/forms/{version.form_id}/test/{version.number}",
    )
    return PageFields(list(field_labels(version.content).values()), meta)


test_lead_router: Final = api_routes("Forms and leads", "/page/lead/mock")


class TestLead(ApiModel):
    advertiser_id: ApiId
    lead_id: ApiId


class DeletedLead(Answer, frozen=True):
    lead_id: IdText


@test_lead_router.transact("/create/", Permission.WRITE_LEADS)
def create_mock_lead(tx: Tx, caller: Caller, body: OfSource) -> LeadInfo:
    """Create the test lead of a form, or return the existing one.

    It goes to the Leads Center, to subscriptions and to the CRM like any lead, marked with ``is_test``. No
    report counts it. Extension: ``lead_source`` DIRECT_MESSAGE creates the test lead of the chat.
    """
    load_advertiser(tx, caller, body.advertiser_id)
    business_id = caller.business_id
    version = load_source(tx, business_id, body)
    test_lead = find_test_lead(tx, business_id, version)
    if test_lead is not None:
        return _show_lead(tx, test_lead, version)
    number = version.number if version else 0
    if version:
        contacts = contacts_of(sample_answers(version.content, number))
    else:
        details = f"{sample_email(number)} {sample_phone(number)}"
        contacts = tuple(detect_contacts(details, "US"))
    signal = Signal(
        business_id=business_id,
        person_id=named_id(business_id, f"test:{number}"),
        channel_account_id="",
        conversation_id="",
        origin=Origin.FORM if version else Origin.CHAT,
        source_id=f"test:{number}",
        at=tx.now,
        contacts=contacts,
        stated_name=TEST_NAME,
        profile_name="",
        is_test=True,
    )
    lead = upsert_leads(tx, [signal])[0] or mark_as_lead(tx, signal)
    emit(tx, business_id, TestLeadMade(business_id, lead.id, number))
    return _show_lead(tx, lead, version)


@test_lead_router.transact("/get/", Permission.READ_LEADS, ReadAudit.EACH)
def get_mock_lead(tx: Tx, caller: Caller, query: OfSource) -> LeadInfo:
    """Show the test lead of a form, or of the chat; it is not found before it was created."""
    load_advertiser(tx, caller, query.advertiser_id)
    version = load_source(tx, caller.business_id, query)
    lead = check_found(
        find_test_lead(tx, caller.business_id, version),
        "There is no test lead; make one with /page/lead/mock/create/.",
    )
    return _show_lead(tx, lead, version)


@test_lead_router.transact("/delete/", Permission.WRITE_LEADS)
def delete_mock_lead(tx: Tx, caller: Caller, body: TestLead) -> DeletedLead:
    """Delete a test lead; real leads are refused."""
    load_advertiser(tx, caller, body.advertiser_id)
    lead = find_lead_by_number(tx, caller.business_id, body.lead_id)
    remove_test_lead(tx, check_found(lead, "lead_id: there is no such lead."))
    return DeletedLead(str(body.lead_id))


def _show_lead(
    tx: Tx, lead: Lead, version: FormVersion | None, answers: tuple[QuestionAnswer, ...] = ()
) -> LeadInfo:
    """Return a lead with its data and its ``meta_data``; a test lead has the sample answers of its form."""
    earned = list_credits(tx, lead.business_id, {lead.id}).get(lead.id)
    ad = earned[1] if earned else None
    if version is None:
        points = list_outgoing_points(tx, lead.business_id, {lead.id})[lead.id]
        return LeadInfo(chat_data(lead, points), meta_data(lead, LeadSource.DIRECT_MESSAGE, ad))
    if lead.is_test:
        answers = sample_answers(version.content, version.number)
    meta = meta_data(lead, LeadSource.INSTANT_FORM, ad, str(version.number))
    return LeadInfo(answer_data(version.content, answers), meta)


file_router: Final = api_routes("Forms and leads", "/page/lead/task")
_MEDIA: Final = {"csv": "text/csv", "zip": "application/zip"}
_FILE_TYPES: Final = Meta(extra_json_schema={"enum": list(_MEDIA)})


class LeadTaskBody(ApiModel):
    """Either ``page_id`` or ``ad_id``, to create a task; or ``task_id`` alone, for its state."""

    advertiser_id: ApiId
    page_id: ApiId | None = None
    ad_id: ApiId | None = None
    task_id: ApiId | None = None


class DownloadQuery(ApiModel):
    advertiser_id: ApiId
    task_id: ApiId


type FileState = Literal["CREATED", "SUCCEED", "FAILED"]


class LeadFileInfo(Answer, frozen=True):
    """State of a file; a finished one has a name and a type."""

    task_id: IdText
    status: FileState
    file_name: str | UnsetType = UNSET
    file_type: Annotated[str, _FILE_TYPES] | UnsetType = UNSET


@file_router.post("/", Permission.EXPORT_LEADS)
async def make_lead_task(request: Request, caller: ApiCaller, body: LeadTaskBody) -> Answered[LeadFileInfo]:
    """Create a file of the leads of a form or of an ad; with ``task_id``, return its state.

    Extension: the ``ad_id`` of an ad for direct messages gives the leads of its form and of the chat, with
    their contact details and a column ``lead_source``.
    """

    def work(tx: Tx) -> ExportJob:
        account = load_advertiser(tx, caller, body.advertiser_id)
        if body.task_id is not None:
            return _task(tx, account, body.task_id)
        if (body.page_id is None) == (body.ad_id is None):
            raise Refused(errors.INVALID, "page_id: send page_id or ad_id, one of them; or task_id to ask.")
        if body.page_id is not None:
            load_page(tx, account.business_id, body.page_id)
        else:
            ad = find_measured_ad_by_number(tx, account.business_id, body.ad_id or 0)
            if ad is None or ad.ad_account_id != account.id:
                raise Refused(errors.NOT_FOUND, "ad_id: there is no such ad in this ad account.")
        source = {"page_number": body.page_id or 0, "ad_number": body.ad_id or 0}
        file_name = f"leads-{body.page_id or body.ad_id}"
        request_text = json.dumps(source)
        return queue_export(tx, ExportKind.LEADS, account.business_id, account.id, request_text, file_name)

    db = context_of(request).db
    task = await (db.write(work) if body.task_id is None else db.read(work))
    info = LeadFileInfo(str(task.number), "FAILED" if task.state is ExportState.FAILED else "CREATED")
    if task.state is ExportState.DONE:
        file_name = f"{task.file_name}.{task.file_type}"
        info = LeadFileInfo(str(task.number), "SUCCEED", file_name, task.file_type)
    return api_answer(info, request_id_of(request))


@file_router.get(
    "/download/",
    Permission.EXPORT_LEADS,
    ReadAudit.EACH,
    openapi_extra=describe_query(DownloadQuery),
    responses={
        200: {
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/zip": {"schema": {"type": "string", "format": "binary"}},
            }
        }
    },
)
async def download_leads(request: Request, caller: ApiCaller) -> Response:
    """Download the file, for ten minutes after it was made: CSV in UTF-8, or a zip with it; times are UTC."""
    context, query = context_of(request), read_query(request, DownloadQuery)
    task = await context.db.read(
        lambda tx: _task(tx, load_advertiser(tx, caller, query.advertiser_id), query.task_id)
    )
    if task.state is ExportState.FAILED:
        raise Refused(errors.TASK_FAILED)
    if task.finished_at is None:
        raise Refused(errors.TASK_NOT_READY, "task_id: the task is CREATED.")
    content = await context.db.read(lambda tx: find_export_content(tx, task))
    if content is None or task.finished_at + LEAD_FILES.link < context.clock.now():
        raise Refused(errors.LINK_EXPIRED)
    disposition = f'attachment; filename="{task.file_name}.{task.file_type}"'
    headers = {"Content-Disposition": disposition, "Cache-Control": "no-store"}
    return Response(content, media_type=_MEDIA[task.file_type], headers=headers)


def _task(tx: Tx, account: AdAccount, number: int) -> ExportJob:
    task = find_export(tx, ExportKind.LEADS, account.business_id, number)
    if task is None or task.ad_account_id != account.id:
        raise Refused(errors.NOT_FOUND, "task_id: there is no such task.")
    return task


lead_router: Final = api_routes("Forms and leads", "/lead")


class FormSourceQuery(OfSource):
    """A source of leads, which is required here."""

    lead_source: LeadSource


class LeadQuery(FormSourceQuery):
    """Extension: ``lead_id`` chooses the lead."""

    lead_id: ApiId | None = None


class LeadFieldsMeta(Answer, frozen=True, kw_only=True):
    """Source of the leads, and their form if they have one."""

    page_id: IdText | UnsetType = UNSET
    create_time: TimeText | UnsetType = UNSET
    page_name: str | UnsetType = UNSET
    page_url: str | UnsetType = UNSET
    lead_source: LeadSource


class LeadFields(Answer, frozen=True):
    fields: list[str]
    meta_data: LeadFieldsMeta


@lead_router.transact("/field/get/", Permission.READ_LEADS)
def get_lead_fields(tx: Tx, caller: Caller, query: FormSourceQuery, request: Request) -> LeadFields:
    """List the fields that leads of a form, or of the chat, may have."""
    base_url = context_of(request).settings.base_url
    load_advertiser(tx, caller, query.advertiser_id)
    version = load_source(tx, caller.business_id, query)
    if version is None:
        return LeadFields(list(CHAT_FIELDS), LeadFieldsMeta(lead_source=query.lead_source))
    shown = show_fields(version, base_url)
    meta = LeadFieldsMeta(**asdict(shown.meta_data), lead_source=query.lead_source)
    return LeadFields(shown.fields, meta)


@lead_router.transact("/get/", Permission.READ_LEADS, ReadAudit.EACH)
def get_lead(tx: Tx, caller: Caller, query: LeadQuery) -> LeadInfo:
    """Return a lead with its data: the newest of a source, real or test, or the one of ``lead_id``.

    Leads that an ad of another ad account earned are not found.
    """
    account = load_advertiser(tx, caller, query.advertiser_id)
    version = load_source(tx, caller.business_id, query)
    lead = None
    if query.lead_id is not None:
        lead = find_lead_by_number(tx, account.business_id, query.lead_id)
        if (
            lead is None
            or lead.hidden_at is not None
            or is_earned_elsewhere(tx, lead.business_id, lead.id, account.id)
        ):
            raise Refused(errors.NOT_FOUND, "lead_id: there is no such lead.")
    if version is None:
        if lead is None:
            chat_filter = LeadFilter(origins=ORIGINS[LeadSource.DIRECT_MESSAGE])
            newest = find_newest_lead(tx, account.business_id, chat_filter, account.id)
            lead = check_found(newest, "lead_source: there is no lead of this source yet.")
        elif source_of(lead) is not LeadSource.DIRECT_MESSAGE:
            raise Refused(errors.NOT_FOUND, "lead_id: this lead has not lead_source DIRECT_MESSAGE.")
        return _show_lead(tx, lead, None)
    if lead is None:
        entries = list_form_entries(tx, version, account.id, most=2)  # the test lead, and the newest
        if not entries:
            raise Refused(errors.NOT_FOUND, "page_id: this form has no lead yet.")
        entry = max(entries, key=lambda entry: entry.lead.created_at)
        return _show_lead(tx, entry.lead, version, entry.answers)
    submissions: list[tuple[QuestionAnswer, ...]] = []
    if lead.is_test:
        test_lead = find_test_lead(tx, version.business_id, version)
        submissions += [()] if test_lead is not None and test_lead.id == lead.id else []
    else:
        wrong = list_wrong_values(tx, version.business_id, {lead.id})[lead.id]
        sent = list_answers_of_leads(tx, version.business_id, {lead.id})[lead.id]
        own = [answer for answer in sent if answer.version_id == version.id]
        submissions = [without_wrong(answer.answers, wrong) for answer in own]
    if not submissions:
        raise Refused(errors.NOT_FOUND, "lead_id: this lead has not sent this form.")
    return _show_lead(tx, lead, version, submissions[0])
