"""Smart+ campaigns and ad groups in the API v1.3: the same things, made safely with a ``request_id``."""

from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.ads.actions.ad_groups import check_room, create_ad_group
from contatto.ads.actions.campaigns import NewCampaign, create_campaign, find_own_campaign
from contatto.ads.api.ad_groups import (
    list_rows,
    new_ad_group,
    patch_ad_group,
    update_ad_group_status,
)
from contatto.ads.api.answers import show_ad_group, show_campaign
from contatto.ads.api.campaigns import get_campaigns, update_campaign_status, update_one_campaign
from contatto.ads.api.schemas import ListQuery
from contatto.ads.api.smart_schemas import SmartAdGroup, SmartCampaign, UpdateSmartAdGroup
from contatto.ads.model import Targeting
from contatto.ads.rules.statuses import OPERATIONS
from contatto.kit.api_types import chosen, describe_query, page_info, read_query, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.http import api_answer
from contatto.kit.idempotency import IdempotencyKey, answer_once
from contatto.ui.context import context_of

router: Final = APIRouter(prefix="/open_api/v1.3/smart_plus", tags=["Smart+"])


@router.post("/campaign/create/")
async def create_smart_campaign(request: Request, caller: ApiCaller, body: SmartCampaign) -> Response:
    """Make a campaign, once for each ``request_id``."""
    require(caller, Permission.WRITE_ADS)
    key = IdempotencyKey(caller.business_id, request.url.path, body.request_id or "")

    def work(tx: Tx) -> dict[str, Any]:
        account = load_advertiser(tx, caller, body.advertiser_id)
        status = OPERATIONS[body.operation_status]
        new = NewCampaign(account.id, body.campaign_name, body.budget_mode, body.budget, status)

        def make() -> dict[str, Any]:
            return show_campaign(create_campaign(tx, caller.business_id, new), account)

        return answer_once(tx, key, body.model_dump_json(), make)

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


@router.post("/adgroup/create/")
async def create_smart_ad_group(request: Request, caller: ApiCaller, body: SmartAdGroup) -> Response:
    """Make an ad group, once for each ``request_id``; a campaign has at most 30.

    Target countries and all other targeting stand in ``targeting_spec``. The conditions of the goal are the
    same as in ``/adgroup/create/``.
    """
    require(caller, Permission.WRITE_ADS)
    key = IdempotencyKey(caller.business_id, request.url.path, body.request_id or "")

    def work(tx: Tx) -> dict[str, Any]:
        account = load_advertiser(tx, caller, body.advertiser_id)
        campaign = find_own_campaign(tx, account, body.campaign_id)

        def make() -> dict[str, Any]:
            check_room(tx, campaign)
            made = create_ad_group(tx, caller.business_id, new_ad_group(body.plain(), campaign.id))
            return _shown(show_ad_group(made, campaign, account))

        return answer_once(tx, key, body.model_dump_json(), make)

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


@router.post("/adgroup/update/")
async def update_smart_ad_group(request: Request, caller: ApiCaller, body: UpdateSmartAdGroup) -> Response:
    """Change an ad group; what is not sent stays."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> dict[str, Any]:
        return _shown(patch_ad_group(tx, caller, body.plain()))

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


@router.get("/adgroup/get/", openapi_extra=describe_query(ListQuery))
async def get_smart_ad_groups(request: Request, caller: ApiCaller) -> Response:
    """List ad groups, newest first."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, ListQuery)

    def work(tx: Tx) -> dict[str, Any]:
        account = load_advertiser(tx, caller, query.advertiser_id)
        rows, total = list_rows(tx, account, query)
        shown = [_shown(row) for row in rows]
        return {"list": chosen(shown, query.fields), "page_info": page_info(query, total)}

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def _shown(ad_group: dict[str, Any]) -> dict[str, Any]:
    names = ("location_ids", *Targeting.__dataclass_fields__)
    return ad_group | {"targeting_spec": {name: ad_group[name] for name in names}}


router.add_api_route("/campaign/update/", update_one_campaign, methods=["POST"])
router.add_api_route("/campaign/status/update/", update_campaign_status, methods=["POST"])
router.add_api_route(
    "/campaign/get/", get_campaigns, methods=["GET"], openapi_extra=describe_query(ListQuery)
)
router.add_api_route("/adgroup/status/update/", update_ad_group_status, methods=["POST"])
