"""Bodies and queries of the ads API."""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from contatto.ads.model import (
    DIRECT_MESSAGE,
    AgeGroup,
    BidType,
    BudgetMode,
    ClickWindow,
    EventCount,
    Pacing,
    ScheduleType,
    Targeting,
    ViewWindow,
)
from contatto.kit.api_types import Amount, ApiId, ApiModel, ApiTime, JsonText, PageQuery, TextId

type Operation = Literal["ENABLE", "DISABLE"]
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
    operation_status: Operation = "ENABLE"


class TargetingShape(ApiModel):
    """Whom to reach, beside the places; what is not sent means everybody, and in a patch no change."""

    languages: Chosen | None = None
    age_groups: list[AgeGroup] | None = None
    interest_category_ids: Chosen | None = None
    audience_ids: Chosen | None = None
    excluded_audience_ids: Chosen | None = None

    def targeting(self) -> dict[str, tuple[str, ...]]:
        """The parts that were sent, by name."""
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
    operation_status: Operation = "ENABLE"


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
    operation_status: Operation = "ENABLE"


class CreateAds(ApiModel):
    model_config = ConfigDict(json_schema_extra={"example": _ADS})

    advertiser_id: ApiId
    adgroup_id: ApiId
    creatives: Annotated[list[Creative], Field(min_length=1, max_length=20)]


class UpdateCampaign(ApiModel):
    """A patch: what is not given stays. ``budget_mode`` and ``objective_type`` stay as they were made."""

    advertiser_id: ApiId
    campaign_id: ApiId
    campaign_name: str | None = None
    budget: Amount | None = None
    budget_mode: BudgetMode | None = None
    objective_type: str | None = None


class UpdateAdGroup(TargetingShape):
    """A patch: what is not given stays. Goal, promotion type, budget mode and windows cannot be changed."""

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
