"""Campaigns in the API v1.3."""

from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.ads.actions.campaigns import (
    CampaignChanges,
    NewCampaign,
    change_campaign_status,
    create_campaign,
    find_own_campaign,
    update_campaign,
)
from contatto.ads.api.answers import OBJECTIVE, show_campaign
from contatto.ads.api.lists import page_of, wanted_of
from contatto.ads.api.schemas import CreateCampaign, ListQuery, MoveCampaigns, UpdateCampaign
from contatto.ads.rules.settings import check_frozen
from contatto.ads.rules.statuses import OPERATIONS
from contatto.ads.store import nodes as store
from contatto.kit.api_types import chosen, describe_query, page_info, read_query, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.http import api_answer
from contatto.ui.context import context_of

router: Final = APIRouter(prefix="/open_api/v1.3/campaign", tags=["Campaigns"])


@router.post("/create/")
async def create_one_campaign(request: Request, caller: ApiCaller, body: CreateCampaign) -> Response:
    """Make a campaign."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> dict[str, Any]:
        account = load_advertiser(tx, caller, body.advertiser_id)
        new = NewCampaign(
            account.id, body.campaign_name, body.budget_mode, body.budget, OPERATIONS[body.operation_status]
        )
        return show_campaign(create_campaign(tx, caller.business_id, new), account)

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


@router.post("/update/")
async def update_one_campaign(request: Request, caller: ApiCaller, body: UpdateCampaign) -> Response:
    """Change the name or the budget of a campaign; what is not sent stays."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> dict[str, Any]:
        account = load_advertiser(tx, caller, body.advertiser_id)
        before = find_own_campaign(tx, account, body.campaign_id)
        check_frozen({
            "budget_mode": (body.budget_mode, before.budget_mode),
            "objective_type": (body.objective_type, OBJECTIVE),
        })  # fmt: skip
        changes = CampaignChanges(body.campaign_name, body.budget)
        return show_campaign(update_campaign(tx, account, before.number, changes), account)

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


@router.get("/get/", openapi_extra=describe_query(ListQuery))
async def get_campaigns(request: Request, caller: ApiCaller) -> Response:
    """List campaigns, newest first."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, ListQuery)

    def work(tx: Tx) -> dict[str, Any]:
        account = load_advertiser(tx, caller, query.advertiser_id)
        wanted = wanted_of(query.filtering, "campaign_name")
        total = store.count_campaigns(tx, caller.business_id, account.id, wanted)
        found = store.list_campaigns(tx, caller.business_id, account.id, wanted, page_of(query))
        rows = [show_campaign(campaign, account) for campaign in found]
        return {"list": chosen(rows, query.fields), "page_info": page_info(query, total)}

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


@router.post("/status/update/")
async def update_campaign_status(request: Request, caller: ApiCaller, body: MoveCampaigns) -> Response:
    """Enable, disable or delete campaigns: all that are named, or none of them. Deletion is final."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> None:
        account = load_advertiser(tx, caller, body.advertiser_id)
        change_campaign_status(tx, account, body.campaign_ids, OPERATIONS[body.operation_status])

    await context_of(request).db.write(work)
    data = {"status": body.operation_status, "campaign_ids": [str(number) for number in body.campaign_ids]}
    return api_answer(data, request_id_of(request))
