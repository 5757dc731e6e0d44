"""Bodies, queries and responses of the ads API."""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, UnsetType
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from contatto.accounts.model import AdAccount
from contatto.ads.model import (
    DIRECT_MESSAGE,
    Ad,
    AdGroup,
    AgeGroup,
    Audit,
    BidType,
    BillingEvent,
    BudgetMode,
    Campaign,
    ClickWindow,
    EventCount,
    NodeFilter,
    Pacing,
    Page,
    ScheduleType,
    Targeting,
    ViewWindow,
)
from contatto.ads.rules.goals import (
    GOAL_ALIASES,
    OPERATION_OF,
    OPTIMIZATION_GOALS,
    PRIMARY_STATUSES,
    Operation,
    secondary_status,
)
from contatto.ads.rules.targeting import location_ids_of
from contatto.kit.api_types import (
    Amount,
    Answer,
    ApiId,
    ApiModel,
    ApiTime,
    ChosenList,
    IdText,
    JsonText,
    PageQuery,
    TextId,
    TimeText,
    api_amount,
    api_time,
)
from contatto.measurement.model import Goal

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
type Fields = JsonText[list[str] | None]
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


class Creative(ApiModel):
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


class ChangedCreative(ApiModel):
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


class _Move(ApiModel):
    advertiser_id: ApiId
    operation_status: Literal["ENABLE", "DISABLE", "DELETE"]


class MoveCampaigns(_Move):
    campaign_ids: FewIds


class MoveAdGroups(_Move):
    adgroup_ids: FewIds


class MoveAds(_Move):
    ad_ids: FewIds


class Filtering(ApiModel):
    """Ids select all that is under them; the name is that of the list's own kind."""

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
    fields: Fields = None


class EligibilityQuery(ApiModel):
    """Target countries are given as location ids, as country codes, or as both."""

    advertiser_id: ApiId
    identity_id: TextId | None = None
    optimization_goal: str = "LEAD_GENERATION"
    promotion_type: str = DIRECT_MESSAGE
    location_ids: JsonText[tuple[TextId, ...]] = ()
    countries: JsonText[tuple[Annotated[str, Field(min_length=2, max_length=3)], ...]] = ()


type RequestId = Annotated[TextId, Field(max_length=64)]
type AtMostOne[T] = Annotated[list[T], Field(max_length=1)]
type Some[T] = Annotated[list[T], Field(max_length=50)]


class TargetingSpec(TargetingShape):
    location_ids: LocationIds = Field(default_factory=list)


class SmartCampaign(CreateCampaign):
    """``request_id`` makes it safe to send again: the answer is then the first one."""

    request_id: RequestId | None = None


class SmartAdGroup(CreateAdGroup):
    """``request_id`` makes it safe to send again: the answer is then the first one."""

    location_ids: LocationIds = Field(default_factory=list)
    targeting_spec: TargetingSpec = TargetingSpec()
    request_id: RequestId | None = None

    def plain(self) -> CreateAdGroup:
        """Return the body with its targeting where the manual twin has it."""
        places = self.targeting_spec.location_ids or self.location_ids
        return self.model_copy(update={**self.targeting_spec.targeting(), "location_ids": places})


class UpdateSmartAdGroup(UpdateAdGroup):
    targeting_spec: TargetingSpec | None = None

    def plain(self) -> UpdateAdGroup:
        """Return the body with its targeting where the manual twin has it."""
        spec = self.targeting_spec or TargetingSpec()
        return self.model_copy(
            update={**spec.targeting(), "location_ids": spec.location_ids or self.location_ids}
        )


class VideoInfo(ApiModel):
    video_id: Annotated[str, Field(max_length=128)] | None = None


class CreativeInfo(ApiModel):
    ad_format: Annotated[str, Field(max_length=64)] | None = None
    identity_type: str | None = None
    identity_id: TextId | None = None
    video_info: VideoInfo = VideoInfo()


class SmartCreative(ApiModel):
    creative_info: CreativeInfo = CreativeInfo()


class AdText(ApiModel):
    ad_text: Annotated[str, Field(max_length=1_000)] = ""


class AutoMessage(ApiModel):
    auto_message_id: TextId


class InstantForm(ApiModel):
    page_id: TextId


class AdConfiguration(ApiModel):
    call_to_action_id: TextId | None = None
    identity_type: str | None = None
    identity_id: TextId | None = None


class _SmartAdParts(ApiModel):
    """The parts of a Smart+ ad; of several creatives or texts the first is shown (ours has one of each)."""

    advertiser_id: ApiId
    creative_list: Some[SmartCreative] = Field(default_factory=list)
    ad_text_list: Some[AdText] = Field(default_factory=list)
    auto_message_list: AtMostOne[AutoMessage] = Field(default_factory=list)
    page_list: AtMostOne[InstantForm] = Field(default_factory=list)
    ad_configuration: AdConfiguration = AdConfiguration()
    call_to_action_list: list[Any] | None = Field(
        None, description="Not for this objective: give call_to_action_id, or nothing."
    )


class SmartAd(_SmartAdParts):
    """``request_id`` makes it safe to send again: the answer is then the first one."""

    adgroup_id: ApiId
    ad_name: str
    operation_status: StartStatus = "ENABLE"
    request_id: RequestId | None = None


class UpdateSmartAd(_SmartAdParts):
    """A patch: omitted fields keep their values."""

    smart_plus_ad_id: ApiId
    ad_name: str | None = None


class MoveSmartAds(ApiModel):
    advertiser_id: ApiId
    operation_status: Literal["ENABLE", "DISABLE", "DELETE"]
    smart_plus_ad_ids: FewIds


def node_filter_of(
    filtering: Filtering | None, name_field: Literal["campaign_name", "adgroup_name", "ad_name"]
) -> NodeFilter:
    """Return the node filter of a list's filters."""
    filters = filtering or Filtering()
    return NodeFilter(
        campaign_numbers=_numbers(filters.campaign_ids),
        ad_group_numbers=_numbers(filters.adgroup_ids),
        ad_numbers=_numbers(filters.ad_ids or filters.smart_plus_ad_ids),
        name_part=getattr(filters, name_field),
        statuses=PRIMARY_STATUSES[filters.primary_status],
        goals=_goals(filters.optimization_goal),
    )


def _goals(name: str | None) -> frozenset[Goal] | None:
    """Return the goals of a filter's word; a goal of other ads has no ad group here."""
    if name is None:
        return None
    goal_alias = GOAL_ALIASES.get(name, name)
    return frozenset(goal for goal, own_goal in OPTIMIZATION_GOALS.items() if own_goal == goal_alias)


def _numbers(ids: list[int] | None) -> frozenset[int] | None:
    return None if ids is None else frozenset(ids)


def page_of(query: ListQuery) -> Page:
    return Page(query.page, query.page_size)


OBJECTIVE: Final = "LEAD_GENERATION"


class CampaignInfo(Answer, frozen=True):
    campaign_id: IdText
    advertiser_id: IdText
    campaign_name: str
    objective_type: Literal["LEAD_GENERATION"]
    budget_mode: BudgetMode
    budget: float
    operation_status: Operation
    secondary_status: str
    create_time: TimeText
    modify_time: TimeText


class CampaignList(ChosenList[CampaignInfo], frozen=True):
    """Campaigns, newest first."""


class AdGroupInfo(Answer, frozen=True, kw_only=True):
    """An ad group; its bid is ``bid_price`` where it pays for clicks, else ``conversion_bid_price``."""

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
    bid_price: float | UnsetType = UNSET
    conversion_bid_price: float | UnsetType = UNSET
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
    operation_status: Operation
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
    operation_status: Operation
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
        operation_status=OPERATION_OF[campaign.status],
        secondary_status=secondary_status("CAMPAIGN", campaign.status, None, None),
        create_time=api_time(campaign.created_at),
        modify_time=api_time(campaign.updated_at),
    )


def show_ad_group(ad_group: AdGroup, campaign: Campaign, account: AdAccount) -> AdGroupInfo:
    bid = api_amount(ad_group.bid_micros) or 0.0
    is_per_click = ad_group.billing_event is BillingEvent.CPC
    targeting = ad_group.targeting
    return AdGroupInfo(
        adgroup_id=str(ad_group.number),
        adgroup_name=ad_group.name,
        campaign_id=str(campaign.number),
        campaign_name=campaign.name,
        advertiser_id=str(account.number),
        identity_id=ad_group.channel_account_id,
        optimization_goal=OPTIMIZATION_GOALS[ad_group.goal],
        promotion_type=ad_group.promotion_type,
        optimization_event="MESSAGE" if ad_group.goal is Goal.CONVERSATION else None,
        location_ids=list(ad_group.location_ids or location_ids_of(ad_group.countries)),
        languages=list(targeting.languages),
        age_groups=list(targeting.age_groups),
        interest_category_ids=list(targeting.interest_category_ids),
        audience_ids=list(targeting.audience_ids),
        excluded_audience_ids=list(targeting.excluded_audience_ids),
        page_id=ad_group.page_id or None,
        placement_type="PLACEMENT_TYPE_NORMAL",
        placements=["PLACEMENT_TIKTOK"],
        billing_event=ad_group.billing_event,
        bid_type=ad_group.bid_type,
        bid_price=bid if is_per_click else UNSET,
        conversion_bid_price=UNSET if is_per_click else bid,
        budget_mode=ad_group.budget_mode,
        budget=api_amount(ad_group.budget_micros) or 0.0,
        pacing=ad_group.pacing,
        schedule_type=ad_group.schedule_type,
        schedule_start_time=api_time(ad_group.starts_at),
        schedule_end_time=api_time(ad_group.ends_at),
        click_attribution_window=ad_group.click_window,
        view_attribution_window=ad_group.view_window,
        engaged_view_attribution_window=ad_group.engaged_window,
        attribution_event_count=ad_group.event_count,
        frequency=ad_group.frequency,
        frequency_schedule=ad_group.frequency_schedule,
        operation_status=OPERATION_OF[ad_group.status],
        secondary_status=secondary_status("ADGROUP", ad_group.status, None, campaign),
        create_time=api_time(ad_group.created_at),
        modify_time=api_time(ad_group.updated_at),
    )


def show_ad(ad: Ad, ad_group: AdGroup, campaign: Campaign, account: AdAccount) -> AdInfo:
    return AdInfo(
        ad_id=str(ad.number),
        ad_name=ad.name,
        adgroup_id=str(ad_group.number),
        adgroup_name=ad_group.name,
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
        operation_status=OPERATION_OF[ad.status],
        secondary_status=secondary_status("AD", ad.status, ad_group, campaign, ad.audit),
        audit_status=ad.audit,
        reject_reason=ad.audit_reason or None,
        create_time=api_time(ad.created_at),
        modify_time=api_time(ad.updated_at),
    )
