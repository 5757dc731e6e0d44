"""Test leads in the API v1.3: one for each form, and one for the chat."""

from typing import Final

from starlette.requests import Request

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.forms.actions.records import create_test_lead, find_test_lead
from contatto.forms.api.schemas import LeadInfo, OfSource, load_source
from contatto.forms.model import FormVersion
from contatto.forms.rules.outside import answer_data, sample_answers
from contatto.kit import errors
from contatto.kit.answer_schemas import ApiRouter
from contatto.kit.answers import Answer, IdText
from contatto.kit.api_types import ApiId, ApiModel, describe_query, read_query, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.http import Answered, api_answer
from contatto.leads.actions.records import remove_test_lead
from contatto.leads.model.leads import Lead
from contatto.leads.rules.outside import chat_data, meta_data
from contatto.leads.store.records import find_lead_by_number, list_outgoing_points
from contatto.ui.context import context_of

router: Final = ApiRouter(prefix="/open_api/v1.3/page/lead/mock", tags=["Forms and leads"])


class TestLead(ApiModel):
    advertiser_id: ApiId
    lead_id: ApiId


class DeletedLead(Answer, frozen=True):
    lead_id: IdText


@router.post("/create/")
async def create_mock_lead(request: Request, caller: ApiCaller, body: OfSource) -> Answered[LeadInfo]:
    """Make the one test lead of a form; again gives the same one.

    It travels like any lead, to the Leads Center, to subscriptions and to the CRM, marked with ``is_test``,
    and counts in no report. Extension: ``lead_source`` DIRECT_MESSAGE makes the test lead of the chat.
    """
    require(caller, Permission.WRITE_LEADS)

    def work(tx: Tx) -> LeadInfo:
        load_advertiser(tx, caller, body.advertiser_id)
        version = load_source(tx, caller.business_id, body)
        return show_test_lead(tx, create_test_lead(tx, caller.business_id, version), body, version)

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


@router.get("/get/", openapi_extra=describe_query(OfSource))
async def get_mock_lead(request: Request, caller: ApiCaller) -> Answered[LeadInfo]:
    """The test lead of a form, or of the chat; one that was not made is not found."""
    require(caller, Permission.READ_LEADS)
    query = read_query(request, OfSource)

    def work(tx: Tx) -> LeadInfo:
        load_advertiser(tx, caller, query.advertiser_id)
        version = load_source(tx, caller.business_id, query)
        lead = find_test_lead(tx, caller.business_id, version)
        if lead is None:
            raise Refused(errors.NOT_FOUND, "There is no test lead; make one with /page/lead/mock/create/.")
        return show_test_lead(tx, lead, query, version)

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


@router.post("/delete/")
async def delete_mock_lead(request: Request, caller: ApiCaller, body: TestLead) -> Answered[DeletedLead]:
    """Delete a test lead for good; a real lead is never deleted so."""
    require(caller, Permission.WRITE_LEADS)

    def work(tx: Tx) -> None:
        load_advertiser(tx, caller, body.advertiser_id)
        lead = find_lead_by_number(tx, caller.business_id, body.lead_id)
        if lead is None:
            raise Refused(errors.NOT_FOUND, "lead_id: there is no such lead.")
        remove_test_lead(tx, lead)

    await context_of(request).db.write(work)
    return api_answer(DeletedLead(str(body.lead_id)), request_id_of(request))


def show_test_lead(tx: Tx, lead: Lead, wanted: OfSource, version: FormVersion | None) -> LeadInfo:
    """A test lead with its data and its ``meta_data``."""
    if version is None:
        points = list_outgoing_points(tx, lead.business_id, {lead.id})[lead.id]
        data, page_id = chat_data(lead, points), ""
    else:
        data = answer_data(version.content, sample_answers(version.content, version.number))
        page_id = str(version.number)
    return LeadInfo(data, meta_data(lead, wanted.lead_source, None, page_id))
