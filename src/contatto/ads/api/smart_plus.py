"""Smart+ campaigns and ad groups in the API v1.3: the same things, made safely with a ``request_id``."""

from typing import Final

from msgspec.structs import asdict
from starlette.requests import Request

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
from contatto.ads.api.answers import AdGroupInfo, CampaignInfo, show_ad_group, show_campaign
from contatto.ads.api.campaigns import get_campaigns, update_campaign_status, update_one_campaign
from contatto.ads.api.schemas import ListQuery, SmartAdGroup, SmartCampaign, UpdateSmartAdGroup
from contatto.ads.rules.delivering import OPERATIONS
from contatto.kit.api_types import (
    Answer,
    ChosenList,
    chosen,
    describe_query,
    page_info,
    read_query,
    request_id_of,
)
from contatto.kit.db.tx import Tx
from contatto.kit.http import Answered, IdempotencyKey, answer_once, api_answer
from contatto.kit.openapi import ApiRouter
from contatto.ui.context import context_of

router: Final = ApiRouter(prefix="/open_api/v1.3/smart_plus", tags=["Smart+"])


class TargetingInfo(Answer, frozen=True):
    location_ids: list[str]
    languages: list[str]
    age_groups: list[str]
    interest_category_ids: list[str]
    audience_ids: list[str]
    excluded_audience_ids: list[str]


class SmartAdGroupInfo(AdGroupInfo, frozen=True, kw_only=True):
    """An ad group, whose targeting also stands in ``targeting_spec``."""

    targeting_spec: TargetingInfo


class SmartAdGroupList(ChosenList[SmartAdGroupInfo], frozen=True):
    """Ad groups, newest first."""


@router.post("/campaign/create/")
async def create_smart_campaign(
    request: Request, caller: ApiCaller, body: SmartCampaign
) -> Answered[CampaignInfo]:
    """Make a campaign, once for each ``request_id``."""
    require(caller, Permission.WRITE_ADS)
    key = IdempotencyKey(caller.business_id, request.url.path, body.request_id or "")

    def work(tx: Tx) -> CampaignInfo:
        account = load_advertiser(tx, caller, body.advertiser_id)
        status = OPERATIONS[body.operation_status]
        new = NewCampaign(account.id, body.campaign_name, body.budget_mode, body.budget, status)

        def make() -> CampaignInfo:
            return show_campaign(create_campaign(tx, caller.business_id, new), account)

        return answer_once(tx, key, body.model_dump_json(), CampaignInfo, make)

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


@router.post("/adgroup/create/")
async def create_smart_ad_group(
    request: Request, caller: ApiCaller, body: SmartAdGroup
) -> Answered[SmartAdGroupInfo]:
    """Make an ad group, once for each ``request_id``; a campaign has at most 30.

    Target countries and all other targeting stand in ``targeting_spec``. The conditions of the goal are the
    same as in ``/adgroup/create/``.
    """
    require(caller, Permission.WRITE_ADS)
    key = IdempotencyKey(caller.business_id, request.url.path, body.request_id or "")

    def work(tx: Tx) -> SmartAdGroupInfo:
        account = load_advertiser(tx, caller, body.advertiser_id)
        campaign = find_own_campaign(tx, account, body.campaign_id)

        def make() -> SmartAdGroupInfo:
            check_room(tx, campaign)
            ad_group = create_ad_group(tx, caller.business_id, new_ad_group(body.plain(), campaign.id))
            return _show_smart_ad_group(show_ad_group(ad_group, campaign, account))

        return answer_once(tx, key, body.model_dump_json(), SmartAdGroupInfo, make)

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


@router.post("/adgroup/update/")
async def update_smart_ad_group(
    request: Request, caller: ApiCaller, body: UpdateSmartAdGroup
) -> Answered[SmartAdGroupInfo]:
    """Change an ad group; what is not sent stays."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> SmartAdGroupInfo:
        return _show_smart_ad_group(patch_ad_group(tx, caller, body.plain()))

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


@router.get("/adgroup/get/", openapi_extra=describe_query(ListQuery))
async def get_smart_ad_groups(request: Request, caller: ApiCaller) -> Answered[SmartAdGroupList]:
    """List ad groups, newest first."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, ListQuery)

    def work(tx: Tx) -> SmartAdGroupList:
        account = load_advertiser(tx, caller, query.advertiser_id)
        rows, total = list_rows(tx, account, query)
        shown = [_show_smart_ad_group(row) for row in rows]
        return SmartAdGroupList(chosen(shown, query.fields), page_info(query, total))

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def _show_smart_ad_group(ad_group: AdGroupInfo) -> SmartAdGroupInfo:
    spec = TargetingInfo(*(getattr(ad_group, name) for name in TargetingInfo.__struct_fields__))
    return SmartAdGroupInfo(**asdict(ad_group), targeting_spec=spec)


router.add_api_route("/campaign/update/", update_one_campaign, methods=["POST"])
router.add_api_route("/campaign/status/update/", update_campaign_status, methods=["POST"])
router.add_api_route(
    "/campaign/get/", get_campaigns, methods=["GET"], openapi_extra=describe_query(ListQuery)
)
router.add_api_route("/adgroup/status/update/", update_ad_group_status, methods=["POST"])
