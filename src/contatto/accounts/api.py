"""The API's own view of ad accounts."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from contatto.accounts import store
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import AdAccount, Permission
from contatto.accounts.rules import require
from contatto.kit.context import context_of
from contatto.kit.http import api_answer, json_list

router = APIRouter(prefix="/open_api/v1.3", tags=["accounts"])


@router.get("/advertiser/info/")
async def get_advertiser_info(
    request: Request,
    caller: ApiCaller,
    advertiser_ids: Annotated[str, Query(description="JSON list of advertiser ids.")] = "[]",
) -> Response:
    """Ad accounts of the token's business; ids that are not among them are left out."""
    require(caller, Permission.READ_ADS)
    wanted = set(json_list("advertiser_ids", advertiser_ids))
    found = await context_of(request).db.read(lambda tx: store.list_ad_accounts(tx, caller.business_id))
    shown = [_shown(account) for account in found if not wanted or str(account.number) in wanted]
    return api_answer({"list": shown}, request.state.request_id)


@router.get("/oauth2/advertiser/get/")
async def get_advertisers(request: Request, caller: ApiCaller) -> Response:
    """Ids and names of the ad accounts that the token may use."""
    found = await context_of(request).db.read(lambda tx: store.list_ad_accounts(tx, caller.business_id))
    shown = [{"advertiser_id": str(account.number), "advertiser_name": account.name} for account in found]
    return api_answer({"list": shown}, request.state.request_id)


def _shown(account: AdAccount) -> dict[str, Any]:
    return {
        "advertiser_id": str(account.number),
        "name": account.name,
        "country": account.country,
        "currency": account.currency,
        "timezone": account.timezone,
        "status": "STATUS_ENABLE",
        "create_time": int(account.created_at.timestamp()),
    }
