"""Campaigns in the API v1.3."""

from typing import Final

from starlette.requests import Request

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.ads import store
from contatto.ads.actions.campaigns import (
    CampaignChanges,
    NewCampaign,
    change_campaign_status,
    create_campaign,
    find_own_campaign,
    update_campaign,
)
from contatto.ads.api.answers import OBJECTIVE, CampaignInfo, CampaignList, show_campaign
from contatto.ads.api.schemas import (
    CreateCampaign,
    ListQuery,
    MoveCampaigns,
    UpdateCampaign,
    page_of,
    wanted_of,
)
from contatto.ads.rules.delivering import OPERATIONS, Operation
from contatto.ads.rules.settings import check_frozen
from contatto.kit.api_types import (
    Answer,
    IdText,
    chosen,
    describe_query,
    page_info,
    read_query,
    request_id_of,
)
from contatto.kit.db.tx import Tx
from contatto.kit.http import Answered, api_answer
from contatto.kit.openapi import ApiRouter
from contatto.ui.context import context_of

campaign_router: Final = ApiRouter(prefix="/open_api/v1.3/campaign", tags=["Campaigns"])


class MovedCampaigns(Answer, frozen=True):
    status: Operation
    campaign_ids: list[IdText]


@campaign_router.post("/create/")
async def create_one_campaign(
    request: Request, caller: ApiCaller, body: CreateCampaign
) -> Answered[CampaignInfo]:
    """Make a campaign."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> CampaignInfo:
        account = load_advertiser(tx, caller, body.advertiser_id)
        new = NewCampaign(
            account.id, body.campaign_name, body.budget_mode, body.budget, OPERATIONS[body.operation_status]
        )
        return show_campaign(create_campaign(tx, caller.business_id, new), account)

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


@campaign_router.post("/update/")
async def update_one_campaign(
    request: Request, caller: ApiCaller, body: UpdateCampaign
) -> Answered[CampaignInfo]:
    """Change the name or the budget of a campaign; what is not sent stays."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> CampaignInfo:
        account = load_advertiser(tx, caller, body.advertiser_id)
        before = find_own_campaign(tx, account, body.campaign_id)
        check_frozen({
            "budget_mode": (body.budget_mode, before.budget_mode),
            "objective_type": (body.objective_type, OBJECTIVE),
        })  # fmt: skip
        changes = CampaignChanges(body.campaign_name, body.budget)
        return show_campaign(update_campaign(tx, account, before.number, changes), account)

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


@campaign_router.get("/get/", openapi_extra=describe_query(ListQuery))
async def get_campaigns(request: Request, caller: ApiCaller) -> Answered[CampaignList]:
    """List campaigns, newest first."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, ListQuery)

    def work(tx: Tx) -> CampaignList:
        account = load_advertiser(tx, caller, query.advertiser_id)
        node_filter = wanted_of(query.filtering, "campaign_name")
        total = store.count_campaigns(tx, caller.business_id, account.id, node_filter)
        campaigns = store.list_campaigns(tx, caller.business_id, account.id, node_filter, page_of(query))
        rows = [show_campaign(campaign, account) for campaign in campaigns]
        return CampaignList(chosen(rows, query.fields), page_info(query, total))

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


@campaign_router.post("/status/update/")
async def update_campaign_status(
    request: Request, caller: ApiCaller, body: MoveCampaigns
) -> Answered[MovedCampaigns]:
    """Enable, disable or delete campaigns: all that are named, or none of them. Deletion is final."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> None:
        account = load_advertiser(tx, caller, body.advertiser_id)
        change_campaign_status(tx, account, body.campaign_ids, OPERATIONS[body.operation_status])

    await context_of(request).db.write(work)
    data = MovedCampaigns(body.operation_status, [str(number) for number in body.campaign_ids])
    return api_answer(data, request_id_of(request))
