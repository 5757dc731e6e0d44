"""The official SDK drives a running server through the whole flow; its host is the one changed line."""

import json
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import business_api_client as vendor
import httpx2
import pytest
from business_api_client.tiktok_business.tiktok_exceptions import TiktokSDKError

from tests.conformance.sdk import DIRECT_MESSAGE, SINGAPORE, Sdk, code_of
from tests.journeys.running import House, message, until

METRICS = ["spend", "impressions", "clicks", "conversion", "cost_per_conversion", "adgroup_name"]
TALKS = "messaging_total_conversation_tiktok_direct_message"
BASIC = {"service_type": "AUCTION", "data_level": "AUCTION_ADGROUP", "metrics": METRICS}


@dataclass(frozen=True, slots=True)
class Tree:
    """One campaign with an ad group of each goal; the lead one has two ads."""

    campaign: str
    lead: str
    talk: str
    lead_ads: list[str]
    talk_ads: list[str]


@pytest.fixture(scope="module")
def tree(sdk: Sdk) -> Tree:
    campaign = sdk.make_campaign()
    windows = {"click_attribution_window": "TWENTY_EIGHT_DAYS", "view_attribution_window": "OFF",
               "attribution_event_count": "ONCE"}  # fmt: skip
    lead = sdk.make_ad_group(campaign, "LEAD_GENERATION", **windows)
    talk = sdk.make_ad_group(campaign, "CONVERSATION", frequency=3.0, frequency_schedule=7.0)
    page = {"page_id": sdk.published_form()}
    lead_ads = sdk.make_ads(lead, sdk.creative_values("First", **page), sdk.creative_values("Second"))
    return Tree(campaign, lead, talk, lead_ads, sdk.make_ads(talk, sdk.creative_values("Talk")))


@pytest.fixture(scope="module")
def traffic(sdk: Sdk, tree: Tree) -> Tree:
    """People of both goals, over the same doors as real ones: signed webhooks, and tracking links."""
    for user, ad, text in (
        ("u1", tree.talk_ads[0], "hello"),
        ("u2", tree.talk_ads[0], "what does it cost"),
        ("u3", tree.lead_ads[0], "reach me at mei@example.com"),
        ("u4", tree.lead_ads[1], "call +65 9123 4567"),
        ("u5", tree.lead_ads[1], "just looking"),
    ):
        _come_from_ad(sdk.house, ad, user, text)
    for viewer in ("v1", "v2", "v3"):
        _see_and_tap(sdk.house, viewer)
    assert until(lambda: _is_counted(sdk, tree))
    return tree


def _come_from_ad(house: House, ad: str, user: str, text: str) -> None:
    now_ms = int(time.time() * 1000)
    tap = {"from": user, "from_user": {"id": user}, "conversation_id": f"conversation of {user}",
           "timestamp": now_ms - 60_000, "referral": {"source": "ad", "ad": {"ad_id": ad}}}  # fmt: skip
    assert house.webhook("im_referral_msg", tap).status_code == 200
    assert house.webhook("im_receive_msg", message(text, user, now_ms - 50_000)).status_code == 200


def _see_and_tap(house: House, viewer: str) -> None:
    """A publisher asks for an ad, shows it, and the viewer taps."""
    asked = {"viewer_id": viewer, "country": "SG"}
    ad = house.client.post("/delivery/decide", json=asked, headers={"Access-Token": house.token}).json()["ad"]
    with httpx2.Client(base_url=house.client.base_url, timeout=60) as browser:
        assert browser.get(ad["view_url"]).headers["content-type"] == "image/gif"
        assert browser.get(ad["click_url"], follow_redirects=False).status_code == 303


def _is_counted(sdk: Sdk, tree: Tree) -> bool:
    rows = _rows(_lifetime(sdk))
    return (rows[tree.lead]["conversion"], rows[tree.talk]["conversion"]) == ("2", "2")


def _lifetime(sdk: Sdk, **more: Any) -> dict[str, Any]:
    values = BASIC | {"dimensions": ["adgroup_id"], "query_lifetime": True, "page_size": 100} | more
    report = sdk.reports().report_integrated_get
    answer: dict[str, Any] = sdk.call(report, "BASIC", advertiser_id=sdk.advertiser_id, **values)
    return answer


def _rows(data: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {row["dimensions"]["adgroup_id"]: row["metrics"] for row in data["list"]}


def test_the_ad_account_says_where_it_is_registered(sdk: Sdk) -> None:
    fields = ["advertiser_id", "name", "country", "currency", "timezone"]
    found = sdk.call(sdk.accounts().advertiser_info, [sdk.advertiser_id], fields=fields)["list"]
    assert found == [{
        "advertiser_id": sdk.advertiser_id, "name": "Main", "country": "SG", "currency": "SGD",
        "timezone": "Asia/Singapore",
    }]  # fmt: skip


def test_every_metric_that_the_platform_names_may_be_asked(sdk: Sdk, tree: Tree) -> None:
    names = ["ctr", "cpc", "cpm", "reach", "frequency", "conversion_rate_v2", "result", "cost_per_result",
             "result_rate", "real_time_conversion", "real_time_cost_per_conversion", "campaign_name",
             "adgroup_name", "ad_name", "objective_type", "currency", "onsite_form", "onsite_form_rate",
             "cost_per_onsite_form", "onsite_total_filtered_out_form_submission",
             *(f"messaging_{kind}_{where}" for where in ("tiktok_direct_message", "instant_messaging_app")
               for kind in ("total_conversation", "cost_per_conversation", "conversation_rate"))]  # fmt: skip
    rows = _rows(_lifetime(sdk, metrics=names))
    assert set(rows) >= {tree.lead, tree.talk}
    assert all(list(row) == names for row in rows.values())
    assert {type(value) for row in rows.values() for value in row.values()} == {str}


def test_the_campaign_is_read_back_by_its_filters(sdk: Sdk, tree: Tree) -> None:
    wanted = vendor.FilteringCampaignGet(campaign_ids=[tree.campaign], objective_type="LEAD_GENERATION")
    data = sdk.call(sdk.campaigns().campaign_get, sdk.advertiser_id, filtering=wanted, page=1, page_size=10)
    assert [row["campaign_id"] for row in data["list"]] == [tree.campaign]
    assert data["page_info"] == {"page": 1, "page_size": 10, "total_number": 1, "total_page": 1}


def test_ad_groups_of_both_goals_are_read_back(sdk: Sdk, tree: Tree) -> None:
    wanted = vendor.FilteringAdgroupGet(adgroup_ids=[tree.lead, tree.talk])
    data = sdk.call(sdk.ad_groups().adgroup_get, sdk.advertiser_id, filtering=wanted)
    rows = {row["adgroup_id"]: row for row in data["list"]}
    assert rows[tree.lead]["optimization_goal"] == "LEAD_GENERATION"
    assert rows[tree.talk]["optimization_goal"] == "CONVERSATION"
    assert {row["promotion_type"] for row in rows.values()} == {DIRECT_MESSAGE}
    assert {row["billing_event"] for row in rows.values()} == {"OCPM"}
    assert {tuple(row["location_ids"]) for row in rows.values()} == {(SINGAPORE,)}
    windows = ("click_attribution_window", "view_attribution_window")
    assert [rows[tree.lead][name] for name in windows] == ["TWENTY_EIGHT_DAYS", "OFF"]
    assert [rows[tree.talk][name] for name in windows] == ["SEVEN_DAYS", "ONE_DAY"]
    cap = ("frequency", "frequency_schedule")
    assert [rows[tree.talk][name] for name in cap] == [3, 7]
    assert [rows[tree.lead][name] for name in cap] == [None, None]
    more = ("engaged_view_attribution_window", "attribution_event_count")
    assert [rows[tree.lead][name] for name in more] == ["OFF", "ONCE"]
    assert [rows[tree.talk][name] for name in more] == ["OFF", "UNSET"]


def test_ads_are_read_back_a_page_at_a_time(sdk: Sdk, tree: Tree) -> None:
    wanted = vendor.FilteringAdGet(adgroup_ids=[tree.lead])
    pages = [
        sdk.call(sdk.ads().ad_get, sdk.advertiser_id, filtering=wanted, page=page, page_size=1)
        for page in (1, 2)
    ]
    assert [page["page_info"]["total_number"] for page in pages] == [2, 2]
    assert sorted(page["list"][0]["ad_id"] for page in pages) == sorted(tree.lead_ads)
    first = next(page["list"][0] for page in pages if page["list"][0]["ad_name"] == "First")
    assert first["page_id"] == str(sdk.published_form())
    assert first["auto_message_id"] == sdk.house.first_message()


def test_conversions_follow_the_goal_and_cost_is_spend_by_conversions(sdk: Sdk, traffic: Tree) -> None:
    rows = _rows(_lifetime(sdk, metrics=[*METRICS, "leads", TALKS]))
    assert (rows[traffic.lead]["conversion"], rows[traffic.lead]["leads"]) == ("2", "2")
    assert rows[traffic.talk]["conversion"] == rows[traffic.talk][TALKS]
    assert sum(int(row["impressions"]) for row in rows.values()) == 3
    assert sum(int(row["clicks"]) for row in rows.values()) == 8
    for row in rows.values():
        assert Decimal(row["spend"]) > 0 or row["cost_per_conversion"] == "0.00"
        each = Decimal(row["spend"]) / int(row["conversion"])
        assert abs(Decimal(row["cost_per_conversion"]) - each) < Decimal("0.000001")
    assert sum(Decimal(row["spend"]) for row in rows.values()) > 0


def test_the_days_add_up_to_the_lifetime(sdk: Sdk, traffic: Tree) -> None:
    today = time.time()
    days = [time.strftime("%Y-%m-%d", time.gmtime(today + shift * 86_400)) for shift in (-3, 2)]
    by_day = _lifetime(
        sdk,
        query_lifetime=False,
        dimensions=["adgroup_id", "stat_time_day"],
        start_date=days[0],
        end_date=days[1],
    )
    whole = _rows(_lifetime(sdk))
    for group in (traffic.lead, traffic.talk):
        mine = [row["metrics"] for row in by_day["list"] if row["dimensions"]["adgroup_id"] == group]
        assert sum(int(row["conversion"]) for row in mine) == int(whole[group]["conversion"])
        assert sum(Decimal(row["spend"]) for row in mine) == Decimal(whole[group]["spend"])
    assert {row["dimensions"]["stat_time_day"][10:] for row in by_day["list"]} == {" 00:00:00"}


def test_a_report_is_filtered_by_ids_and_comes_in_pages(sdk: Sdk, traffic: Tree) -> None:
    only = [{"field_name": "adgroup_ids", "filter_type": "IN", "filter_value": json.dumps([traffic.lead])}]
    assert list(_rows(_lifetime(sdk, filtering=only))) == [traffic.lead]
    pages = [_lifetime(sdk, page=page, page_size=1) for page in (1, 2)]
    found = [row["dimensions"]["adgroup_id"] for page in pages for row in page["list"]]
    assert sorted(found) == sorted([traffic.lead, traffic.talk])
    assert pages[0]["page_info"]["total_page"] == 2


def test_a_report_is_made_into_a_file(sdk: Sdk, traffic: Tree) -> None:
    body = vendor.ReportTaskCreateBody(
        advertiser_id=sdk.advertiser_id, report_type="BASIC", data_level="AUCTION_ADGROUP",
        dimensions=["adgroup_id"], metrics=["spend", "conversion"], query_lifetime=True,
    )  # fmt: skip
    task = sdk.call(sdk.reports().report_task_create, body=body)["task_id"]

    def checked() -> dict[str, Any]:
        answer: dict[str, Any] = sdk.call(sdk.reports().report_task_check, task, sdk.advertiser_id)
        return answer

    assert until(lambda: checked()["status"] == "SUCCESS")
    path = checked()["download_path"]
    file = sdk.house.client.get(path, headers={"Access-Token": sdk.house.token})
    assert file.headers["content-type"].startswith("text/csv")
    lines = [line.split(",") for line in file.text.splitlines()]
    assert lines[0] == ["adgroup_id", "spend", "conversion"]
    rows = _rows(_lifetime(sdk))
    for group, spend, conversion in lines[1:]:
        assert (rows[group]["spend"], rows[group]["conversion"]) == (spend, conversion)
    ended = vendor.TaskCancelBody(advertiser_id=sdk.advertiser_id, task_id=task)
    with pytest.raises(TiktokSDKError) as caught:
        sdk.call(sdk.reports().report_task_cancel, body=ended)
    assert code_of(caught.value) == 40200


def test_statuses_change_and_deletion_is_final(sdk: Sdk, tree: Tree) -> None:
    group = sdk.make_ad_group(tree.campaign, "CONVERSATION")
    ads = sdk.make_ads(group, sdk.creative_values("Short"))
    body = vendor.AdgroupStatusUpdateBody(
        advertiser_id=sdk.advertiser_id, adgroup_ids=[group], operation_status="DISABLE"
    )
    data = sdk.call(sdk.ad_groups().adgroup_status_update, body=body)
    assert data == {"status": "DISABLE", "adgroup_ids": [group]}
    ad_body = vendor.AdStatusUpdateBody(
        advertiser_id=sdk.advertiser_id, ad_ids=ads, operation_status="DELETE"
    )
    assert sdk.call(sdk.ads().ad_status_update, body=ad_body) == {"status": "DELETE", "ad_ids": ads}
    wanted = vendor.FilteringAdGet(ad_ids=ads)
    assert sdk.call(sdk.ads().ad_get, sdk.advertiser_id, filtering=wanted)["list"] == []
    every = vendor.FilteringAdGet(ad_ids=ads, primary_status="STATUS_ALL")
    shown = sdk.call(sdk.ads().ad_get, sdk.advertiser_id, filtering=every)["list"]
    assert [row["secondary_status"] for row in shown] == ["AD_STATUS_DELETE"]
    gone = vendor.AdgroupStatusUpdateBody(
        advertiser_id=sdk.advertiser_id, adgroup_ids=[group], operation_status="DELETE"
    )
    sdk.call(sdk.ad_groups().adgroup_status_update, body=gone)
