"""What the server refuses reaches a script as the SDK's own error, with the code that the API names."""

from typing import Any

import business_api_client as vendor
import pytest
from business_api_client.tiktok_business.tiktok_exceptions import TiktokSDKError

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount
from contatto.kit.db.tx import Tx
from tests.conformance.sdk import Sdk, code_of

LEAD = "LEAD_GENERATION"


@pytest.fixture(scope="module")
def campaign(sdk: Sdk) -> str:
    return sdk.make_campaign()


def refused(sdk: Sdk, method: Any, *needed: Any, **values: Any) -> tuple[int, str]:
    with pytest.raises(TiktokSDKError) as caught:
        sdk.call(method, *needed, **values)
    return code_of(caught.value), str(caught.value)


def refused_ad_group(sdk: Sdk, campaign: str, goal: str = LEAD, **changes: Any) -> tuple[int, str]:
    body = vendor.AdgroupCreateBody(**sdk.ad_group_values(campaign, goal, **changes))
    return refused(sdk, sdk.ad_groups().adgroup_create, body=body)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"optimization_goal": "REACH"}, "optimization_goal"),
        ({"promotion_type": "WEBSITE"}, "promotion_type"),
        ({"billing_event": "CPC"}, "billing_event"),
        ({"click_attribution_window": "SEVEN_DAYS"}, "view_attribution_window"),
        ({"view_attribution_window": "ONE_DAY"}, "click_attribution_window"),
        ({"click_attribution_window": "SEVEN_DAYS", "view_attribution_window": "FOURTEEN_DAYS"},
         "view_attribution_window"),
        ({"engaged_view_attribution_window": "ONE_DAY"}, "engaged_view_attribution_window"),
        ({"attribution_event_count": "TWICE"}, "attribution_event_count"),
        ({"budget": -1.0}, "budget"),
        ({"bid_type": "BID_TYPE_CUSTOM"}, "conversion_bid_price"),
        ({"schedule_type": "SCHEDULE_START_END"}, "schedule_end_time"),
        ({"schedule_start_time": "tomorrow"}, "schedule_start_time"),
        ({"location_ids": ["1"]}, "location_ids"),
        ({"budget_mode": "BUDGET_MODE_WEEK"}, "budget_mode"),
    ],
)  # fmt: skip
def test_a_wrong_value_of_an_ad_group_is_a_parameter_error_that_names_it(
    sdk: Sdk, campaign: str, changes: dict[str, Any], named: str
) -> None:
    code, said = refused_ad_group(sdk, campaign, **changes)
    assert code == 40002
    assert named in said


def test_a_conversation_ad_group_has_no_other_event_than_message(sdk: Sdk, campaign: str) -> None:
    code, said = refused_ad_group(sdk, campaign, "CONVERSATION", optimization_event="FORM")
    assert (code, "optimization_event" in said) == (40002, True)


@pytest.mark.parametrize("location_id", ["6252001", "298795", "3175395", "1210997"])
def test_a_lead_ad_group_outside_of_the_markets_is_refused(sdk: Sdk, campaign: str, location_id: str) -> None:
    code, said = refused_ad_group(sdk, campaign, location_ids=["1880251", location_id])
    assert (code, "location_ids" in said) == (40002, True)


def test_every_failing_country_check_is_named(sdk: Sdk) -> None:
    def add(tx: Tx) -> int:
        new = NewAdAccount("Milan", "IT", "EUR", "Europe/Rome")
        return accounts.add_ad_account(tx, sdk.house.business_id, new).number  # type: ignore[arg-type]

    italian = str(sdk.house.context.db.write_now(add))
    campaign = sdk.make_campaign(advertiser_id=italian)
    code, said = refused_ad_group(sdk, campaign, advertiser_id=italian, location_ids=["298795"])
    assert code == 40002
    assert "registered in IT" in said
    assert "TR" in said


def test_with_capture_off_the_refusal_names_the_remedy(sdk_without_capture: Sdk) -> None:
    campaign = sdk_without_capture.make_campaign()
    code, said = refused_ad_group(sdk_without_capture, campaign)
    assert code == 40002
    assert "/open_api/v1.3/contatto/capture/turn_on/" in said


def test_things_that_do_not_exist_are_not_found(sdk: Sdk) -> None:
    assert refused_ad_group(sdk, "18")[0] == 40007
    body = vendor.CampaignStatusUpdateBody(
        advertiser_id=sdk.advertiser_id, campaign_ids=["18"], operation_status="DISABLE"
    )
    assert refused(sdk, sdk.campaigns().campaign_status_update, body=body)[0] == 40007
    assert refused(sdk, sdk.campaigns().campaign_get, "18")[0] == 40300


def test_a_token_that_is_wrong_is_invalid(sdk: Sdk) -> None:
    found = refused(sdk, sdk.campaigns().campaign_get, sdk.advertiser_id, token="contatto_nobody")
    assert found[0] == 40105


def test_a_direct_message_ad_needs_its_call_to_action(sdk: Sdk, campaign: str) -> None:
    group = sdk.make_ad_group(campaign, LEAD)
    creative = vendor.AdcreateCreatives(**sdk.creative_values("A", call_to_action="LEARN_MORE"))
    body = vendor.AdCreateBody(advertiser_id=sdk.advertiser_id, adgroup_id=group, creatives=[creative])
    code, said = refused(sdk, sdk.ads().ad_create, body=body)
    assert (code, "SEND_MESSAGE" in said) == (40002, True)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"metrics": ["spend", "luck"]}, "metrics"),
        ({"dimensions": ["planet_id"]}, "dimensions"),
        ({"query_lifetime": False}, "start_date"),
        ({"data_level": "AUCTION_AD"}, "data_level"),
        ({"query_lifetime": False, "start_date": "2026-01-01", "end_date": "2026-03-01",
          "dimensions": ["adgroup_id", "stat_time_day"]}, "end_date"),
        ({"query_lifetime": False, "start_date": "2024-01-01", "end_date": "2026-01-01"}, "end_date"),
        ({"page_size": 1001}, "page_size"),
    ],
)  # fmt: skip
def test_a_question_that_the_report_cannot_answer_is_refused(
    sdk: Sdk, changes: dict[str, Any], named: str
) -> None:
    values = {"advertiser_id": sdk.advertiser_id, "service_type": "AUCTION",
              "data_level": "AUCTION_ADGROUP", "dimensions": ["adgroup_id"], "metrics": ["spend"],
              "query_lifetime": True} | changes  # fmt: skip
    code, said = refused(sdk, sdk.reports().report_integrated_get, "BASIC", **values)
    assert code == 40002
    assert named in said
