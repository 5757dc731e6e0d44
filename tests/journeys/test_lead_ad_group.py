"""Journey d: the goal Lead needs capture; the API names the remedy, the flow turns it on in place."""

from tests.journeys.running import House, ad_group


def _campaign(house: House) -> str:
    made = house.data("POST", "/campaign/create/", campaign_name="C", objective_type="LEAD_GENERATION")
    campaign_id: str = made["campaign_id"]
    return campaign_id


def test_with_capture_off_the_refusal_names_the_remedy_and_keeps_nothing(
    house_without_capture: House,
) -> None:
    house = house_without_capture
    asked = ad_group(_campaign(house), "LEAD_GENERATION", house.webchat_id)
    refused = house.api("POST", "/adgroup/create/", **asked)
    assert refused["code"] == 40002
    assert "/open_api/v1.3/contatto/capture/turn_on/" in refused["message"]
    assert house.data("GET", "/adgroup/get/")["list"] == []


def test_after_the_remedy_the_same_request_goes_through(house_without_capture: House) -> None:
    house = house_without_capture
    asked = ad_group(_campaign(house), "LEAD_GENERATION", house.webchat_id)
    assert house.api("POST", "/adgroup/create/", **asked)["code"] == 40002
    turned = house.data(
        "POST",
        "/contatto/capture/turn_on/",
        channel_account_id=house.webchat_id,
        company_name="Kopi and Co",
        privacy_policy_url="https://kopi.example.com/privacy",
    )
    assert turned["capture"] == "ON"
    made = house.data("POST", "/adgroup/create/", **asked)
    read = house.data("GET", "/adgroup/get/", filtering={"adgroup_ids": [made["adgroup_id"]]})["list"][0]
    assert read["optimization_goal"] == "LEAD_GENERATION"
    assert (read["click_attribution_window"], read["view_attribution_window"]) == ("SEVEN_DAYS", "ONE_DAY")


def test_a_target_country_outside_the_list_is_refused_by_name(house: House) -> None:
    asked = ad_group(_campaign(house), "LEAD_GENERATION", house.webchat_id)
    refused = house.api("POST", "/adgroup/create/", **(asked | {"location_ids": ["1880251", "3175395"]}))
    assert refused["code"] == 40002
    assert "IT" in refused["message"]
