"""Small things of the Ads Manager that made people ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contatto.channels.store import channel_accounts
from tests.ads.test_pages import make_campaign, post
from tests.journeys.running import House, running_house


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    with running_house(tmp_path, database_url=database_url) as running:
        running.sign_in()
        yield running


def test_ad_groups_and_ads_are_listed_by_their_goal_as_the_sdk_asks(house: House) -> None:
    made = {goal: house.make_ad(goal) for goal in ("LEAD_GENERATION", "CONVERSATION")}
    for word, goal in (
        ("LEAD_GENERATION", "LEAD_GENERATION"),
        ("LEAD", "LEAD_GENERATION"),
        ("CONVERSATION",) * 2,
    ):
        groups = house.data("GET", "/adgroup/get/", filtering={"optimization_goal": word})
        assert [one["adgroup_id"] for one in groups["list"]] == [made[goal]["adgroup_id"]]
        assert groups["page_info"]["total_number"] == 1
        ads = house.data("GET", "/ad/get/", filtering={"optimization_goal": word})["list"]
        assert [one["ad_id"] for one in ads] == [made[goal]["ad_id"]]
    assert house.data("GET", "/adgroup/get/", filtering={"optimization_goal": "CLICK"})["list"] == []


def test_chat_accounts_of_one_name_are_told_apart(house: House) -> None:
    form = {
        "platform": "tiktok",
        "external_id": "open-2",
        "name": "Kopi on TikTok",
        "handle": "kopi2",
        "country": "SG",
    }
    assert post(house, "/settings/channels/accounts", **form).status_code == 303
    text = house.client.get(f"/ads/campaigns/{make_campaign(house)}/ad-groups/new").text
    assert "Kopi on TikTok · TikTok kopi2" in text
    assert "Kopi on TikTok · TikTok kopi ·" in text


def test_without_a_chat_account_the_form_says_where_one_is_connected(house: House) -> None:
    campaign = make_campaign(house)
    house.context.db.write_now(lambda tx: tx.execute(channel_accounts.delete()))
    text = house.client.get(f"/ads/campaigns/{campaign}/ad-groups/new").text
    assert 'name="channel_account_id"' not in text
    assert 'href="/settings/channels"' in text


def test_the_preview_says_what_our_own_chat_says_first(house: House) -> None:
    text = house.client.get(f"/settings/chat/{house.webchat_id}/first").text
    assert "Hello! Write to us here" in text
    assert "Hello! Write to us here" in house.client.get(f"/chat/{house.webchat_id}").text


def test_a_refusal_tells_no_field_of_ours(house: House) -> None:
    house.client.get(f"/chat/{house.webchat_id}")
    refused = post(house, "/ads/bulk/pause", rows=["ads-x"])
    assert refused.status_code == 422
    late = post(house, "/inbox/none/scheduled", page="/ads", at="", text="Hi", reply_id="x")
    assert "at: " not in late.text
    assert "at%3A" not in late.headers.get("x-message", "")
