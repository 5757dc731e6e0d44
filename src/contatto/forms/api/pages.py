"""Instant forms in the API v1.3, where they are called pages."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from starlette.requests import Request

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.forms.api.schemas import OfPage, load_page
from contatto.forms.model import Form, FormVersion
from contatto.forms.rules.outside import field_labels
from contatto.forms.store import records as store
from contatto.kit.answer_schemas import ApiRouter
from contatto.kit.answers import Answer, IdText, Listed, TimeText, page_info
from contatto.kit.api_types import (
    ApiId,
    ApiModel,
    ApiTime,
    JsonText,
    PageQuery,
    api_time,
    describe_query,
    read_query,
    request_id_of,
)
from contatto.kit.db.tx import Tx
from contatto.kit.http import Answered, api_answer
from contatto.ui.context import context_of

router: Final = ApiRouter(prefix="/open_api/v1.3/page", tags=["Forms and leads"])

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
    """A published version of a form, or a draft that was never or not yet published."""

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


@router.get("/get/", openapi_extra=describe_query(FormsQuery))
async def get_pages(request: Request, caller: ApiCaller) -> Answered[PageList]:
    """List instant forms, last changed first: each published version, and each draft that is not published.

    There are no other kinds of pages here, so other values of ``business_type`` list none.
    """
    require(caller, Permission.READ_ADS)
    query = read_query(request, FormsQuery)
    base_url = context_of(request).settings.base_url

    def work(tx: Tx) -> PageList:
        load_advertiser(tx, caller, query.advertiser_id)
        wanted = query.business_types or [query.business_type]
        found = _pages(tx, caller.business_id, base_url) if FORM_KIND in wanted else []
        rows = [
            row for at, row in sorted(found, key=lambda pair: pair[0], reverse=True) if _fits(query, at, row)
        ]
        first = (query.page - 1) * query.page_size
        return PageList(rows[first : first + query.page_size], page_info(query, len(rows)))

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


@router.get("/field/get/", openapi_extra=describe_query(OfPage))
async def get_page_fields(request: Request, caller: ApiCaller) -> Answered[PageFields]:
    """The fields of a published form, by the labels that its leads come with."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, OfPage)
    base_url = context_of(request).settings.base_url

    def work(tx: Tx) -> PageFields:
        load_advertiser(tx, caller, query.advertiser_id)
        return show_fields(load_page(tx, caller.business_id, query.page_id), base_url)

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def show_fields(version: FormVersion, base_url: str) -> PageFields:
    """The fields of a form with its ``meta_data``."""
    meta = PageMeta(
        page_id=str(version.number),
        create_time=api_time(version.published_at),
        page_name=version.name,
        page_url=_preview_url(version, base_url),
    )
    return PageFields(list(field_labels(version.content).values()), meta)


def _pages(tx: Tx, business_id: str, base_url: str) -> list[tuple[datetime, PageOfForm]]:
    """Rows of all published versions and open drafts, each with the time of its last change."""
    forms = {form.id: form for form in store.list_forms(tx, business_id)}
    versions = store.list_versions(tx, business_id)
    newest = {version.form_id: version for version in reversed(versions)}
    found = [(version.published_at, _published(version, forms, base_url)) for version in versions]
    for form in forms.values():
        latest = newest.get(form.id)
        if latest is None or latest.content != form.draft:
            found.append((form.updated_at, _draft(form)))
    return found


def _published(version: FormVersion, forms: dict[str, Form], base_url: str) -> PageOfForm:
    form = forms.get(version.form_id)
    published = api_time(version.published_at)
    return PageOfForm(
        page_id=str(version.number),
        title=version.name,
        status="PUBLISHED",
        business_type=FORM_KIND,
        create_time=api_time(form.created_at if form else version.published_at),
        update_time=published,
        publish_time=published,
        preview_url=_preview_url(version, base_url),
    )


def _draft(form: Form) -> PageOfForm:
    return PageOfForm(
        page_id=str(form.number),
        title=form.name,
        status="EDITED",
        business_type=FORM_KIND,
        create_time=api_time(form.created_at),
        update_time=api_time(form.updated_at),
        publish_time=None,
        preview_url="",
    )


def _preview_url(version: FormVersion, base_url: str) -> str:
    return f"{base_url}/forms/{version.form_id}/test/{version.number}"


def _fits(query: FormsQuery, at: datetime, row: PageOfForm) -> bool:
    status, span = query.status or query.page_status, query.update_time_range
    in_time = span is None or span.start <= at <= span.end
    named = query.title.casefold() in row.title.casefold()
    return in_time and named and status in (None, row.status)
