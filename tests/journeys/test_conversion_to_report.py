"""Journey c: touches and conversions become the report, in which conversions follow the goal (R47–R56)."""

import time

from tests.journeys.running import House, message, until

NOW_MS = int(time.time() * 1000)


def _tap(house: House, ad_id: str, user: str, at_ms: int) -> None:
    content = {
        "from": user, "from_user": {"id": user}, "conversation_id": f"conversation of {user}",
        "timestamp": at_ms, "referral": {"source": "ad", "ad": {"ad_id": ad_id}},
    }  # fmt: skip
    house.webhook("im_referral_msg", content)


def test_a_lead_that_follows_a_chat_of_another_goal_is_credited_to_the_lead_ad_group(house: House) -> None:
    """The worked example of the product page (R49)."""
    talk = house.make_ad("CONVERSATION", house.tiktok_id)
    lead = house.make_ad("LEAD_GENERATION", house.tiktok_id)
    _tap(house, talk["ad_id"], "u1", NOW_MS - 7_200_000)
    house.webhook("im_receive_msg", message("hello", "u1", NOW_MS - 7_100_000))
    _tap(house, lead["ad_id"], "u1", NOW_MS - 3_600_000)
    house.webhook("im_receive_msg", message("reach me at mei@example.com", "u1", NOW_MS - 3_500_000))

    wanted = ["conversion", "real_time_conversion", "messaging_total_conversation_tiktok_direct_message"]
    report = until(lambda: _report_when(house, lead["adgroup_id"], wanted))
    assert report[lead["adgroup_id"]]["conversion"] == "1"
    assert report[talk["adgroup_id"]]["conversion"] == "1"
    talks = "messaging_total_conversation_tiktok_direct_message"
    assert report[lead["adgroup_id"]][talks] == "0"
    assert report[talk["adgroup_id"]][talks] == "1"


def _report_when(house: House, ad_group: str, metrics: list[str]) -> dict[str, dict[str, str]]:
    report = house.report(metrics=metrics)
    return report if report.get(ad_group, {}).get("conversion") == "1" else {}


def test_the_page_shows_the_same_figures_and_says_when_goals_are_mixed(house: House) -> None:
    talk = house.make_ad("CONVERSATION", house.tiktok_id)
    house.make_ad("LEAD_GENERATION", house.tiktok_id)
    _tap(house, talk["ad_id"], "u1", NOW_MS - 60_000)
    house.webhook("im_receive_msg", message("hello", "u1", NOW_MS - 50_000))
    assert until(lambda: _report_when(house, talk["adgroup_id"], ["conversion"]))
    house.sign_in()
    page = house.client.get("/reports").text
    assert "CONVERSATION group" in page
    assert "LEAD_GENERATION group" in page
    assert "Conversions of different goals are not added up" in page
