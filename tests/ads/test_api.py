"""The ads API through the running app: what it makes, what it refuses, and whom it lets in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contatto.accounts import actions as accounts
from contatto.accounts.model import Permission
from contatto.kit.db.tx import Tx
from tests.ads.world import Chain, World, add_chain, add_channel, add_world
from tests.forms.papers import published
from tests.journeys.running import API, House, ad_group, running_house

SDK_CAMPAIGN = {
    "budget_mode": "BUDGET_MODE_INFINITE", "budget_optimize_on": False, "campaign_name": "C",
    "objective_type": "LEAD_GENERATION", "operation_status": "ENABLE", "rta_bid_enabled": False,
}  # fmt: skip
SDK_AD_GROUP = {
    "automated_keywords_enabled": False, "brand_safety_type": "NO_BRAND_SAFETY",
    "creative_material_mode": "CUSTOM", "ios14_targeting": "UNSET", "is_hfss": False,
    "is_lhf_compliance": False, "operation_status": "ENABLE", "placement_type": "PLACEMENT_TYPE_NORMAL",
    "share_disabled": False, "vbo_window": "SEVEN_DAYS", "placements": ["PLACEMENT_TIKTOK"],
}  # fmt: skip
CREATIVE = {
    "ad_format": "SINGLE_VIDEO", "ad_name": "A", "ad_text": "T", "auto_message_id": "18001",
    "call_to_action": "SEND_MESSAGE", "identity_type": "TT_USER", "page_id": 7400000000000000001,
    "video_id": "v1", "aigc_disclosure_type": "NOT_DECLARED", "creative_authorized": False,
    "deeplink_type": "NORMAL", "promotional_music_disabled": True,
    "shopping_ads_deeplink_type": "NONE", "operation_status": "ENABLE",
}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.fixture(scope="module")
def campaign(house: House) -> str:
    made: str = house.data("POST", "/campaign/create/", **SDK_CAMPAIGN)["campaign_id"]
    return made


def asked(house: House, campaign: str, **changes: Any) -> dict[str, Any]:
    """The body of an ad group; a change to None takes the field out."""
    body = ad_group(campaign, "LEAD_GENERATION", house.webchat_id) | SDK_AD_GROUP | changes
    return {name: value for name, value in body.items() if value is not None}


def refusal(house: House, path: str, **body: Any) -> tuple[int, str]:
    answer = house.api("POST", path, **body)
    assert answer["data"] == {}
    return answer["code"], answer["message"]


def how_many(house: House) -> list[int]:
    every = {"primary_status": "STATUS_ALL"}
    paths = ("/campaign/get/", "/adgroup/get/", "/ad/get/")
    return [house.data("GET", path, filtering=every)["page_info"]["total_number"] for path in paths]


def test_a_campaign_made_with_the_defaults_of_the_sdk_is_read_back(house: House, campaign: str) -> None:
    query = {"filtering": {"campaign_ids": [campaign], "objective_type": "LEAD_GENERATION"}}
    data = house.data("GET", "/campaign/get/", page="1", page_size="10", **query)
    assert data["page_info"] == {"page": 1, "page_size": 10, "total_number": 1, "total_page": 1}
    row = data["list"][0]
    assert (row["campaign_id"], row["advertiser_id"]) == (campaign, house.advertiser_id)
    assert (row["operation_status"], row["secondary_status"]) == ("ENABLE", "CAMPAIGN_STATUS_ENABLE")
    assert row["objective_type"] == "LEAD_GENERATION"


def test_chosen_fields_are_the_only_ones(house: House, campaign: str) -> None:
    filtering = {"campaign_ids": [campaign]}
    rows = house.data("GET", "/campaign/get/", filtering=filtering, fields=["campaign_name"])["list"]
    assert rows == [{"campaign_name": "C"}]


def test_an_ad_group_keeps_its_own_windows(house: House, campaign: str) -> None:
    windows = {"click_attribution_window": "TWENTY_EIGHT_DAYS", "view_attribution_window": "OFF",
               "attribution_event_count": "ONCE"}  # fmt: skip
    made = house.data("POST", "/adgroup/create/", **asked(house, campaign, **windows))
    filtering = {"adgroup_ids": [made["adgroup_id"]], "primary_status": "STATUS_NOT_DELETE"}
    row = house.data("GET", "/adgroup/get/", filtering=filtering)["list"][0]
    assert row["click_attribution_window"] == "TWENTY_EIGHT_DAYS"
    assert row["view_attribution_window"] == "OFF"
    assert (row["budget"], row["location_ids"]) == (50.0, ["1880251"])
    assert (row["campaign_id"], row["schedule_start_time"]) == (campaign, "2026-01-01 00:00:00")


def test_a_frequency_cap_is_made_changed_and_ended(house: House, campaign: str) -> None:
    made = house.data(
        "POST", "/adgroup/create/", **asked(house, campaign, frequency=3.0, frequency_schedule=7)
    )
    number = made["adgroup_id"]

    def cap(**changes: Any) -> tuple[int | None, int | None]:
        house.data("POST", "/adgroup/update/", adgroup_id=number, **changes)
        [group] = house.data("GET", "/adgroup/get/", filtering={"adgroup_ids": [number]})["list"]
        return group["frequency"], group["frequency_schedule"]

    assert (made["frequency"], made["frequency_schedule"]) == (3, 7)
    assert cap(adgroup_name="Another") == (3, 7)
    assert cap(frequency=5) == (5, 7)
    assert cap(frequency=0) == (None, None)
    code, says = refusal(house, "/adgroup/update/", adgroup_id=number, frequency=2)
    assert (code, says.partition(":")[0]) == (40002, "frequency_schedule")
    assert cap(frequency=2, frequency_schedule=28) == (2, 28)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"frequency": 3}, "frequency_schedule"),
        ({"frequency_schedule": 3}, "frequency"),
        ({"frequency": 101, "frequency_schedule": 7}, "frequency"),
        ({"frequency": 3, "frequency_schedule": 29}, "frequency_schedule"),
        ({"frequency": 3, "frequency_schedule": 0}, "frequency_schedule"),
        ({"frequency": -1, "frequency_schedule": 7}, "frequency"),
        ({"frequency": 1.5, "frequency_schedule": 7}, "frequency"),
    ],
)
def test_a_frequency_cap_that_is_no_cap_is_refused_by_field(
    house: House, campaign: str, changes: dict[str, Any], field: str
) -> None:
    code, says = refusal(house, "/adgroup/create/", **asked(house, campaign, **changes))
    assert (code, says.partition(":")[0]) == (40002, field)


def test_ids_may_be_numbers(house: House, campaign: str) -> None:
    body = asked(house, campaign, campaign_id=int(campaign), location_ids=[1880251])
    made = house.data("POST", "/adgroup/create/", **body)
    assert made["campaign_id"] == campaign


def test_lead_is_another_word_for_lead_generation(house: House, campaign: str) -> None:
    made = house.data("POST", "/adgroup/create/", **asked(house, campaign, optimization_goal="LEAD"))
    assert made["optimization_goal"] == "LEAD_GENERATION"


def test_without_an_identity_an_ad_group_takes_an_account_that_may_have_the_goal(
    house: House, campaign: str
) -> None:
    made = house.data("POST", "/adgroup/create/", **asked(house, campaign, identity_id=None))
    assert made["identity_id"] in (house.webchat_id, house.tiktok_id)


def test_ads_keep_what_was_sent_and_show_ids_as_text(house: House) -> None:
    ids = house.make_ad("CONVERSATION")
    form = house.context.db.write_now(lambda tx: published(tx, house.business_id))
    sent = CREATIVE | {"auto_message_id": house.first_message(), "page_id": form.number}
    body = {"adgroup_id": ids["adgroup_id"], "creatives": [sent, sent | {"ad_name": "B"}]}
    made = house.data("POST", "/ad/create/", **body)
    assert len(made["ad_ids"]) == len(made["creatives"]) == 2
    rows = house.data("GET", "/ad/get/", filtering={"ad_ids": made["ad_ids"]})["list"]
    assert [row["ad_name"] for row in rows] == ["B", "A"]
    assert {row["page_id"] for row in rows} == {str(form.number)}
    assert {row["auto_message_id"] for row in rows} == {house.first_message()}
    assert {row["secondary_status"] for row in rows} == {"AD_STATUS_DELIVERY_OK"}


def test_a_status_changes_and_deletion_is_final(house: House) -> None:
    ids = house.make_ad("LEAD_GENERATION")
    for kind, plural in (("ad", "ad_ids"), ("adgroup", "adgroup_ids"), ("campaign", "campaign_ids")):
        own = ids[f"{kind}_id"]
        data = house.data("POST", f"/{kind}/status/update/", operation_status="DISABLE", **{plural: [own]})
        assert data == {"status": "DISABLE", plural: [own]}
    filtering = {"filtering": {"ad_ids": [ids["ad_id"]]}}
    ad = house.data("GET", "/ad/get/", **filtering)["list"][0]
    assert (ad["operation_status"], ad["secondary_status"]) == ("DISABLE", "AD_STATUS_CAMPAIGN_DISABLE")
    house.data(
        "POST", "/campaign/status/update/", operation_status="DELETE", campaign_ids=[ids["campaign_id"]]
    )
    assert house.data("GET", "/ad/get/", **filtering)["list"] == []
    code, says = refusal(house, "/ad/status/update/", operation_status="ENABLE", ad_ids=[ids["ad_id"]])
    assert code == 40002
    assert "operation_status" in says


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"location_ids": ["6252001", "1880251"]}, ["location_ids", "US"]),
        ({"location_ids": ["298795"]}, ["location_ids", "TR"]),
        ({"location_ids": ["42"]}, ["location_ids", "42"]),
        ({"location_ids": []}, ["location_ids"]),
        ({"location_ids": None}, ["location_ids"]),
        ({"optimization_goal": "INSTALL"}, ["optimization_goal", "LEAD_GENERATION", "CONVERSATION"]),
        ({"promotion_type": "WEBSITE"}, ["promotion_type", "LEAD_GEN_CLICK_TO_TT_DIRECT_MESSAGE"]),
        ({"click_attribution_window": "SEVEN_DAYS"}, ["view_attribution_window"]),
        ({"view_attribution_window": "ONE_DAY"}, ["click_attribution_window"]),
        (
            {"click_attribution_window": "TWO_DAYS", "view_attribution_window": "OFF"},
            ["click_attribution_window", "SEVEN_DAYS", "TWENTY_EIGHT_DAYS"],
        ),
        ({"billing_event": "CPC"}, ["billing_event", "OCPM"]),
        ({"budget": 0}, ["budget"]),
        ({"budget": None}, ["budget"]),
        ({"budget": "much"}, ["budget"]),
        ({"bid_type": "BID_TYPE_CUSTOM"}, ["conversion_bid_price"]),
        ({"schedule_type": "SCHEDULE_START_END"}, ["schedule_end_time"]),
        ({"schedule_start_time": "tomorrow"}, ["schedule_start_time"]),
        ({"adgroup_name": ""}, ["adgroup_name"]),
        (
            {"optimization_goal": "CONVERSATION", "optimization_event": "FORM"},
            ["optimization_event", "MESSAGE"],
        ),
    ],
)
def test_a_wrong_value_is_refused_by_field_and_keeps_nothing(
    house: House, campaign: str, changes: dict[str, Any], says: list[str]
) -> None:
    before = how_many(house)
    code, message = refusal(house, "/adgroup/create/", **asked(house, campaign, **changes))
    assert code == 40002
    for part in says:
        assert part in message
    assert how_many(house) == before


@pytest.mark.parametrize(
    ("path", "body", "part"),
    [
        ("/campaign/create/", {"objective_type": "REACH", "campaign_name": "C"}, "objective_type"),
        ("/campaign/create/", {"objective_type": "LEAD_GENERATION"}, "campaign_name"),
        ("/campaign/create/", {**SDK_CAMPAIGN, "advertiser_id": "abc"}, "advertiser_id"),
        ("/campaign/status/update/", {"campaign_ids": [], "operation_status": "ENABLE"}, "campaign_ids"),
        (
            "/campaign/status/update/",
            {"campaign_ids": ["1"] * 21, "operation_status": "ENABLE"},
            "campaign_ids",
        ),
        ("/campaign/status/update/", {"campaign_ids": ["1"], "operation_status": "STOP"}, "operation_status"),
        ("/ad/create/", {"adgroup_id": "1", "creatives": []}, "creatives"),
    ],
)
def test_a_wrong_body_names_its_field(house: House, path: str, body: dict[str, Any], part: str) -> None:
    code, message = refusal(house, path, **body)
    assert code == 40002
    assert part in message


def test_a_body_is_json_whether_or_not_it_says_so_and_what_is_none_is_unreadable(house: House) -> None:
    def post(raw: str) -> Any:
        url, headers = f"{API}/campaign/create/", {"Access-Token": house.token}
        return house.client.post(url, content=raw, headers=headers).json()

    body = json.dumps(SDK_CAMPAIGN | {"advertiser_id": house.advertiser_id})
    assert post(body)["code"] == 0
    assert (post(body[:-1])["code"], post(body[:-1])["message"][:24]) == (40000, "The body could not be re")


def test_an_ad_without_the_call_to_action_of_messages_is_refused(house: House) -> None:
    group = house.make_ad("LEAD_GENERATION")["adgroup_id"]
    sent = {key: value for key, value in CREATIVE.items() if key != "page_id"}
    sent |= {"auto_message_id": house.first_message()}
    body = {"adgroup_id": group, "creatives": [sent, sent | {"call_to_action": "LEARN_MORE"}]}
    before = how_many(house)
    code, message = refusal(house, "/ad/create/", **body)
    assert code == 40002
    assert "SEND_MESSAGE" in message
    assert how_many(house) == before


def test_the_check_names_each_failing_country_and_the_next_step(house: House) -> None:
    data = house.data(
        "GET", "/contatto/eligibility/check/", location_ids=["1880251", "3175395"], countries=["EAU"]
    )
    assert data["eligible"] is False
    assert [check["passed"] for check in data["checks"]] == [True, True, False]
    assert data["checks"][2]["countries"] == ["AE", "IT", "SG"]
    assert data["checks"][2]["failing_countries"] == ["IT"]
    assert data["next_steps"] == []
    assert house.data("GET", "/contatto/eligibility/check/", countries=["SG"])["eligible"] is True


def test_the_check_says_when_capture_is_off(tmp_path: Path) -> None:
    with running_house(tmp_path, capture_on=False) as house:
        data = house.data("GET", "/contatto/eligibility/check/", countries=["SG"])
        assert (data["eligible"], data["next_steps"]) == (True, ["turn_on_capture"])


@pytest.fixture(scope="module")
def foreign(house: House) -> tuple[World, Chain]:
    """What another business of the same installation has."""

    def work(tx: Tx) -> tuple[World, Chain]:
        world = add_world(tx)
        return world, add_chain(tx, world)

    return house.context.db.write_now(work)


def test_the_ids_of_another_business_are_not_found(
    house: House, campaign: str, foreign: tuple[World, Chain]
) -> None:
    world, chain = foreign
    before = how_many(house)
    attempts = [
        ("/adgroup/create/", asked(house, str(chain.campaign.number))),
        ("/adgroup/create/", asked(house, campaign, identity_id=world.channel.id)),
        ("/ad/create/", {"adgroup_id": str(chain.ad_group.number), "creatives": [CREATIVE]}),
        (
            "/campaign/status/update/",
            {"campaign_ids": [str(chain.campaign.number)], "operation_status": "DELETE"},
        ),
        (
            "/adgroup/status/update/",
            {"adgroup_ids": [str(chain.ad_group.number)], "operation_status": "DELETE"},
        ),
        ("/ad/status/update/", {"ad_ids": [str(chain.ad.number)], "operation_status": "DELETE"}),
    ]
    for path, body in attempts:
        assert refusal(house, path, **body)[0] == 40007, path
    assert how_many(house) == before
    found = house.data("GET", "/ad/get/", filtering={"ad_ids": [str(chain.ad.number)]})
    assert found["list"] == []


def test_the_ad_account_of_another_business_is_no_ad_account(
    house: House, foreign: tuple[World, Chain]
) -> None:
    number = str(foreign[0].ad_account.number)
    for path in ("/campaign/get/", "/adgroup/get/", "/ad/get/", "/contatto/eligibility/check/"):
        assert house.api("GET", path, advertiser_id=number)["code"] == 40300
    assert refusal(house, "/campaign/create/", **(SDK_CAMPAIGN | {"advertiser_id": number}))[0] == 40300


def test_what_lies_under_another_ad_account_of_the_business_is_not_found(house: House, campaign: str) -> None:
    def work(tx: Tx) -> int:
        new = accounts.NewAdAccount("Second", "SG", "SGD", "Asia/Singapore")
        return accounts.add_ad_account(tx, house.business_id, new).number  # type: ignore[arg-type]  # a plain text

    second = str(house.context.db.write_now(work))
    body = {"campaign_ids": [campaign], "operation_status": "DISABLE", "advertiser_id": second}
    assert refusal(house, "/campaign/status/update/", **body)[0] == 40007
    assert refusal(house, "/adgroup/create/", **asked(house, campaign, advertiser_id=second))[0] == 40007


def test_a_token_without_the_scope_changes_nothing(house: House, campaign: str) -> None:
    def work(tx: Tx) -> str:
        scopes = [Permission.READ_LEADS.value]
        return accounts.issue_token(tx, house.business_id, "narrow", scopes)[1]  # type: ignore[arg-type]  # as above

    before = how_many(house)
    wide, house.token = house.token, house.context.db.write_now(work)
    try:
        assert refusal(house, "/campaign/create/", **SDK_CAMPAIGN)[0] == 40130
        assert house.api("GET", "/campaign/get/")["code"] == 40130
        body = {"campaign_ids": [campaign], "operation_status": "DELETE"}
        assert refusal(house, "/campaign/status/update/", **body)[0] == 40130
    finally:
        house.token = wide
    assert how_many(house) == before


def test_an_account_registered_elsewhere_fails_the_first_check(house: House, campaign: str) -> None:
    foreign_account = house.context.db.write_now(lambda tx: add_channel(tx, house.business_id, "IT", "Roma"))
    code, message = refusal(
        house, "/adgroup/create/", **asked(house, campaign, identity_id=foreign_account.id)
    )
    assert code == 40002
    assert "identity_id" in message
    assert "IT" in message
