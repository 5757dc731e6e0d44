"""Updates through the official SDK: patches, and what stays as it was made."""

from typing import Any

import business_api_client as vendor
import pytest
from business_api_client.tiktok_business.tiktok_exceptions import TiktokSDKError

from tests.conformance.sdk import Sdk, code_of


@pytest.fixture(scope="module")
def group(sdk: Sdk) -> str:
    return sdk.make_ad_group(sdk.make_campaign(), "LEAD_GENERATION")


def update_group(sdk: Sdk, group: str, **changes: Any) -> dict[str, Any]:
    body = vendor.AdgroupUpdateBody(advertiser_id=sdk.advertiser_id, adgroup_id=group, **changes)
    answer: dict[str, Any] = sdk.call(sdk.ad_groups().adgroup_update, body=body)
    return answer


def shown_group(sdk: Sdk, group: str) -> dict[str, Any]:
    wanted = vendor.FilteringAdgroupGet(adgroup_ids=[group])
    row: dict[str, Any] = sdk.call(sdk.ad_groups().adgroup_get, sdk.advertiser_id, filtering=wanted)["list"][
        0
    ]
    return row


def test_a_campaign_gets_another_name_and_keeps_the_rest(sdk: Sdk) -> None:
    campaign = sdk.make_campaign(budget_mode="BUDGET_MODE_DAY", budget=80.0)
    body = vendor.CampaignUpdateBody(
        advertiser_id=sdk.advertiser_id, campaign_id=campaign, campaign_name="December"
    )
    changed = sdk.call(sdk.campaigns().campaign_update, body=body)
    assert (changed["campaign_name"], changed["budget"]) == ("December", 80.0)
    assert (changed["campaign_id"], changed["budget_mode"]) == (campaign, "BUDGET_MODE_DAY")


def test_an_ad_group_is_patched_and_keeps_the_rest(sdk: Sdk, group: str) -> None:
    before = shown_group(sdk, group)
    update_group(sdk, group, budget=75.5, location_ids=["1733045"], schedule_end_time="2036-01-01 00:00:00")
    after = shown_group(sdk, group)
    changed = {name for name in after if after[name] != before[name]} - {"modify_time"}
    assert changed == {"budget", "location_ids", "schedule_end_time", "schedule_type"}
    assert (after["budget"], after["location_ids"]) == (75.5, ["1733045"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"budget": 0.0}, "budget"),
        ({"location_ids": ["298795"]}, "location_ids"),
        ({"schedule_end_time": "2020-01-01 00:00:00"}, "schedule_end_time"),
        ({"schedule_start_time": "2036-01-01 00:00:00"}, "schedule_start_time"),
        ({"adgroup_name": " "}, "adgroup_name"),
        ({"bid_type": "BID_TYPE_CUSTOM"}, "conversion_bid_price"),
    ],
)
def test_a_wrong_change_is_refused_and_nothing_changes(
    sdk: Sdk, group: str, changes: dict[str, Any], named: str
) -> None:
    before = shown_group(sdk, group)
    with pytest.raises(TiktokSDKError, match=named) as caught:
        update_group(sdk, group, **changes)
    assert code_of(caught.value) == 40002
    assert shown_group(sdk, group) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"click_attribution_window": "ONE_DAY", "view_attribution_window": "OFF"},
        {"view_attribution_window": "SEVEN_DAYS"},
        {"optimization_goal": "CONVERSATION"},
        {"promotion_type": "LEAD_GENERATION"},
        {"billing_event": "CPC"},
        {"budget_mode": "BUDGET_MODE_TOTAL"},
        {"attribution_event_count": "EVERY"},
        {"engaged_view_attribution_window": "ONE_DAY"},
    ],
)
def test_windows_goal_and_modes_stay_as_they_were_made(sdk: Sdk, group: str, changes: dict[str, str]) -> None:
    """The SDK has no field for these, so they are sent as a script without it would."""
    answer = sdk.house.api("POST", "/adgroup/update/", adgroup_id=group, **changes)
    assert answer["code"] == 40002
    assert next(iter(changes)) in answer["message"]


def test_the_same_windows_again_are_no_change(sdk: Sdk, group: str) -> None:
    same = {"click_attribution_window": "SEVEN_DAYS", "view_attribution_window": "ONE_DAY"}
    sdk.house.data("POST", "/adgroup/update/", adgroup_id=group, optimization_goal="LEAD", **same)


def test_an_ad_is_patched_in_its_own_ad_group_alone(sdk: Sdk, group: str) -> None:
    ad = sdk.make_ads(group, sdk.creative_values("Before"))[0]
    creative = vendor.AdupdateCreatives(ad_id=ad, ad_name="After")
    body = vendor.AdUpdateBody(
        advertiser_id=sdk.advertiser_id, adgroup_id=group, creatives=[creative], patch_update=True
    )
    data = sdk.call(sdk.ads().ad_update, body=body)
    assert data["ad_ids"] == [ad]
    shown = data["creatives"][0]
    assert (shown["ad_name"], shown["ad_text"], shown["call_to_action"]) == (
        "After",
        "Write to us",
        "SEND_MESSAGE",
    )
    other = sdk.make_ad_group(sdk.make_campaign(), "CONVERSATION")
    elsewhere = vendor.AdUpdateBody(advertiser_id=sdk.advertiser_id, adgroup_id=other, creatives=[creative])
    with pytest.raises(TiktokSDKError) as caught:
        sdk.call(sdk.ads().ad_update, body=elsewhere)
    assert code_of(caught.value) == 40007
