"""The API's own view of ad accounts."""

from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from contatto.accounts import store
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import AdAccount, Permission
from contatto.accounts.rules import require
from contatto.kit.context import context_of
from contatto.kit.http import api_answer
from contatto.kit.wire import JsonText, Shape, TextId, chosen, describe_query, read_query, request_id_of

router: Final = APIRouter(prefix="/open_api/v1.3", tags=["Accounts"])


class InfoQuery(Shape):
    """Ids that are not of the token's business are left out; without ids all ad accounts are shown."""

    advertiser_ids: JsonText[tuple[TextId, ...]] = ()
    fields: JsonText[tuple[str, ...]] = Field((), description="The fields to show; all when none is named.")


@router.get("/advertiser/info/", openapi_extra=describe_query(InfoQuery))
async def get_advertiser_info(request: Request, caller: ApiCaller) -> Response:
    """Show ad accounts with their registration country, currency and time zone."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, InfoQuery)
    wanted = set(query.advertiser_ids)
    found = await context_of(request).db.read(lambda tx: store.list_ad_accounts(tx, caller.business_id))
    rows = [_shown(account) for account in found if not wanted or str(account.number) in wanted]
    return api_answer({"list": chosen(rows, query.fields)}, request_id_of(request))


@router.get("/oauth2/advertiser/get/")
async def get_advertisers(request: Request, caller: ApiCaller) -> Response:
    """Ids and names of the ad accounts that the token may use."""
    found = await context_of(request).db.read(lambda tx: store.list_ad_accounts(tx, caller.business_id))
    shown = [{"advertiser_id": str(account.number), "advertiser_name": account.name} for account in found]
    return api_answer({"list": shown}, request_id_of(request))


def _shown(account: AdAccount) -> dict[str, Any]:
    return {
        "advertiser_id": str(account.number),
        "name": account.name,
        "company": account.name,
        "country": account.country,
        "currency": account.currency,
        "timezone": account.timezone,
        "display_timezone": account.timezone,
        "role": "ROLE_ADVERTISER",
        "status": "STATUS_ENABLE",
        "create_time": int(account.created_at.timestamp()),
    }
