"""Campaigns, ad groups and ads as the API shows them: ids as text, times in UTC, amounts in units."""

from dataclasses import asdict
from typing import Any, Final

from contatto.accounts.model import AdAccount
from contatto.ads.model import Ad, AdGroup, BillingEvent, Campaign
from contatto.ads.rules.goals import OPTIMIZATION_GOALS
from contatto.ads.rules.places import location_ids_of
from contatto.ads.rules.statuses import OPERATION_OF, secondary_status
from contatto.kit.api_types import api_amount, api_time
from contatto.measurement.model import Goal

OBJECTIVE: Final = "LEAD_GENERATION"


def show_campaign(campaign: Campaign, account: AdAccount) -> dict[str, Any]:
    return {
        "campaign_id": str(campaign.number),
        "advertiser_id": str(account.number),
        "campaign_name": campaign.name,
        "objective_type": OBJECTIVE,
        "budget_mode": campaign.budget_mode,
        "budget": api_amount(campaign.budget_micros) or 0.0,
        "operation_status": OPERATION_OF[campaign.status],
        "secondary_status": secondary_status("CAMPAIGN", campaign.status, None, None),
        "create_time": api_time(campaign.created_at),
        "modify_time": api_time(campaign.updated_at),
    }


def show_ad_group(ad_group: AdGroup, campaign: Campaign, account: AdAccount) -> dict[str, Any]:
    bid = "bid_price" if ad_group.billing_event is BillingEvent.CPC else "conversion_bid_price"
    return {
        "adgroup_id": str(ad_group.number),
        "adgroup_name": ad_group.name,
        "campaign_id": str(campaign.number),
        "campaign_name": campaign.name,
        "advertiser_id": str(account.number),
        "identity_id": ad_group.channel_account_id,
        "optimization_goal": OPTIMIZATION_GOALS[ad_group.goal],
        "promotion_type": ad_group.promotion_type,
        "optimization_event": "MESSAGE" if ad_group.goal is Goal.CONVERSATION else None,
        "location_ids": list(ad_group.location_ids or location_ids_of(ad_group.countries)),
        **{name: list(values) for name, values in asdict(ad_group.targeting).items()},
        "page_id": ad_group.page_id or None,
        "placement_type": "PLACEMENT_TYPE_NORMAL",
        "placements": ["PLACEMENT_TIKTOK"],
        "billing_event": ad_group.billing_event,
        "bid_type": ad_group.bid_type,
        bid: api_amount(ad_group.bid_micros) or 0.0,
        "budget_mode": ad_group.budget_mode,
        "budget": api_amount(ad_group.budget_micros) or 0.0,
        "pacing": ad_group.pacing,
        "schedule_type": ad_group.schedule_type,
        "schedule_start_time": api_time(ad_group.starts_at),
        "schedule_end_time": api_time(ad_group.ends_at),
        "click_attribution_window": ad_group.click_window,
        "view_attribution_window": ad_group.view_window,
        "engaged_view_attribution_window": ad_group.engaged_window,
        "attribution_event_count": ad_group.event_count,
        "operation_status": OPERATION_OF[ad_group.status],
        "secondary_status": secondary_status("ADGROUP", ad_group.status, None, campaign),
        "create_time": api_time(ad_group.created_at),
        "modify_time": api_time(ad_group.updated_at),
    }


def show_ad(ad: Ad, ad_group: AdGroup, campaign: Campaign, account: AdAccount) -> dict[str, Any]:
    return {
        "ad_id": str(ad.number),
        "ad_name": ad.name,
        "adgroup_id": str(ad_group.number),
        "adgroup_name": ad_group.name,
        "campaign_id": str(campaign.number),
        "campaign_name": campaign.name,
        "advertiser_id": str(account.number),
        "identity_type": "TT_USER",
        "identity_id": ad.channel_account_id,
        "ad_format": ad.ad_format,
        "ad_text": ad.text,
        "headline": ad.headline,
        "call_to_action": ad.call_to_action,
        "auto_message_id": ad.auto_message_id or None,
        "page_id": ad.page_id or None,
        "video_id": ad.video_id or None,
        "operation_status": OPERATION_OF[ad.status],
        "secondary_status": secondary_status("AD", ad.status, ad_group, campaign, ad.audit),
        "audit_status": ad.audit,
        "reject_reason": ad.audit_reason or None,
        "create_time": api_time(ad.created_at),
        "modify_time": api_time(ad.updated_at),
    }
