"""Ads in the API v1.3."""

from typing import Final

from starlette.requests import Request

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import AdAccount, Permission
from contatto.accounts.rules import require
from contatto.ads import store
from contatto.ads.actions.ad_groups import find_own_ad_group
from contatto.ads.actions.ads import AdChanges, NewAd, change_ad_status, create_ad, find_own_ad, update_ad
from contatto.ads.api.answers import AdInfo, AdList, show_ad
from contatto.ads.api.schemas import (
    ChangedCreative,
    CreateAds,
    Creative,
    ListQuery,
    MoveAds,
    UpdateAds,
    page_of,
    wanted_of,
)
from contatto.ads.model import Ad, AdGroup, Audit
from contatto.ads.rules.delivering import OPERATIONS, Operation
from contatto.ads.rules.settings import check_auto_message
from contatto.kit import errors
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
from contatto.kit.errors import Refused
from contatto.kit.http import Answered, api_answer
from contatto.kit.openapi import ApiRouter
from contatto.ui.context import context_of

ad_router: Final = ApiRouter(prefix="/open_api/v1.3/ad", tags=["Ads"])


class SavedAds(Answer, frozen=True):
    """The ads that were made or changed, and whether one of them still waits for its audit."""

    ad_ids: list[IdText]
    creatives: list[AdInfo]
    need_audit: bool


class MovedAds(Answer, frozen=True):
    status: Operation
    ad_ids: list[IdText]


@ad_router.post("/create/")
async def create_some_ads(request: Request, caller: ApiCaller, body: CreateAds) -> Answered[SavedAds]:
    """Make the ads of an ad group: all creatives, or none of them."""
    require(caller, Permission.WRITE_ADS)
    needs_review = context_of(request).settings.needs_ad_review

    def work(tx: Tx) -> list[AdInfo]:
        account = load_advertiser(tx, caller, body.advertiser_id)
        ad_group = find_own_ad_group(tx, account, body.adgroup_id)
        news = [_new_ad(creative, ad_group.id) for creative in body.creatives]
        ads = [create_ad(tx, caller.business_id, new, needs_review=needs_review) for new in news]
        return show_ads(tx, account, ads)

    new_ads = await context_of(request).db.write(work)
    data = SavedAds([ad.ad_id for ad in new_ads], new_ads, needs_review)
    return api_answer(data, request_id_of(request))


def _new_ad(creative: Creative, ad_group_id: str) -> NewAd:
    return NewAd(
        ad_group_id=ad_group_id,
        name=creative.ad_name,
        text=creative.ad_text,
        headline=creative.headline,
        channel_account_id=creative.identity_id,
        ad_format=creative.ad_format,
        call_to_action=creative.call_to_action,
        auto_message_id=check_auto_message(creative.auto_message_id or ""),
        page_id=creative.page_id or "",
        video_id=creative.video_id or "",
        status=OPERATIONS[creative.operation_status],
    )


@ad_router.post("/update/")
async def update_some_ads(request: Request, caller: ApiCaller, body: UpdateAds) -> Answered[SavedAds]:
    """Change ads of one ad group, all that are named or none of them; what is not sent stays."""
    require(caller, Permission.WRITE_ADS)
    needs_review = context_of(request).settings.needs_ad_review

    def work(tx: Tx) -> list[AdInfo]:
        account = load_advertiser(tx, caller, body.advertiser_id)
        group = find_own_ad_group(tx, account, body.adgroup_id)
        changes = [(change.ad_id, _ad_changes(tx, account, group, change)) for change in body.creatives]
        changed = [update_ad(tx, account, *change, needs_review=needs_review) for change in changes]
        return show_ads(tx, account, changed)

    updated_ads = await context_of(request).db.write(work)
    audited = any(ad.audit_status != Audit.PASS for ad in updated_ads)
    data = SavedAds([ad.ad_id for ad in updated_ads], updated_ads, audited)
    return api_answer(data, request_id_of(request))


def _ad_changes(tx: Tx, account: AdAccount, group: AdGroup, creative: ChangedCreative) -> AdChanges:
    if find_own_ad(tx, account, creative.ad_id).ad_group_id != group.id:
        raise Refused(errors.NOT_FOUND, "ad_id: it is not of this ad group.")
    return AdChanges(
        name=creative.ad_name,
        text=creative.ad_text,
        headline=creative.headline,
        channel_account_id=creative.identity_id,
        ad_format=creative.ad_format,
        call_to_action=creative.call_to_action,
        auto_message_id=creative.auto_message_id,
        page_id=creative.page_id,
        video_id=creative.video_id,
    )


@ad_router.get("/get/", openapi_extra=describe_query(ListQuery))
async def get_ads(request: Request, caller: ApiCaller) -> Answered[AdList]:
    """List ads, newest first."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, ListQuery)

    def work(tx: Tx) -> AdList:
        account = load_advertiser(tx, caller, query.advertiser_id)
        node_filter = wanted_of(query.filtering, "ad_name")
        total = store.count_ads(tx, caller.business_id, account.id, node_filter)
        ads = store.list_ads(tx, caller.business_id, account.id, node_filter, page_of(query))
        rows = show_ads(tx, account, ads)
        return AdList(chosen(rows, query.fields), page_info(query, total))

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def show_ads(tx: Tx, account: AdAccount, ads: list[Ad]) -> list[AdInfo]:
    """Ads as the API shows them, with what is above each."""
    campaigns = store.load_campaigns(tx, account.business_id, {ad.campaign_id for ad in ads})
    groups = store.load_ad_groups(tx, account.business_id, {ad.ad_group_id for ad in ads})
    return [show_ad(ad, groups[ad.ad_group_id], campaigns[ad.campaign_id], account) for ad in ads]


@ad_router.post("/status/update/")
async def update_ad_status(request: Request, caller: ApiCaller, body: MoveAds) -> Answered[MovedAds]:
    """Enable, disable or delete ads: all that are named, or none of them. Deletion is final."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> None:
        account = load_advertiser(tx, caller, body.advertiser_id)
        change_ad_status(tx, account, body.ad_ids, OPERATIONS[body.operation_status])

    await context_of(request).db.write(work)
    data = MovedAds(body.operation_status, [str(number) for number in body.ad_ids])
    return api_answer(data, request_id_of(request))
