"""Campaigns, ad groups and ads in the API v1.3."""

from typing import Final

from starlette.requests import Request

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller, api_routes
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.ads import store
from contatto.ads.actions.campaigns import (
    AdChanges,
    AdGroupChanges,
    CampaignChanges,
    NewAd,
    NewAdGroup,
    NewCampaign,
    change_ad_group_status,
    change_ad_status,
    change_campaign_status,
    create_ad,
    create_ad_group,
    create_campaign,
    find_own_ad,
    find_own_ad_group,
    find_own_campaign,
    update_ad,
    update_ad_group,
    update_campaign,
)
from contatto.ads.api.schemas import (
    OBJECTIVE,
    AdGroupInfo,
    AdGroupList,
    AdInfo,
    AdList,
    CampaignInfo,
    CampaignList,
    ChangedCreative,
    CreateAdGroup,
    CreateAds,
    CreateCampaign,
    Creative,
    ListQuery,
    MoveAdGroups,
    MoveAds,
    MoveCampaigns,
    UpdateAdGroup,
    UpdateAds,
    UpdateCampaign,
    node_filter_of,
    page_of,
    show_ad,
    show_ad_group,
    show_campaign,
)
from contatto.ads.model import Ad, AdGroup, Audit, EventCount, ScheduleType, Targeting, ViewWindow
from contatto.ads.rules.goals import (
    GOAL_ALIASES,
    OPERATIONS,
    OPTIMIZATION_GOALS,
    Operation,
    check_billing,
    check_event,
    goal_of,
)
from contatto.ads.rules.settings import check_auto_message, check_frozen
from contatto.ads.rules.targeting import countries_of
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
from contatto.ui.context import context_of

campaign_router: Final = api_routes("Campaigns", "/campaign")


class MovedCampaigns(Answer, frozen=True):
    status: Operation
    campaign_ids: list[IdText]


@campaign_router.post("/create/", Permission.WRITE_ADS)
async def create_one_campaign(
    request: Request, caller: ApiCaller, body: CreateCampaign
) -> Answered[CampaignInfo]:
    """Make a campaign."""

    def work(tx: Tx) -> CampaignInfo:
        account = load_advertiser(tx, caller, body.advertiser_id)
        new = NewCampaign(
            account.id, body.campaign_name, body.budget_mode, body.budget, OPERATIONS[body.operation_status]
        )
        return show_campaign(create_campaign(tx, caller.business_id, new), account)

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


@campaign_router.post("/update/", Permission.WRITE_ADS)
async def update_one_campaign(
    request: Request, caller: ApiCaller, body: UpdateCampaign
) -> Answered[CampaignInfo]:
    """Change the name or the budget of a campaign; omitted fields keep their values."""

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


@campaign_router.get("/get/", Permission.READ_ADS, openapi_extra=describe_query(ListQuery))
async def get_campaigns(request: Request, caller: ApiCaller) -> Answered[CampaignList]:
    """List campaigns, newest first."""
    query = read_query(request, ListQuery)

    def work(tx: Tx) -> CampaignList:
        account = load_advertiser(tx, caller, query.advertiser_id)
        node_filter = node_filter_of(query.filtering, "campaign_name")
        total = store.count_campaigns(tx, caller.business_id, account.id, node_filter)
        campaigns = store.list_campaigns(tx, caller.business_id, account.id, node_filter, page_of(query))
        rows = [show_campaign(campaign, account) for campaign in campaigns]
        return CampaignList(chosen(rows, query.fields), page_info(query, total))

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


@campaign_router.post("/status/update/", Permission.WRITE_ADS)
async def update_campaign_status(
    request: Request, caller: ApiCaller, body: MoveCampaigns
) -> Answered[MovedCampaigns]:
    """Enable, disable or delete campaigns: all that are named, or none of them. Deletion is final."""

    def work(tx: Tx) -> None:
        account = load_advertiser(tx, caller, body.advertiser_id)
        change_campaign_status(tx, account, body.campaign_ids, OPERATIONS[body.operation_status])

    await context_of(request).db.write(work)
    data = MovedCampaigns(body.operation_status, [str(number) for number in body.campaign_ids])
    return api_answer(data, request_id_of(request))


ad_group_router: Final = api_routes("Ad groups", "/adgroup")


class MovedAdGroups(Answer, frozen=True):
    status: Operation
    adgroup_ids: list[IdText]


@ad_group_router.post("/create/", Permission.WRITE_ADS)
async def create_one_ad_group(
    request: Request, caller: ApiCaller, body: CreateAdGroup
) -> Answered[AdGroupInfo]:
    """Make an ad group.

    The goal Lead is refused where a country check fails (each one is named), and while automatic capture is
    off (the message names the endpoint that turns it on).
    """

    def work(tx: Tx) -> AdGroupInfo:
        account = load_advertiser(tx, caller, body.advertiser_id)
        campaign = find_own_campaign(tx, account, body.campaign_id)
        ad_group = create_ad_group(tx, caller.business_id, new_ad_group(body, campaign.id))
        return show_ad_group(ad_group, campaign, account)

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


def new_ad_group(body: CreateAdGroup, campaign_id: str) -> NewAdGroup:
    goal = goal_of(body.optimization_goal, body.promotion_type)
    check_billing(goal, body.billing_event)
    check_event(goal, body.optimization_event)
    windows = (body.click_attribution_window, body.view_attribution_window)
    if body.engaged_view_attribution_window is not None and None in windows:
        raise Refused(
            errors.INVALID,
            "engaged_view_attribution_window: it goes with click_attribution_window and "
            "view_attribution_window; send all three.",
        )
    ends_at = body.schedule_end_time if body.schedule_type is ScheduleType.START_END else None
    if ends_at is None and body.schedule_type is ScheduleType.START_END:
        raise Refused(errors.INVALID, "schedule_end_time: required with SCHEDULE_START_END.")
    return NewAdGroup(
        campaign_id=campaign_id,
        name=body.adgroup_name,
        goal=goal,
        countries=countries_of(body.location_ids),
        channel_account_id=body.identity_id,
        budget_mode=body.budget_mode,
        budget_micros=body.budget,
        bid_type=body.bid_type,
        bid_micros=body.conversion_bid_price,
        pacing=body.pacing,
        starts_at=body.schedule_start_time,
        ends_at=ends_at,
        click_window=body.click_attribution_window,
        view_window=body.view_attribution_window,
        engaged_window=body.engaged_view_attribution_window or ViewWindow.OFF,
        event_count=body.attribution_event_count or EventCount.UNSET,
        status=OPERATIONS[body.operation_status],
        page_id=body.page_id or "",
        location_ids=tuple(body.location_ids),
        targeting=Targeting(**body.targeting()),
        frequency=body.frequency,
        frequency_schedule=body.frequency_schedule,
    )


@ad_group_router.post("/update/", Permission.WRITE_ADS)
async def update_one_ad_group(
    request: Request, caller: ApiCaller, body: UpdateAdGroup
) -> Answered[AdGroupInfo]:
    """Change an ad group; omitted fields keep their values.

    Goal, promotion type, billing event, budget mode and attribution windows stay as they were made: another
    value for one of them is refused. The start can be moved until it has come.
    """

    def work(tx: Tx) -> AdGroupInfo:
        return patch_ad_group(tx, caller, body)

    return api_answer(await context_of(request).db.write(work), request_id_of(request))


def patch_ad_group(tx: Tx, caller: Caller, body: UpdateAdGroup) -> AdGroupInfo:
    """Change an ad group as the body says, and show it."""
    account = load_advertiser(tx, caller, body.advertiser_id)
    before = find_own_ad_group(tx, account, body.adgroup_id)
    goal = GOAL_ALIASES.get(body.optimization_goal or "", body.optimization_goal)
    frozen = {
        "optimization_goal": (goal, OPTIMIZATION_GOALS[before.goal]),
        "promotion_type": (body.promotion_type, before.promotion_type),
        "billing_event": (body.billing_event, before.billing_event),
        "budget_mode": (body.budget_mode, before.budget_mode),
        "click_attribution_window": (body.click_attribution_window, before.click_window),
        "view_attribution_window": (body.view_attribution_window, before.view_window),
        "engaged_view_attribution_window": (body.engaged_view_attribution_window, before.engaged_window),
        "attribution_event_count": (body.attribution_event_count, before.event_count),
    }
    check_frozen(frozen)
    changed = update_ad_group(tx, account, before.number, _ad_group_changes(body))
    above = store.load_campaigns(tx, caller.business_id, {changed.campaign_id})
    return show_ad_group(changed, above[changed.campaign_id], account)


def _ad_group_changes(body: UpdateAdGroup) -> AdGroupChanges:
    return AdGroupChanges(
        name=body.adgroup_name,
        countries=None if body.location_ids is None else countries_of(body.location_ids),
        budget_micros=body.budget,
        bid_type=body.bid_type,
        bid_micros=body.conversion_bid_price,
        pacing=body.pacing,
        schedule_type=body.schedule_type,
        starts_at=body.schedule_start_time,
        ends_at=body.schedule_end_time,
        location_ids=tuple(body.location_ids or ()),
        targeting=body.targeting(),
        frequency=body.frequency,
        frequency_schedule=body.frequency_schedule,
    )


@ad_group_router.get("/get/", Permission.READ_ADS, openapi_extra=describe_query(ListQuery))
async def get_ad_groups(request: Request, caller: ApiCaller) -> Answered[AdGroupList]:
    """List ad groups, newest first."""
    query = read_query(request, ListQuery)

    def work(tx: Tx) -> AdGroupList:
        account = load_advertiser(tx, caller, query.advertiser_id)
        rows, total = list_rows(tx, account, query)
        return AdGroupList(chosen(rows, query.fields), page_info(query, total))

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def list_rows(tx: Tx, account: AdAccount, query: ListQuery) -> tuple[list[AdGroupInfo], int]:
    """Return the ad groups of a page of the list, as they are shown, and how many there are in all."""
    node_filter = node_filter_of(query.filtering, "adgroup_name")
    total = store.count_ad_groups(tx, account.business_id, account.id, node_filter)
    ad_groups = store.list_ad_groups(tx, account.business_id, account.id, node_filter, page_of(query))
    above = store.load_campaigns(tx, account.business_id, {one.campaign_id for one in ad_groups})
    return [show_ad_group(one, above[one.campaign_id], account) for one in ad_groups], total


@ad_group_router.post("/status/update/", Permission.WRITE_ADS)
async def update_ad_group_status(
    request: Request, caller: ApiCaller, body: MoveAdGroups
) -> Answered[MovedAdGroups]:
    """Enable, disable or delete ad groups: all that are named, or none of them. Deletion is final."""

    def work(tx: Tx) -> None:
        account = load_advertiser(tx, caller, body.advertiser_id)
        change_ad_group_status(tx, account, body.adgroup_ids, OPERATIONS[body.operation_status])

    await context_of(request).db.write(work)
    data = MovedAdGroups(body.operation_status, [str(number) for number in body.adgroup_ids])
    return api_answer(data, request_id_of(request))


ad_router: Final = api_routes("Ads", "/ad")


class SavedAds(Answer, frozen=True):
    """The ads that were made or changed, and whether one of them still waits for its audit."""

    ad_ids: list[IdText]
    creatives: list[AdInfo]
    need_audit: bool


class MovedAds(Answer, frozen=True):
    status: Operation
    ad_ids: list[IdText]


@ad_router.post("/create/", Permission.WRITE_ADS)
async def create_some_ads(request: Request, caller: ApiCaller, body: CreateAds) -> Answered[SavedAds]:
    """Make the ads of an ad group: all creatives, or none of them."""
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


@ad_router.post("/update/", Permission.WRITE_ADS)
async def update_some_ads(request: Request, caller: ApiCaller, body: UpdateAds) -> Answered[SavedAds]:
    """Change ads of one ad group, all of them or none; omitted fields keep their values."""
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


@ad_router.get("/get/", Permission.READ_ADS, openapi_extra=describe_query(ListQuery))
async def get_ads(request: Request, caller: ApiCaller) -> Answered[AdList]:
    """List ads, newest first."""
    query = read_query(request, ListQuery)

    def work(tx: Tx) -> AdList:
        account = load_advertiser(tx, caller, query.advertiser_id)
        node_filter = node_filter_of(query.filtering, "ad_name")
        total = store.count_ads(tx, caller.business_id, account.id, node_filter)
        ads = store.list_ads(tx, caller.business_id, account.id, node_filter, page_of(query))
        rows = show_ads(tx, account, ads)
        return AdList(chosen(rows, query.fields), page_info(query, total))

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def show_ads(tx: Tx, account: AdAccount, ads: list[Ad]) -> list[AdInfo]:
    """Return ads as the API shows them, with their ad groups and campaigns."""
    campaigns = store.load_campaigns(tx, account.business_id, {ad.campaign_id for ad in ads})
    groups = store.load_ad_groups(tx, account.business_id, {ad.ad_group_id for ad in ads})
    return [show_ad(ad, groups[ad.ad_group_id], campaigns[ad.campaign_id], account) for ad in ads]


@ad_router.post("/status/update/", Permission.WRITE_ADS)
async def update_ad_status(request: Request, caller: ApiCaller, body: MoveAds) -> Answered[MovedAds]:
    """Enable, disable or delete ads: all that are named, or none of them. Deletion is final."""

    def work(tx: Tx) -> None:
        account = load_advertiser(tx, caller, body.advertiser_id)
        change_ad_status(tx, account, body.ad_ids, OPERATIONS[body.operation_status])

    await context_of(request).db.write(work)
    data = MovedAds(body.operation_status, [str(number) for number in body.ad_ids])
    return api_answer(data, request_id_of(request))
