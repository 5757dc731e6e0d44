"""The Smart+ twins through the official SDK: made once for each request id, and read back."""

from typing import Any

import business_api_client as vendor
import pytest
from business_api_client.tiktok_business.tiktok_exceptions import TiktokSDKError

from contatto.ads.rules.settings import MOST_AD_GROUPS
from tests.conformance.sdk import DIRECT_MESSAGE, SINGAPORE, Sdk, code_of


def campaign_body(sdk: Sdk, request_id: str, name: str = "Smart") -> Any:
    return vendor.SmartPlusCampaignCreateBody(
        advertiser_id=sdk.advertiser_id, campaign_name=name, objective_type="LEAD_GENERATION",
        request_id=request_id,
    )  # fmt: skip


def make_campaign(sdk: Sdk, request_id: str) -> str:
    create = sdk.campaigns().smart_plus_campaign_create
    return str(sdk.call(create, body=campaign_body(sdk, request_id))["campaign_id"])


def group_body(sdk: Sdk, campaign: str, request_id: str, **changes: Any) -> Any:
    values = sdk.ad_group_values(campaign, "LEAD_GENERATION", location_ids=None, pacing=None)
    spec = vendor.SmartPlusAdgroupCreateBodyTargetingSpec(location_ids=[SINGAPORE])
    values |= {"request_id": request_id, "targeting_spec": spec} | changes
    return vendor.SmartPlusAdgroupCreateBody(**values)


def make_group(sdk: Sdk, campaign: str, request_id: str, **changes: Any) -> dict[str, Any]:
    body = group_body(sdk, campaign, request_id, **changes)
    answer: dict[str, Any] = sdk.call(sdk.ad_groups().smart_plus_adgroup_create, body=body)
    return answer


def ad_body(sdk: Sdk, group: str, **changes: Any) -> Any:
    video = vendor.SmartPlusAdCreateBodyCreativeInfoVideoInfo(video_id="v1")
    info = vendor.SmartPlusAdCreateBodyCreativeInfo(
        ad_format="SINGLE_VIDEO", identity_type="TT_USER", identity_id=sdk.house.tiktok_id, video_info=video
    )
    message = sdk.house.first_message()
    values = {
        "advertiser_id": sdk.advertiser_id, "adgroup_id": group, "ad_name": "Smart ad",
        "creative_list": [vendor.SmartPlusAdCreateBodyCreativeList(creative_info=info)],
        "ad_text_list": [vendor.SmartPlusAdCreateBodyAdTextList(ad_text="Write to us")],
        "auto_message_list": [vendor.SmartPlusAdCreateBodyAutoMessageList(auto_message_id=message)],
        "page_list": [vendor.SmartPlusAdCreateBodyPageList(page_id=str(sdk.published_form()))],
        "ad_configuration": vendor.SmartPlusAdCreateBodyAdConfiguration(call_to_action_id="9"),
    }  # fmt: skip
    return vendor.SmartPlusAdCreateBody(**(values | changes))


def count_campaigns(sdk: Sdk) -> int:
    data = sdk.call(sdk.campaigns().smart_plus_campaign_get, sdk.advertiser_id)
    return int(data["page_info"]["total_number"])


def test_the_same_request_again_gets_the_first_answer_and_makes_nothing(sdk: Sdk) -> None:
    first = make_campaign(sdk, "8082000000000000001")
    count = count_campaigns(sdk)
    assert make_campaign(sdk, "8082000000000000001") == first
    assert count_campaigns(sdk) == count
    assert make_campaign(sdk, "8082000000000000002") != first


def test_the_same_request_id_with_another_body_is_refused(sdk: Sdk) -> None:
    make_campaign(sdk, "8082000000000000003")
    body = campaign_body(sdk, "8082000000000000003", "Other")
    with pytest.raises(TiktokSDKError) as caught:
        sdk.call(sdk.campaigns().smart_plus_campaign_create, body=body)
    assert code_of(caught.value) == 40050


def test_a_refused_request_may_be_put_right_under_the_same_id(sdk: Sdk) -> None:
    campaign = make_campaign(sdk, "8082000000000000004")
    spec = vendor.SmartPlusAdgroupCreateBodyTargetingSpec(location_ids=["298795"])
    with pytest.raises(TiktokSDKError, match="location_ids") as caught:
        make_group(sdk, campaign, "8082000000000000005", targeting_spec=spec)
    assert code_of(caught.value) == 40002
    assert make_group(sdk, campaign, "8082000000000000005")["campaign_id"] == campaign


def test_an_ad_group_has_its_countries_in_the_targeting_spec(sdk: Sdk) -> None:
    group = make_group(sdk, make_campaign(sdk, "8082000000000000006"), "8082000000000000007")
    assert group["targeting_spec"]["location_ids"] == [SINGAPORE]
    assert (group["optimization_goal"], group["promotion_type"]) == ("LEAD_GENERATION", DIRECT_MESSAGE)
    spec = vendor.SmartPlusAdgroupCreateBodyTargetingSpec(location_ids=["1733045"])
    body = vendor.SmartPlusAdgroupUpdateBody(
        advertiser_id=sdk.advertiser_id, adgroup_id=group["adgroup_id"], targeting_spec=spec, budget=60.0
    )
    changed = sdk.call(sdk.ad_groups().smart_plus_adgroup_update, body=body)
    assert changed["targeting_spec"]["location_ids"] == ["1733045"]
    wanted = vendor.FilteringSmartPlusAdgroupGet(adgroup_ids=[group["adgroup_id"]])
    data = sdk.call(sdk.ad_groups().smart_plus_adgroup_get, sdk.advertiser_id, filtering=wanted)
    assert (data["list"][0]["budget"], data["list"][0]["location_ids"]) == (60.0, ["1733045"])
    assert data["list"][0]["targeting_spec"] == changed["targeting_spec"]


def test_a_campaign_takes_no_more_ad_groups_than_it_may_have(sdk: Sdk) -> None:
    campaign = make_campaign(sdk, "8082000000000000008")
    for number in range(MOST_AD_GROUPS):
        make_group(sdk, campaign, str(9_000_000_000_000_000_000 + number))
    with pytest.raises(TiktokSDKError) as caught:
        make_group(sdk, campaign, "8082000000000000009")
    assert code_of(caught.value) == 40502


@pytest.fixture(scope="module")
def group(sdk: Sdk) -> str:
    made = make_group(sdk, make_campaign(sdk, "8082000000000000010"), "8082000000000000011")
    return str(made["adgroup_id"])


def test_an_ad_is_made_changed_read_back_and_stopped(sdk: Sdk, group: str) -> None:
    made = sdk.call(sdk.ads().smart_plus_ad_create, body=ad_body(sdk, group))
    ad = made["smart_plus_ad_id"]
    assert made["auto_message_list"] == [{"auto_message_id": sdk.house.first_message()}]
    body = vendor.SmartPlusAdUpdateBody(
        advertiser_id=sdk.advertiser_id, smart_plus_ad_id=ad, ad_name="Renamed"
    )
    sdk.call(sdk.ads().smart_plus_ad_update, body=body)
    move = vendor.SmartPlusAdStatusUpdateBody(
        advertiser_id=sdk.advertiser_id, smart_plus_ad_ids=[ad], operation_status="DISABLE"
    )
    stopped = sdk.call(sdk.ads().smart_plus_ad_status_update, body=move)
    assert stopped == {"status": "DISABLE", "smart_plus_ad_ids": [ad]}
    wanted = vendor.FilteringSmartPlusAdGet(smart_plus_ad_ids=[ad])
    rows = sdk.call(sdk.ads().smart_plus_ad_get, sdk.advertiser_id, filtering=wanted)["list"]
    assert [(row["ad_name"], row["operation_status"]) for row in rows] == [("Renamed", "DISABLE")]
    assert rows[0]["creative_list"][0]["creative_info"]["video_info"] == {"video_id": "v1"}
    page = str(sdk.published_form())
    assert (rows[0]["page_list"], rows[0]["page_id"]) == ([{"page_id": page}], page)


def test_an_ad_has_no_list_of_calls_to_action_and_one_welcome_message(sdk: Sdk, group: str) -> None:
    action = vendor.SmartPlusAdCreateBodyCallToActionList(call_to_action="SEND_MESSAGE")
    message = vendor.SmartPlusAdCreateBodyAutoMessageList(auto_message_id=sdk.house.first_message())
    for named, value in (("call_to_action_list", [action]), ("auto_message_list", [message, message])):
        with pytest.raises(TiktokSDKError, match=named) as caught:
            sdk.call(sdk.ads().smart_plus_ad_create, body=ad_body(sdk, group, **{named: value}))
        assert code_of(caught.value) == 40002


def test_statuses_of_campaigns_and_ad_groups_change(sdk: Sdk, group: str) -> None:
    body = vendor.SmartPlusAdgroupStatusUpdateBody(
        advertiser_id=sdk.advertiser_id, adgroup_ids=[group], operation_status="DISABLE"
    )
    sdk.call(sdk.ad_groups().smart_plus_adgroup_status_update, body=body)
    campaign = make_campaign(sdk, "8082000000000000012")
    moved = vendor.SmartPlusCampaignStatusUpdateBody(
        advertiser_id=sdk.advertiser_id, campaign_ids=[campaign], operation_status="DELETE"
    )
    sdk.call(sdk.campaigns().smart_plus_campaign_status_update, body=moved)
    wanted = vendor.FilteringSmartPlusCampaignGet(campaign_ids=[campaign])
    data = sdk.call(sdk.campaigns().smart_plus_campaign_get, sdk.advertiser_id, filtering=wanted)
    assert data["list"] == []
