"""Campaigns, ad groups and ads as the API shows them: ids as text, times in UTC, amounts in units."""

from typing import Final, Literal

from msgspec import UNSET, UnsetType

from contatto.accounts.model import AdAccount
from contatto.ads.model import (
    Ad,
    AdGroup,
    Audit,
    BidType,
    BillingEvent,
    BudgetMode,
    Campaign,
    ClickWindow,
    EventCount,
    Pacing,
    ScheduleType,
    ViewWindow,
)
from contatto.ads.rules.delivering import OPERATION_OF, Operation, secondary_status
from contatto.ads.rules.goals import OPTIMIZATION_GOALS
from contatto.ads.rules.targeting import location_ids_of
from contatto.kit.api_types import Answer, ChosenList, IdText, TimeText, api_amount, api_time
from contatto.measurement.model import Goal

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
