"""Leads in the API v1.3: their fields, and one lead with its data."""

from typing import Final

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict
from starlette.requests import Request

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import AdAccount, Permission
from contatto.accounts.rules import require
from contatto.forms.actions.files import list_form_entries
from contatto.forms.api.pages import show_fields
from contatto.forms.api.schemas import LeadInfo, OfSource, load_source
from contatto.forms.model import FormVersion
from contatto.forms.rules.files import Entry
from contatto.forms.rules.outside import answer_data, without_wrong
from contatto.forms.store.records import list_answers_of_lead
from contatto.kit import errors
from contatto.kit.answer_schemas import ApiRouter
from contatto.kit.answers import Answer, IdText, TimeText
from contatto.kit.api_types import ApiId, describe_query, read_query, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.http import Answered, api_answer
from contatto.leads.model.leads import Lead, LeadSource
from contatto.leads.rules.filters import LeadFilter
from contatto.leads.rules.outside import CHAT_FIELDS, chat_data, meta_data, origins_of, source_of
from contatto.leads.store.credits import is_earned_elsewhere, list_credits
from contatto.leads.store.listing import find_newest_lead
from contatto.leads.store.records import find_lead_by_number, list_outgoing_points, list_wrong_values
from contatto.ui.context import context_of

router: Final = ApiRouter(prefix="/open_api/v1.3/lead", tags=["Forms and leads"])


class SourceQuery(OfSource):
    """Unlike that of a test lead, the source must be named."""

    lead_source: LeadSource


class LeadQuery(SourceQuery):
    """Extension: ``lead_id`` names the lead that is wanted."""

    lead_id: ApiId | None = None


class LeadFieldsMeta(Answer, frozen=True, kw_only=True):
    """What leads have in common: their source, and their form where they come from one."""

    page_id: IdText | UnsetType = UNSET
    create_time: TimeText | UnsetType = UNSET
    page_name: str | UnsetType = UNSET
    page_url: str | UnsetType = UNSET
    lead_source: LeadSource


class LeadFields(Answer, frozen=True):
    fields: list[str]
    meta_data: LeadFieldsMeta


@router.get("/field/get/", openapi_extra=describe_query(SourceQuery))
async def get_lead_fields(request: Request, caller: ApiCaller) -> Answered[LeadFields]:
    """The fields that leads of a form, or of the chat, may have."""
    require(caller, Permission.READ_LEADS)
    query = read_query(request, SourceQuery)
    base_url = context_of(request).settings.base_url

    def work(tx: Tx) -> LeadFields:
        load_advertiser(tx, caller, query.advertiser_id)
        version = load_source(tx, caller.business_id, query)
        if version is None:
            return LeadFields(list(CHAT_FIELDS), LeadFieldsMeta(lead_source=query.lead_source))
        shown = show_fields(version, base_url)
        meta = LeadFieldsMeta(**asdict(shown.meta_data), lead_source=query.lead_source)
        return LeadFields(shown.fields, meta)

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


@router.get("/get/", openapi_extra=describe_query(LeadQuery))
async def get_lead(request: Request, caller: ApiCaller) -> Answered[LeadInfo]:
    """One lead with its data: the newest of its source, real or test, or the one that ``lead_id`` names.

    It is of the ad account: earned by one of its ads, or by no ad at all.
    """
    require(caller, Permission.READ_LEADS)
    query = read_query(request, LeadQuery)

    def work(tx: Tx) -> LeadInfo:
        account = load_advertiser(tx, caller, query.advertiser_id)
        version = load_source(tx, caller.business_id, query)
        if version is None:
            return _show(tx, _chat_lead(tx, account, query), None)
        entry = _form_entry(tx, account, version, query)
        return _show(tx, entry.lead, entry)

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def _chat_lead(tx: Tx, account: AdAccount, query: LeadQuery) -> Lead:
    if query.lead_id is None:
        wanted = LeadFilter(origins=origins_of(LeadSource.DIRECT_MESSAGE))
        newest = find_newest_lead(tx, account.business_id, wanted, account.id)
        if newest is None:
            raise Refused(errors.NOT_FOUND, "lead_source: there is no lead of this source yet.")
        return newest
    lead = _named_lead(tx, account, query.lead_id)
    if source_of(lead) is not LeadSource.DIRECT_MESSAGE:
        raise Refused(errors.NOT_FOUND, "lead_id: this lead has not lead_source DIRECT_MESSAGE.")
    return lead


def _form_entry(tx: Tx, account: AdAccount, version: FormVersion, query: LeadQuery) -> Entry:
    if query.lead_id is None:
        found = list_form_entries(tx, version, account.id, most=2)
        if not found:
            raise Refused(errors.NOT_FOUND, "page_id: this form has no lead yet.")
        return max(found, key=lambda entry: entry.lead.created_at)
    lead = _named_lead(tx, account, query.lead_id)
    if lead.is_test:
        known = list_form_entries(tx, version, account.id, most=1)
        entries = [each for each in known if each.lead.id == lead.id]
    else:
        sent = list_answers_of_lead(tx, version.business_id, lead.id)
        wrong = list_wrong_values(tx, version.business_id, {lead.id})[lead.id]
        entries = [
            Entry(lead, None, version=version, answers=without_wrong(each.answers, wrong))
            for each in sent
            if each.version_id == version.id
        ]
    if not entries:
        raise Refused(errors.NOT_FOUND, "lead_id: this lead has not sent this form.")
    return entries[0]


def _named_lead(tx: Tx, account: AdAccount, number: int) -> Lead:
    lead = find_lead_by_number(tx, account.business_id, number)
    if (
        lead is None
        or lead.hidden_at is not None
        or is_earned_elsewhere(tx, lead.business_id, lead.id, account.id)
    ):
        raise Refused(errors.NOT_FOUND, "lead_id: there is no such lead.")
    return lead


def _show(tx: Tx, lead: Lead, entry: Entry | None) -> LeadInfo:
    earned = list_credits(tx, lead.business_id, {lead.id}).get(lead.id)
    ad = earned[1] if earned else None
    if entry is None or entry.version is None:
        points = list_outgoing_points(tx, lead.business_id, {lead.id})[lead.id]
        meta = meta_data(lead, LeadSource.DIRECT_MESSAGE, ad)
        return LeadInfo(chat_data(lead, points), meta)
    meta = meta_data(lead, LeadSource.INSTANT_FORM, ad, str(entry.version.number))
    return LeadInfo(answer_data(entry.version.content, entry.answers), meta)
