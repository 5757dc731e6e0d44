"""What a script does before its first campaign, through the official SDK: token, terms, identity, places."""

from typing import Any

import business_api_client as vendor
import pytest
from business_api_client.tiktok_business.tiktok_exceptions import TiktokSDKError

from contatto.accounts import actions as accounts
from contatto.accounts.model import Permission
from contatto.kit.db.tx import Tx
from tests.conformance.sdk import Sdk, code_of


def new_code(sdk: Sdk, *scopes: Permission) -> str:
    def work(tx: Tx) -> str:
        named = [scope.value for scope in scopes or Permission]
        return accounts.issue_auth_code(tx, sdk.house.business_id, "script", named)  # type: ignore[arg-type]

    return sdk.house.context.db.write_now(work)


def exchange(sdk: Sdk, code: str) -> dict[str, Any]:
    body = vendor.Oauth2AccessTokenBody(app_id="app-1", secret="app-secret-1", auth_code=code)
    answer: dict[str, Any] = vendor.AuthenticationApi(sdk.client).oauth2_access_token(body=body)["data"]
    return answer


def test_an_auth_code_becomes_a_token_once(sdk: Sdk) -> None:
    code = new_code(sdk, Permission.READ_ADS)
    made = exchange(sdk, code)
    assert (made["scope"], made["advertiser_ids"]) == (["ads.read"], [sdk.advertiser_id])
    listing = vendor.AuthenticationApi(sdk.client).oauth2_advertiser_get
    found = sdk.call(listing, "app-1", "app-secret-1", token=made["access_token"])["list"]
    assert found == [{"advertiser_id": sdk.advertiser_id, "advertiser_name": "Main"}]
    for wrong in (code, "code_nobody"):
        with pytest.raises(TiktokSDKError) as caught:
            exchange(sdk, wrong)
        assert code_of(caught.value) == 40110


def test_terms_are_confirmed_for_an_ad_account(sdk: Sdk) -> None:
    api = sdk.accounts()
    assert sdk.call(api.term_check, sdk.advertiser_id, "LeadAds") == {"confirmed": False}
    body = vendor.TermConfirmBody(advertiser_id=sdk.advertiser_id, term_type="LeadAds")
    for _ in range(2):
        sdk.call(api.term_confirm, body=body)
    assert sdk.call(api.term_check, sdk.advertiser_id, "LeadAds") == {"confirmed": True}
    with pytest.raises(TiktokSDKError, match="term_type") as caught:
        sdk.call(api.term_check, sdk.advertiser_id, "Weather")
    assert code_of(caught.value) == 40002


def test_identities_are_the_accounts_that_ads_speak_for(sdk: Sdk) -> None:
    api = vendor.IdentityApi(sdk.client)
    found = sdk.call(api.identity_get, sdk.advertiser_id, identity_type="TT_USER")["identity_list"]
    assert [row["identity_id"] for row in found] == [sdk.house.tiktok_id]
    body = vendor.IdentityCreateBody(
        advertiser_id=sdk.advertiser_id, display_name="Second desk", image_uri="picture-1"
    )
    made = sdk.call(api.identity_create, body=body)["identity_id"]
    rows = sdk.call(api.identity_get, sdk.advertiser_id, page=1, page_size=10)["identity_list"]
    assert {row["identity_id"]: row["identity_type"] for row in rows}[made] == "CUSTOMIZED_USER"
    chat = sdk.house.client.get(f"/chat/{made}")
    assert (chat.status_code, "Second desk" in chat.text) == (200, True)


def test_places_are_known_and_a_city_counts_for_its_country(sdk: Sdk) -> None:
    api = vendor.ToolApi(sdk.client)
    placements, objective = ["PLACEMENT_TIKTOK"], "LEAD_GENERATION"
    regions = sdk.call(api.tool_region, sdk.advertiser_id, placements, objective)["region_info"]
    level = {row["location_id"]: (row["level"], row["region_code"]) for row in regions}
    assert level["1880251"] == ("COUNTRY", "SG")
    assert level["1735161"] == ("CITY", "MY")
    assert {
        row["location_id"] for row in sdk.call(api.search_region, sdk.advertiser_id)["region_list"]
    } == set(level)
    group = sdk.make_ad_group(sdk.make_campaign(), "LEAD_GENERATION", location_ids=["1735161", "1880251"])
    wanted = vendor.FilteringAdgroupGet(adgroup_ids=[group])
    row = sdk.call(sdk.ad_groups().adgroup_get, sdk.advertiser_id, filtering=wanted)["list"][0]
    assert row["location_ids"] == ["1735161", "1880251"]


def test_languages_and_interests_are_listed_and_may_be_chosen(sdk: Sdk) -> None:
    api = vendor.ToolApi(sdk.client)
    languages = sdk.call(api.tool_language, sdk.advertiser_id)["languages"]
    assert {"code": "en", "name": "English"} in languages
    interests = sdk.call(api.tool_interest_category, sdk.advertiser_id, version=2)["interest_categories"]
    first = interests[0]
    assert (first["interest_category_name"], first["level"]) == ("Education", 1)
    chosen = {"languages": ["en"], "interest_category_ids": [first["interest_category_id"]]}
    group = sdk.make_ad_group(sdk.make_campaign(), "LEAD_GENERATION", **chosen)
    wanted = vendor.FilteringAdgroupGet(adgroup_ids=[group])
    row = sdk.call(sdk.ad_groups().adgroup_get, sdk.advertiser_id, filtering=wanted)["list"][0]
    assert {name: row[name] for name in chosen} == chosen


@pytest.mark.parametrize(("city", "country"), [("745044", "TR"), ("3169070", "IT"), ("5332921", "US")])
def test_a_city_of_a_country_without_the_goal_is_refused_by_its_country(
    sdk: Sdk, city: str, country: str
) -> None:
    body = vendor.AdgroupCreateBody(
        **sdk.ad_group_values(sdk.make_campaign(), "LEAD_GENERATION", location_ids=[city])
    )
    with pytest.raises(TiktokSDKError, match=country) as caught:
        sdk.call(sdk.ad_groups().adgroup_create, body=body)
    assert code_of(caught.value) == 40002


def welcome(content: str = "Hello!", *questions: tuple[str, str]) -> dict[str, Any]:
    asked = questions or (("What does it cost?", "From 20."),)
    pairs = [{"question": question, "answer": answer} for question, answer in asked]
    return {"title": "Kopi", "content": content, "suggested_questions": pairs}


def make_welcome(sdk: Sdk, message: dict[str, Any]) -> dict[str, Any]:
    """These endpoints have no method in the SDK, so they are called as a script calls them without it."""
    kind = {"auto_message_type": "WELCOME_MESSAGE", "welcome_message": message}
    return sdk.house.api("POST", "/creative/auto_message/create/", **kind)


def test_a_welcome_message_is_made_with_an_empty_answer_and_read_by_get(sdk: Sdk) -> None:
    assert make_welcome(sdk, welcome())["data"] == {}
    data = sdk.house.data("GET", "/creative/auto_message/get/")
    assert data["page_info"]["total_number"] == 1
    row = data["list"][0]
    assert (row["audit_status"], row["welcome_message"]) == ("PASS", welcome())
    group = sdk.make_ad_group(sdk.make_campaign(), "LEAD_GENERATION")
    creative = sdk.creative_values("A", auto_message_id=row["auto_message_id"])
    assert len(sdk.make_ads(group, creative)) == 1


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (welcome(""), "content"),
        (welcome("x" * 201), "content"),
        (welcome("Hi") | {"suggested_questions": []}, "suggested_questions"),
        (welcome("Hi", *[("a", "b")] * 4), "suggested_questions"),
        (welcome("Hi", ("q" * 71, "a")), "question"),
        (welcome("Hi", ("q", "a" * 501)), "answer"),
        (welcome("Hi", ("q", " ")), "answer"),
    ],
)
def test_a_welcome_message_beyond_its_limits_is_refused(
    sdk: Sdk, message: dict[str, Any], named: str
) -> None:
    answer = make_welcome(sdk, message)
    assert answer["code"] == 40002
    assert named in answer["message"]


def test_a_direct_message_ad_needs_a_welcome_message(sdk: Sdk) -> None:
    group = sdk.make_ad_group(sdk.make_campaign(), "LEAD_GENERATION")
    creative = vendor.AdcreateCreatives(**sdk.creative_values("A", auto_message_id=None))
    body = vendor.AdCreateBody(advertiser_id=sdk.advertiser_id, adgroup_id=group, creatives=[creative])
    with pytest.raises(TiktokSDKError, match="auto_message_id") as caught:
        sdk.call(sdk.ads().ad_create, body=body)
    assert code_of(caught.value) == 40002
