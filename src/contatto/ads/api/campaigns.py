"""Campaigns, ad groups and ads in the API v1.3."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict
from starlette.requests import Request

from contatto.accounts.auth import api_routes, load_advertiser
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.ads import store
from contatto.ads.actions import campaigns as actions
from contatto.ads.model import (
    DIRECT_MESSAGE,
    Ad,
    AdGroup,
    AdNode,
    AgeGroup,
    Audit,
    BidType,
    BillingEvent,
    BudgetMode,
    Campaign,
    ClickWindow,
    EventCount,
    NodeFilter,
    NodeKind,
    Pacing,
    Page,
    ScheduleType,
    Targeting,
    ViewWindow,
)
from contatto.ads.rules import settings
from contatto.ads.rules.settings import secondary_status
from contatto.kit import errors
from contatto.kit.api_types import (
    Amount,
    Answer,
    ApiId,
    ApiModel,
    ApiTime,
    ChosenList,
    IdText,
    JsonText,
    PageInfo,
    PageQuery,
    TextId,
    TimeText,
    api_amount,
    api_time,
    chosen,
    page_info,
)
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.measurement.model import Goal
from contatto.ui.requests import context_of

type StartStatus = Literal["ENABLE", "DISABLE"]
type PrimaryStatus = Literal[
    "STATUS_NOT_DELETE",
    "STATUS_ALL",
    "STATUS_DELETE",
    "STATUS_DELIVERY_OK",
    "STATUS_DISABLE",
    "STATUS_NOT_DELIVERY",
    "STATUS_TIME_DONE",
]
type Ids = Annotated[list[ApiId], Field(min_length=1, max_length=100)]
type FewIds = Annotated[list[ApiId], Field(min_length=1, max_length=20)]
type LocationIds = list[TextId]
type Count = Annotated[int, Field(ge=0, le=1_000_000)]
type Chosen = Annotated[list[TextId], Field(max_length=200)]

_CAMPAIGN: Final[JsonDict] = {
    "advertiser_id": "7000000000000000001",
    "campaign_name": "November",
    "objective_type": "LEAD_GENERATION",
}
_AD_GROUP: Final[JsonDict] = {
    "advertiser_id": "7000000000000000001",
    "campaign_id": "7000000000000000002",
    "adgroup_name": "Singapore",
    "optimization_goal": "LEAD_GENERATION",
    "promotion_type": DIRECT_MESSAGE,
    "billing_event": "OCPM",
    "location_ids": ["1880251"],
    "budget_mode": "BUDGET_MODE_DYNAMIC_DAILY_BUDGET",
    "budget": 50,
    "schedule_type": "SCHEDULE_FROM_NOW",
    "schedule_start_time": "2026-01-01 00:00:00",
}
_ADS: Final[JsonDict] = {
    "advertiser_id": "7000000000000000001",
    "adgroup_id": "7000000000000000003",
    "creatives": [
        {
            "ad_name": "First",
            "ad_text": "Write to us",
            "ad_format": "SINGLE_VIDEO",
            "call_to_action": "SEND_MESSAGE",
            "auto_message_id": "7000000000000000004",
        }
    ],
}
"""Examples of the OpenAPI document; a test runs them."""


class CreateCampaign(ApiModel):
    model_config = ConfigDict(json_schema_extra={"example": _CAMPAIGN})

    advertiser_id: ApiId
    campaign_name: str
    objective_type: Literal["LEAD_GENERATION"]
    budget_mode: BudgetMode = BudgetMode.INFINITE
    budget: Amount | None = None
    operation_status: StartStatus = "ENABLE"


class TargetingShape(ApiModel):
    """Targeting beside locations; an absent field means everybody, and in a patch no change."""

    languages: Chosen | None = None
    age_groups: list[AgeGroup] | None = None
    interest_category_ids: Chosen | None = None
    audience_ids: Chosen | None = None
    excluded_audience_ids: Chosen | None = None

    def targeting(self) -> dict[str, tuple[str, ...]]:
        """Return the parts that were sent, by name."""
        sent = {name: getattr(self, name) for name in Targeting.__dataclass_fields__}
        return {name: tuple(values) for name, values in sent.items() if values is not None}


class CreateAdGroup(TargetingShape):
    """Windows are given both, or neither for 7 days after a click and 1 day after a view."""

    model_config = ConfigDict(json_schema_extra={"example": _AD_GROUP})

    advertiser_id: ApiId
    campaign_id: ApiId
    adgroup_name: str
    optimization_goal: str
    promotion_type: str = DIRECT_MESSAGE
    optimization_event: str | None = None
    identity_id: TextId | None = Field(
        None, description="Extension: the channel account; else the first one that may have the goal."
    )
    location_ids: LocationIds
    billing_event: str | None = None
    bid_type: BidType = BidType.NO_BID
    bid_price: Amount | None = None
    conversion_bid_price: Amount | None = None
    budget_mode: BudgetMode = BudgetMode.DYNAMIC_DAY
    budget: Amount | None = None
    pacing: Pacing = Pacing.SMOOTH
    schedule_type: ScheduleType = ScheduleType.FROM_NOW
    schedule_start_time: ApiTime | None = None
    schedule_end_time: ApiTime | None = None
    click_attribution_window: ClickWindow | None = None
    view_attribution_window: ViewWindow | None = None
    engaged_view_attribution_window: ViewWindow | None = None
    attribution_event_count: EventCount | None = None
    frequency: Count | None = Field(
        None, description="The most views per person in frequency_schedule days (1 to 100). 0 sets no cap."
    )
    frequency_schedule: Count | None = Field(
        None, description="The days of the frequency cap (1 to 28). Send it together with frequency."
    )
    page_id: TextId | None = Field(
        None, description="Extension: the instant form of ads that name none themselves."
    )
    operation_status: StartStatus = "ENABLE"


_AD_FIELDS: Final = {
    "ad_name": "name",
    "ad_text": "text",
    "headline": "headline",
    "identity_id": "channel_account_id",
    "ad_format": "ad_format",
    "call_to_action": "call_to_action",
    "auto_message_id": "auto_message_id",
    "page_id": "page_id",
    "video_id": "video_id",
}
"""Fields of an ad by their names in the API."""


class _CreativeValues(ApiModel):
    def values(self) -> dict[str, Any]:
        """Return the values that were sent, by the fields of an ad."""
        sent = {field: getattr(self, name) for name, field in _AD_FIELDS.items()}
        return {field: value for field, value in sent.items() if value is not None}


class Creative(_CreativeValues):
    ad_name: str
    ad_text: Annotated[str, Field(max_length=1_000)] = ""
    headline: Annotated[str, Field(max_length=100)] = Field(
        "", description="Extension: the line above the text."
    )
    ad_format: Annotated[str, Field(max_length=64)] = "SINGLE_VIDEO"
    call_to_action: str = ""
    auto_message_id: TextId | None = None
    page_id: TextId | None = None
    identity_type: Literal["TT_USER", "BC_AUTH_TT", "CUSTOMIZED_USER", "AUTH_CODE"] | None = None
    identity_id: TextId | None = None
    video_id: Annotated[str, Field(max_length=128)] | None = None
    operation_status: StartStatus = "ENABLE"


class CreateAds(ApiModel):
    model_config = ConfigDict(json_schema_extra={"example": _ADS})

    advertiser_id: ApiId
    adgroup_id: ApiId
    creatives: Annotated[list[Creative], Field(min_length=1, max_length=20)]


class UpdateCampaign(ApiModel):
    """A patch: omitted fields keep their values. ``budget_mode`` and ``objective_type`` cannot be changed."""

    advertiser_id: ApiId
    campaign_id: ApiId
    campaign_name: str | None = None
    budget: Amount | None = None
    budget_mode: BudgetMode | None = None
    objective_type: str | None = None


class UpdateAdGroup(TargetingShape):
    """A patch: omitted fields keep their values. Goal, promotion type, budget mode and windows are fixed."""

    advertiser_id: ApiId
    adgroup_id: ApiId
    adgroup_name: str | None = None
    location_ids: LocationIds | None = None
    budget: Amount | None = None
    bid_type: BidType | None = None
    bid_price: Amount | None = None
    conversion_bid_price: Amount | None = None
    pacing: Pacing | None = None
    schedule_type: ScheduleType | None = None
    schedule_start_time: ApiTime | None = None
    schedule_end_time: ApiTime | None = None
    optimization_goal: str | None = None
    promotion_type: str | None = None
    billing_event: str | None = None
    budget_mode: BudgetMode | None = None
    click_attribution_window: ClickWindow | None = None
    view_attribution_window: ViewWindow | None = None
    engaged_view_attribution_window: ViewWindow | None = None
    attribution_event_count: EventCount | None = None
    frequency: Count | None = Field(
        None, description="The most views per person in frequency_schedule days. 0 ends the frequency cap."
    )
    frequency_schedule: Count | None = None


class ChangedCreative(_CreativeValues):
    """A patch of one ad."""

    ad_id: ApiId
    ad_name: str | None = None
    ad_text: Annotated[str, Field(max_length=1_000)] | None = None
    headline: Annotated[str, Field(max_length=100)] | None = None
    ad_format: Annotated[str, Field(max_length=64)] | None = None
    call_to_action: str | None = None
    auto_message_id: TextId | None = None
    page_id: TextId | None = None
    identity_id: TextId | None = None
    video_id: Annotated[str, Field(max_length=128)] | None = None


class UpdateAds(ApiModel):
    """Ads of one ad group; they are patched with and without ``patch_update``."""

    advertiser_id: ApiId
    adgroup_id: ApiId
    creatives: Annotated[list[ChangedCreative], Field(min_length=1, max_length=20)]


class MoveBody(ApiModel):
    advertiser_id: ApiId
    operation_status: Literal["ENABLE", "DISABLE", "DELETE"]


class MoveCampaigns(MoveBody):
    campaign_ids: FewIds


class MoveAdGroups(MoveBody):
    adgroup_ids: FewIds


class MoveAds(MoveBody):
    ad_ids: FewIds


class Filtering(ApiModel):
    """Ids also select the nodes below them; only the name of the listed kind counts."""

    campaign_ids: Ids | None = None
    adgroup_ids: Ids | None = None
    ad_ids: Ids | None = None
    smart_plus_ad_ids: Ids | None = None
    campaign_name: str = ""
    adgroup_name: str = ""
    ad_name: str = ""
    objective_type: str | None = None
    optimization_goal: str | None = None
    primary_status: PrimaryStatus = "STATUS_NOT_DELETE"


class ListQuery(PageQuery):
    advertiser_id: ApiId
    filtering: JsonText[Filtering | None] = None
    fields: JsonText[list[str] | None] = None


_NAME_FIELDS: Final = {Campaign: "campaign_name", AdGroup: "adgroup_name", Ad: "ad_name"}


def list_page[T: AdNode](
    tx: Tx, kind: type[T], account: AdAccount, query: ListQuery
) -> tuple[list[T], PageInfo]:
    """Return a page of an ad account's campaigns, ad groups or ads, with its place in the whole list."""
    filters = query.filtering or Filtering()
    name = settings.GOAL_ALIASES.get(filters.optimization_goal or "", filters.optimization_goal)
    goals = frozenset(goal for goal, own_name in settings.OPTIMIZATION_GOALS.items() if own_name == name)
    named = (filters.campaign_ids, filters.adgroup_ids, filters.ad_ids or filters.smart_plus_ad_ids)
    campaigns, ad_groups, ads = (None if ids is None else frozenset(ids) for ids in named)
    node_filter = NodeFilter(
        campaigns,
        ad_groups,
        ads,
        name_part=getattr(filters, _NAME_FIELDS[kind]),
        statuses=settings.PRIMARY_STATUSES[filters.primary_status],
        goals=None if name is None else goals,  # an unknown goal selects nothing
    )
    total = store.count_nodes(tx, kind, account.business_id, account.id, node_filter)
    page = Page(query.page, query.page_size)
    nodes = store.list_nodes(tx, kind, account.business_id, account.id, node_filter, page)
    return nodes, page_info(query, total)


OBJECTIVE: Final = "LEAD_GENERATION"


class CampaignInfo(Answer, frozen=True):
    campaign_id: IdText
    advertiser_id: IdText
    campaign_name: str
    objective_type: Literal["LEAD_GENERATION"]
    budget_mode: BudgetMode
    budget: float
    operation_status: settings.Operation
    secondary_status: str
    create_time: TimeText
    modify_time: TimeText


class CampaignList(ChosenList[CampaignInfo], frozen=True):
    """Campaigns, newest first."""


class AdGroupInfo(Answer, frozen=True, kw_only=True):
    adgroup_id: IdText
    adgroup_name: str
    campaign_id: IdText
    campaign_name: str
    advertiser_id: IdText
    identity_id: str
    optimization_goal: str
    promotion_type: str
    optimization_event: Literal["MESSAGE"] | None
    location_ids: list[str]
    languages: list[str]
    age_groups: list[str]
    interest_category_ids: list[str]
    audience_ids: list[str]
    excluded_audience_ids: list[str]
    page_id: str | None
    placement_type: Literal["PLACEMENT_TYPE_NORMAL"]
    placements: list[Literal["PLACEMENT_TIKTOK"]]
    billing_event: BillingEvent
    bid_type: BidType
    conversion_bid_price: float
    budget_mode: BudgetMode
    budget: float
    pacing: Pacing
    schedule_type: ScheduleType
    schedule_start_time: TimeText
    schedule_end_time: TimeText | None
    click_attribution_window: ClickWindow
    view_attribution_window: ViewWindow
    engaged_view_attribution_window: ViewWindow
    attribution_event_count: EventCount
    frequency: int | None
    frequency_schedule: int | None
    operation_status: settings.Operation
    secondary_status: str
    create_time: TimeText
    modify_time: TimeText


class AdGroupList(ChosenList[AdGroupInfo], frozen=True):
    """Ad groups, newest first."""


class AdInfo(Answer, frozen=True, kw_only=True):
    ad_id: IdText
    ad_name: str
    adgroup_id: IdText
    adgroup_name: str
    campaign_id: IdText
    campaign_name: str
    advertiser_id: IdText
    identity_type: Literal["TT_USER"]
    identity_id: str
    ad_format: str
    ad_text: str
    headline: str
    call_to_action: str
    auto_message_id: str | None
    page_id: str | None
    video_id: str | None
    operation_status: settings.Operation
    secondary_status: str
    audit_status: Audit
    reject_reason: str | None
    create_time: TimeText
    modify_time: TimeText


class AdList(ChosenList[AdInfo], frozen=True):
    """Ads, newest first."""


def show_campaign(campaign: Campaign, account: AdAccount) -> CampaignInfo:
    return CampaignInfo(
        campaign_id=str(campaign.number),
        advertiser_id=str(account.number),
        campaign_name=campaign.name,
        objective_type=OBJECTIVE,
        budget_mode=campaign.budget_mode,
        budget=api_amount(campaign.budget_micros) or 0.0,
        operation_status=settings.OPERATION_OF[campaign.status],
        secondary_status=secondary_status("CAMPAIGN", campaign.status, None, None),
        create_time=api_time(campaign.created_at),
        modify_time=api_time(campaign.updated_at),
    )


def show_ad_group(ad_group: AdGroup, campaign: Campaign, account: AdAccount) -> AdGroupInfo:
    countries = [
        settings.LOCATION_IDS[country] for country in ad_group.countries if country in settings.LOCATION_IDS
    ]
    return AdGroupInfo(
        adgroup_id=str(ad_group.number),
        adgroup_name=ad_group.name,
        campaign_id=str(campaign.number),
        campaign_name=campaign.name,
        advertiser_id=str(account.number),
        identity_id=ad_group.channel_account_id,
        optimization_goal=settings.OPTIMIZATION_GOALS[ad_group.goal],
        promotion_type=DIRECT_MESSAGE,
        optimization_event="MESSAGE" if ad_group.goal is Goal.CONVERSATION else None,
        location_ids=list(ad_group.location_ids) or countries,
        **{name: list(getattr(ad_group, name)) for name in Targeting.__dataclass_fields__},
        page_id=ad_group.page_id or None,
        placement_type="PLACEMENT_TYPE_NORMAL",
        placements=["PLACEMENT_TIKTOK"],
        billing_event=BillingEvent.OCPM,
        bid_type=ad_group.bid_type,
        conversion_bid_price=api_amount(ad_group.bid_micros) or 0.0,
        budget_mode=ad_group.budget_mode,
        budget=api_amount(ad_group.budget_micros) or 0.0,
        pacing=ad_group.pacing,
        schedule_type=ScheduleType.START_END if ad_group.ends_at else ScheduleType.FROM_NOW,
        schedule_start_time=api_time(ad_group.starts_at),
        schedule_end_time=api_time(ad_group.ends_at) if ad_group.ends_at else None,
        click_attribution_window=ad_group.click_window,
        view_attribution_window=ad_group.view_window,
        engaged_view_attribution_window=ad_group.engaged_window,
        attribution_event_count=ad_group.event_count,
        frequency=ad_group.frequency,
        frequency_schedule=ad_group.frequency_schedule,
        operation_status=settings.OPERATION_OF[ad_group.status],
        secondary_status=secondary_status("ADGROUP", ad_group.status, None, campaign),
        create_time=api_time(ad_group.created_at),
        modify_time=api_time(ad_group.updated_at),
    )


campaign_router: Final = api_routes("Campaigns", "/campaign")


class MovedCampaigns(Answer, frozen=True):
    status: settings.Operation
    campaign_ids: list[IdText]


@campaign_router.transact("/create/", Permission.WRITE_ADS)
def create_one_campaign(tx: Tx, caller: Caller, body: CreateCampaign) -> CampaignInfo:
    """Make a campaign."""
    account = load_advertiser(tx, caller, body.advertiser_id)
    new = actions.NewCampaign(
        account.id,
        body.campaign_name,
        body.budget_mode,
        body.budget,
        settings.OPERATIONS[body.operation_status],
    )
    return show_campaign(actions.create_campaign(tx, caller.business_id, new), account)


@campaign_router.transact("/update/", Permission.WRITE_ADS)
def update_one_campaign(tx: Tx, caller: Caller, body: UpdateCampaign) -> CampaignInfo:
    """Change the name or the budget of a campaign; omitted fields keep their values."""
    account = load_advertiser(tx, caller, body.advertiser_id)
    before = actions.find_own(tx, Campaign, account, body.campaign_id)
    settings.check_frozen({
        "budget_mode": (body.budget_mode, before.budget_mode),
        "objective_type": (body.objective_type, OBJECTIVE),
    })  # fmt: skip
    changes = actions.CampaignChanges(body.campaign_name, body.budget)
    return show_campaign(actions.update_campaign(tx, account, before.number, changes), account)


@campaign_router.transact("/get/", Permission.READ_ADS)
def get_campaigns(tx: Tx, caller: Caller, query: ListQuery) -> CampaignList:
    """List campaigns, newest first."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    campaigns, page = list_page(tx, Campaign, account, query)
    rows = [show_campaign(campaign, account) for campaign in campaigns]
    return CampaignList(chosen(rows, query.fields), page)


@campaign_router.transact("/status/update/", Permission.WRITE_ADS)
def update_campaign_status(tx: Tx, caller: Caller, body: MoveCampaigns) -> MovedCampaigns:
    """Enable, disable or delete campaigns: all that are named, or none of them. Deletion is final."""
    ids = update_statuses(tx, caller, NodeKind.CAMPAIGN, body, body.campaign_ids)
    return MovedCampaigns(body.operation_status, ids)


def update_statuses(
    tx: Tx, caller: Caller, kind: NodeKind, body: MoveBody, numbers: Sequence[int]
) -> list[str]:
    """Change the status of all nodes that a request names, or of none of them; return their ids."""
    account = load_advertiser(tx, caller, body.advertiser_id)
    actions.change_status(tx, account, kind, numbers, settings.OPERATIONS[body.operation_status])
    return [str(number) for number in numbers]


ad_group_router: Final = api_routes("Ad groups", "/adgroup")


class MovedAdGroups(Answer, frozen=True):
    status: settings.Operation
    adgroup_ids: list[IdText]


@ad_group_router.transact("/create/", Permission.WRITE_ADS)
def create_one_ad_group(tx: Tx, caller: Caller, body: CreateAdGroup) -> AdGroupInfo:
    """Make an ad group.

    The goal Lead is refused where a country check fails (each one is named), and while automatic capture is
    off (the message names the endpoint that turns it on).
    """
    account = load_advertiser(tx, caller, body.advertiser_id)
    campaign = actions.find_own(tx, Campaign, account, body.campaign_id)
    ad_group = actions.create_ad_group(tx, caller.business_id, new_ad_group(body, campaign.id))
    return show_ad_group(ad_group, campaign, account)


def new_ad_group(body: CreateAdGroup, campaign_id: str) -> actions.NewAdGroup:
    goal = settings.goal_of(body.optimization_goal, body.promotion_type)
    if body.billing_event is not None:
        settings.check_allowed("billing_event", body.billing_event, BillingEvent.OCPM)
    if goal is Goal.CONVERSATION and body.optimization_event not in (None, "", "MESSAGE"):
        raise Refused(errors.INVALID, "optimization_event: the goal CONVERSATION allows only MESSAGE.")
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
    return actions.NewAdGroup(
        campaign_id=campaign_id,
        name=body.adgroup_name,
        goal=goal,
        countries=settings.countries_of(body.location_ids),
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
        status=settings.OPERATIONS[body.operation_status],
        page_id=body.page_id or "",
        location_ids=tuple(body.location_ids),
        targeting=Targeting(**body.targeting()),
        frequency=body.frequency,
        frequency_schedule=body.frequency_schedule,
    )


@ad_group_router.transact("/update/", Permission.WRITE_ADS)
def update_one_ad_group(tx: Tx, caller: Caller, body: UpdateAdGroup) -> AdGroupInfo:
    """Change an ad group; omitted fields keep their values.

    Goal, promotion type, billing event, budget mode and attribution windows cannot change: another value is
    refused. The start can change until it has passed.
    """
    account = load_advertiser(tx, caller, body.advertiser_id)
    before = actions.find_own(tx, AdGroup, account, body.adgroup_id)
    goal = settings.GOAL_ALIASES.get(body.optimization_goal or "", body.optimization_goal)
    settings.check_frozen({
        "optimization_goal": (goal, settings.OPTIMIZATION_GOALS[before.goal]),
        "promotion_type": (body.promotion_type, DIRECT_MESSAGE),
        "billing_event": (body.billing_event, BillingEvent.OCPM),
        "budget_mode": (body.budget_mode, before.budget_mode),
        "click_attribution_window": (body.click_attribution_window, before.click_window),
        "view_attribution_window": (body.view_attribution_window, before.view_window),
        "engaged_view_attribution_window": (body.engaged_view_attribution_window, before.engaged_window),
        "attribution_event_count": (body.attribution_event_count, before.event_count),
    })  # fmt: skip
    changes = actions.AdGroupChanges(
        name=body.adgroup_name,
        countries=None if body.location_ids is None else settings.countries_of(body.location_ids),
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
    return show_ad_groups(tx, account, [actions.update_ad_group(tx, account, before.number, changes)])[0]


@ad_group_router.transact("/get/", Permission.READ_ADS)
def get_ad_groups(tx: Tx, caller: Caller, query: ListQuery) -> AdGroupList:
    """List ad groups, newest first."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    ad_groups, page = list_page(tx, AdGroup, account, query)
    return AdGroupList(chosen(show_ad_groups(tx, account, ad_groups), query.fields), page)


def show_ad_groups(tx: Tx, account: AdAccount, ad_groups: list[AdGroup]) -> list[AdGroupInfo]:
    """Return ad groups as the API shows them, with their campaigns."""
    ids = {group.campaign_id for group in ad_groups}
    campaigns = store.load_nodes(tx, Campaign, account.business_id, ids)
    return [show_ad_group(group, campaigns[group.campaign_id], account) for group in ad_groups]


@ad_group_router.transact("/status/update/", Permission.WRITE_ADS)
def update_ad_group_status(tx: Tx, caller: Caller, body: MoveAdGroups) -> MovedAdGroups:
    """Enable, disable or delete ad groups: all that are named, or none of them. Deletion is final."""
    ids = update_statuses(tx, caller, NodeKind.AD_GROUP, body, body.adgroup_ids)
    return MovedAdGroups(body.operation_status, ids)


ad_router: Final = api_routes("Ads", "/ad")


class SavedAds(Answer, frozen=True):
    """The ads that were made or changed, and whether one of them still waits for its audit."""

    ad_ids: list[IdText]
    creatives: list[AdInfo]
    need_audit: bool


class MovedAds(Answer, frozen=True):
    status: settings.Operation
    ad_ids: list[IdText]


@ad_router.transact("/create/", Permission.WRITE_ADS)
def create_some_ads(tx: Tx, caller: Caller, body: CreateAds, request: Request) -> SavedAds:
    """Make the ads of an ad group: all creatives, or none of them."""
    needs_review = context_of(request).settings.needs_ad_review
    account = load_advertiser(tx, caller, body.advertiser_id)
    ad_group = actions.find_own(tx, AdGroup, account, body.adgroup_id)
    ads = []
    for creative in body.creatives:
        settings.check_auto_message(creative.auto_message_id or "")
        status = settings.OPERATIONS[creative.operation_status]
        new = actions.NewAd(ad_group_id=ad_group.id, status=status, **creative.values())
        ads.append(actions.create_ad(tx, caller.business_id, new, needs_review=needs_review))
    return _saved_ads(show_ads(tx, account, ads))


def _saved_ads(ads: list[AdInfo]) -> SavedAds:
    return SavedAds([ad.ad_id for ad in ads], ads, any(ad.audit_status != Audit.PASS for ad in ads))


@ad_router.transact("/update/", Permission.WRITE_ADS)
def update_some_ads(tx: Tx, caller: Caller, body: UpdateAds, request: Request) -> SavedAds:
    """Change ads of one ad group, all of them or none; omitted fields keep their values."""
    needs_review = context_of(request).settings.needs_ad_review
    account = load_advertiser(tx, caller, body.advertiser_id)
    group = actions.find_own(tx, AdGroup, account, body.adgroup_id)
    changed = []
    for creative in body.creatives:
        if actions.find_own(tx, Ad, account, creative.ad_id).ad_group_id != group.id:
            raise Refused(errors.NOT_FOUND, "ad_id: it is not of this ad group.")
        changes = actions.AdChanges(**creative.values())
        changed.append(actions.update_ad(tx, account, creative.ad_id, changes, needs_review=needs_review))
    return _saved_ads(show_ads(tx, account, changed))


@ad_router.transact("/get/", Permission.READ_ADS)
def get_ads(tx: Tx, caller: Caller, query: ListQuery) -> AdList:
    """List ads, newest first."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    ads, page = list_page(tx, Ad, account, query)
    return AdList(chosen(show_ads(tx, account, ads), query.fields), page)


def show_ads(tx: Tx, account: AdAccount, ads: list[Ad]) -> list[AdInfo]:
    """Return ads as the API shows them, with their ad groups and campaigns."""
    campaigns = store.load_nodes(tx, Campaign, account.business_id, {ad.campaign_id for ad in ads})
    groups = store.load_nodes(tx, AdGroup, account.business_id, {ad.ad_group_id for ad in ads})
    rows = []
    for ad in ads:
        group, campaign = groups[ad.ad_group_id], campaigns[ad.campaign_id]
        info = AdInfo(
            ad_id=str(ad.number),
            ad_name=ad.name,
            adgroup_id=str(group.number),
            adgroup_name=group.name,
            campaign_id=str(campaign.number),
            campaign_name=campaign.name,
            advertiser_id=str(account.number),
            identity_type="TT_USER",
            identity_id=ad.channel_account_id,
            ad_format=ad.ad_format,
            ad_text=ad.text,
            headline=ad.headline,
            call_to_action=ad.call_to_action,
            auto_message_id=ad.auto_message_id or None,
            page_id=ad.page_id or None,
            video_id=ad.video_id or None,
            operation_status=settings.OPERATION_OF[ad.status],
            secondary_status=secondary_status("AD", ad.status, group, campaign, ad.audit),
            audit_status=ad.audit,
            reject_reason=ad.audit_reason or None,
            create_time=api_time(ad.created_at),
            modify_time=api_time(ad.updated_at),
        )
        rows.append(info)
    return rows


@ad_router.transact("/status/update/", Permission.WRITE_ADS)
def update_ad_status(tx: Tx, caller: Caller, body: MoveAds) -> MovedAds:
    """Enable, disable or delete ads: all that are named, or none of them. Deletion is final."""
    return MovedAds(body.operation_status, update_statuses(tx, caller, NodeKind.AD, body, body.ad_ids))
