"""The Ads Manager through the running app."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contatto.accounts import store as accounts
from contatto.accounts.model import BusinessId
from contatto.ads import store
from contatto.ads.actions.campaigns import audit_ad
from contatto.ads.model import Ad, Audit, NodeFilter, NodeStatus
from contatto.ads.store import load_live_nodes
from contatto.audiences.actions import NewAudience, create_audience
from contatto.capture.actions import turn_off_capture, turn_on_capture
from contatto.capture.store import list_capturing
from contatto.kit.db.tx import Tx
from tests.ads.world import Chain, add_chain, add_world
from tests.journeys.running import House, csrf_of, running_house

COMPANY = {
    "company_name": "Kopi and Co",
    "company_site": "",
    "privacy_policy_url": "https://kopi.example.com/p",
}
FORM: dict[str, Any] = {
    "name": "Lunch people", "goal": "lead", "country": ["SG", "MY"], "budget": "12.50", "bid": "",
    "click_window_days": "28", "view_window_days": "0", "starts_on": "", "ends_on": "",
}  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[House]:
    """A house whose capture is off."""
    with running_house(tmp_path, capture_on=False) as running:
        running.sign_in()
        yield running


def capturing(house: House) -> set[str]:
    return house.context.db.read_now(lambda tx: list_capturing(tx, house.business_id))


def post(house: House, path: str, page: str = "/ads", **form: Any) -> Any:
    token = csrf_of(house.client.get(page).text)
    return house.client.post(path, data=form | {"csrf_token": token}, follow_redirects=False)


def make_campaign(house: House) -> str:
    answer = post(house, "/ads/campaigns", advertiser_id=house.advertiser_id, name="November")
    assert answer.status_code == 303, answer.text
    found = re.fullmatch(r"/ads/campaigns/(\d+)/ad-groups/new", answer.headers["location"])
    assert found
    return found.group(1)


def ad_groups(house: House) -> int:
    return len(house.data("GET", "/adgroup/get/")["list"])


def test_the_three_steps_lead_to_a_preview_with_a_working_chat_link(house: House) -> None:
    campaign = make_campaign(house)
    form = FORM | {"channel_account_id": house.webchat_id}
    assert "Lunch" not in house.client.get(f"/ads/campaigns/{campaign}/ad-groups/new").text
    step = post(house, f"/ads/campaigns/{campaign}/ad-groups", **form)
    assert step.status_code == 303, step.text
    assert house.client.get(step.headers["location"]).status_code == 200
    group = house.data("GET", "/adgroup/get/")["list"][0]
    assert (group["budget"], group["click_attribution_window"]) == (12.5, "TWENTY_EIGHT_DAYS")
    assert (group["view_attribution_window"], group["location_ids"]) == ("OFF", ["1733045", "1880251"])
    ads = step.headers["location"].removesuffix("/new")
    last = post(house, ads, name="First", headline="Coffee & cake?", body="Write <us>")
    assert last.status_code == 303, last.text
    preview = house.client.get(last.headers["location"]).text
    assert "Coffee &amp; cake?" in preview
    assert "Write &lt;us&gt;" in preview
    link = re.search(r'href="http://127.0.0.1:8000(/t/c/[^"]+)"', preview)
    assert link
    tap = house.client.get(link.group(1), follow_redirects=False)
    assert tap.headers["location"] == f"/chat/{house.webchat_id}"
    tree = house.client.get("/ads").text
    for part in ("November", "Lunch people", "First", "SGD 12.50", "28-day click", link.group(1)):
        assert part in tree


def test_with_capture_off_the_prompt_opens_and_keeps_what_was_typed(closed: House) -> None:
    campaign = make_campaign(closed)
    path, form = f"/ads/campaigns/{campaign}/ad-groups", FORM | {"channel_account_id": closed.webchat_id}
    prompt = post(closed, path, **form)
    assert prompt.status_code == 422
    assert 'id="capture-prompt"' in prompt.text
    assert 'value="Lunch people"' in prompt.text
    assert 'value="12.50"' in prompt.text
    assert ad_groups(closed) == 0
    wrong = post(
        closed, path, **form, **(COMPANY | {"privacy_policy_url": "no address"}), turn_on_capture="1"
    )
    assert wrong.status_code == 422
    assert 'id="prompt-privacy_policy_url-error"' in wrong.text
    assert 'value="no address"' in wrong.text
    assert not closed.context.db.read_now(
        lambda tx: closed.webchat_id in list_capturing(tx, closed.business_id)
    )
    done = post(closed, path, **form, **COMPANY, turn_on_capture="1")
    assert done.status_code == 303, done.text
    assert closed.webchat_id in capturing(closed)
    assert ad_groups(closed) == 1


def test_a_mistake_in_the_form_leaves_capture_off(closed: House) -> None:
    campaign = make_campaign(closed)
    form = FORM | {"channel_account_id": closed.webchat_id, "country": ["IT"]} | COMPANY
    answer = post(closed, f"/ads/campaigns/{campaign}/ad-groups", **form, turn_on_capture="1")
    assert answer.status_code == 422
    assert 'id="goal-error"' in answer.text
    assert not closed.context.db.read_now(
        lambda tx: closed.webchat_id in list_capturing(tx, closed.business_id)
    )


def test_a_budget_that_is_too_low_is_told_alone_while_capture_is_off(closed: House) -> None:
    campaign = make_campaign(closed)
    form = FORM | {"channel_account_id": closed.webchat_id, "budget": "0"}
    answer = post(closed, f"/ads/campaigns/{campaign}/ad-groups", **form)
    assert answer.status_code == 422
    assert 'id="budget-error"' in answer.text
    assert "Its id is" not in answer.text
    assert "Some fields need a correction." in answer.text


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": " "}, "name-error"),
        ({"budget": "plenty"}, "budget-error"),
        ({"budget": "0"}, "budget-error"),
        ({"bid": "99"}, "bid-error"),
        ({"ends_on": "2020-01-01"}, "ends_on-error"),
        ({"starts_on": "soon"}, "starts_on-error"),
        ({"pacing": "wild"}, "pacing-error"),
        ({"languages": ["tlh"]}, "languages-error"),
        ({"country": []}, "countries-error"),
        ({"country": ["TR"]}, "goal-error"),
        ({"goal": "fame"}, "goal-error"),
        ({"click_window_days": "3"}, "click_window_days-error"),
        ({"frequency": "3"}, "frequency_schedule-error"),
        ({"frequency": "often", "frequency_schedule": "7"}, "frequency-error"),
        ({"frequency": "3", "frequency_schedule": "29"}, "frequency_schedule-error"),
    ],
)
def test_a_mistake_stands_beside_its_field_and_nothing_is_lost(
    house: House, changes: dict[str, Any], error: str
) -> None:
    campaign = make_campaign(house)
    form = FORM | {"channel_account_id": house.webchat_id} | changes
    answer = post(house, f"/ads/campaigns/{campaign}/ad-groups", **form)
    assert answer.status_code == 422
    assert f'id="{error}"' in answer.text
    assert form["name"].strip() in answer.text
    assert ad_groups(house) == 0


def add_audience(house: House, business_id: str, name: str) -> str:
    """An audience of the first ad account of a business; its number as text."""

    def work(tx: Tx) -> str:
        account = accounts.list_ad_accounts(tx, BusinessId(business_id))[0]
        return str(create_audience(tx, account, NewAudience(name)).number)

    return house.context.db.write_now(work)


def test_an_ad_group_is_made_with_every_choice_of_the_form(house: House) -> None:
    campaign = make_campaign(house)
    regulars, strangers = (add_audience(house, house.business_id, name) for name in ("Regulars", "Strangers"))
    page = house.client.get(f"/ads/campaigns/{campaign}/ad-groups/new").text
    for part in ("Regulars", "Bahasa Indonesia", "25–34", "Food and beverage", "Asia/Singapore"):
        assert part in page
    form = FORM | {
        "channel_account_id": house.webchat_id, "budget_mode": "BUDGET_MODE_TOTAL", "bid": "3",
        "pacing": "PACING_MODE_FAST", "languages": ["en", "id"], "age_groups": ["AGE_25_34"],
        "interest_category_ids": ["27"], "audience_ids": [regulars], "excluded_audience_ids": [strangers],
        "starts_on": "2099-12-01", "starts_time": "09:30", "ends_on": "2099-12-24", "frequency": "3",
        "frequency_schedule": "7",
    }  # fmt: skip
    made = post(house, f"/ads/campaigns/{campaign}/ad-groups", **form)
    assert made.status_code == 303, made.text
    [group] = house.data("GET", "/adgroup/get/")["list"]
    expected = {
        "budget_mode": "BUDGET_MODE_TOTAL", "bid_type": "BID_TYPE_CUSTOM", "conversion_bid_price": 3.0,
        "pacing": "PACING_MODE_FAST", "languages": ["en", "id"], "age_groups": ["AGE_25_34"],
        "interest_category_ids": ["27"], "audience_ids": [regulars], "excluded_audience_ids": [strangers],
        "schedule_start_time": "2099-12-01 01:30:00", "schedule_end_time": "2099-12-24 16:00:00",
        "frequency": 3, "frequency_schedule": 7,
    }  # fmt: skip
    assert {name: group[name] for name in expected} == expected


def test_a_refused_form_keeps_every_choice_and_opens_the_part_with_the_mistake(house: House) -> None:
    campaign = make_campaign(house)
    regulars = add_audience(house, house.business_id, "Regulars")
    form = FORM | {
        "channel_account_id": house.webchat_id, "languages": ["en"], "starts_time": "09:30",
        "audience_ids": [regulars], "excluded_audience_ids": [regulars],
    }  # fmt: skip
    page = post(house, f"/ads/campaigns/{campaign}/ad-groups", **form | {"starts_on": "2099-12-01"}).text
    assert 'id="excluded_audience_ids-error"' in page
    assert re.search(r'id="fold-audiences" open', page)
    assert re.search(r'id="fold-people">', page)
    assert 'value="en" checked' in page
    assert page.count(f'value="{regulars}" data-says="+ Regulars" checked') == 1
    assert 'value="09:30"' in page
    assert "From 2099-12-01 09:30" in page


def test_what_belongs_to_another_business_is_refused_and_nothing_is_made(house: House) -> None:
    campaign = make_campaign(house)
    stranger = house.context.db.write_now(add_world)
    theirs = add_audience(house, stranger.id, "Theirs")
    form = FORM | {"channel_account_id": house.webchat_id}
    path = f"/ads/campaigns/{campaign}/ad-groups"
    assert 'id="audience_ids-error"' in post(house, path, **form | {"audience_ids": [theirs]}).text
    assert 'id="page_id-error"' in post(house, path, **form | {"page_id": "123"}).text
    assert post(house, path, **form | {"channel_account_id": stranger.channel.id}).status_code == 404
    assert ad_groups(house) == 0


def test_an_ad_group_goes_without_a_budget_only_under_one_of_its_campaign(house: House) -> None:
    campaign = make_campaign(house)
    form = FORM | {"channel_account_id": house.webchat_id, "budget_mode": "BUDGET_MODE_INFINITE"}
    answer = post(house, f"/ads/campaigns/{campaign}/ad-groups", **form)
    assert 'id="budget_mode-error"' in answer.text
    assert ad_groups(house) == 0


def test_the_live_check_names_the_failing_countries(house: House) -> None:
    campaign = make_campaign(house)
    query = {"channel_account_id": house.webchat_id, "country": ["SG", "TR", "IT"], "goal": "lead"}
    panel = house.client.get(f"/ads/campaigns/{campaign}/eligibility", params=query).text
    assert "<html" not in panel
    assert "Italy, Türkiye are not available." in panel
    assert panel.count("check--ok") == 2
    assert panel.count("check--bad") == 1


def test_with_nothing_chosen_the_live_check_waits(house: House) -> None:
    campaign = make_campaign(house)
    panel = house.client.get(f"/ads/campaigns/{campaign}/eligibility").text
    assert "check--" not in panel


def test_a_campaign_without_a_name_comes_back_with_its_form(house: House) -> None:
    answer = post(house, "/ads/campaigns", advertiser_id=house.advertiser_id, name=" ")
    assert answer.status_code == 422
    assert 'id="name-error"' in answer.text


def test_an_ad_without_a_headline_comes_back_with_its_form(house: House) -> None:
    group = house.make_ad("LEAD_GENERATION")["adgroup_id"]
    answer = post(house, f"/ads/ad-groups/{group}/ads", name="Second", headline="", body="Kept text")
    assert answer.status_code == 422
    assert 'id="headline-error"' in answer.text
    assert "Kept text" in answer.text


def test_the_tree_pauses_and_starts(house: House) -> None:
    ids = house.make_ad("CONVERSATION")
    for kind, name in (("campaigns", "campaign"), ("ad-groups", "adgroup"), ("ads", "ad")):
        number = ids[f"{name}_id"]
        for wanted, shown in (("paused", "DISABLE"), ("active", "ENABLE")):
            assert post(house, f"/ads/{kind}/{number}/status", status=wanted).status_code == 303
            row = house.data("GET", f"/{name}/get/", filtering={f"{name}_ids": [number]})["list"][0]
            assert row["operation_status"] == shown


def test_pages_of_another_business_are_not_found_and_change_nothing(house: House) -> None:
    def work(tx: Tx) -> Chain:
        return add_chain(tx, add_world(tx))

    chain = house.context.db.write_now(work)
    campaign, group, ad = chain.campaign.number, chain.ad_group.number, chain.ad.number
    for path in (
        f"/ads/campaigns/{campaign}/ad-groups/new",
        f"/ads/campaigns/{campaign}/eligibility",
        f"/ads/ad-groups/{group}/ads/new",
        f"/ads/{ad}/preview",
    ):
        assert house.client.get(path).status_code == 404
    form = FORM | {"channel_account_id": house.webchat_id}
    assert post(house, f"/ads/campaigns/{campaign}/ad-groups", **form).status_code == 404
    assert post(house, f"/ads/ad-groups/{group}/ads", name="A", headline="B", body="").status_code == 404
    assert post(house, f"/ads/ads/{ad}/status", status="paused").status_code == 404
    live = house.context.db.read_now(lambda tx: load_live_nodes(tx, chain.ad.business_id).live)
    assert [each.ad.id for each in live] == [chain.ad.id]
    mine = (chain.ad.business_id, chain.ad.ad_account_id, NodeFilter(statuses=frozenset(NodeStatus)))
    assert house.context.db.read_now(lambda tx: store.count_nodes(tx, Ad, *mine)) == 1


def test_a_form_without_its_token_is_refused(house: House) -> None:
    form = {"advertiser_id": house.advertiser_id, "name": "Forged"}
    assert house.client.post("/ads/campaigns", data=form).status_code == 403
    assert house.data("GET", "/campaign/get/")["list"] == []


def test_the_tree_says_what_keeps_ads_from_being_shown(house: House) -> None:
    ids = house.make_ad("LEAD_GENERATION")
    assert "Delivering" in house.client.get("/ads").text
    house.context.db.write_now(lambda tx: turn_off_capture(tx, house.business_id, house.webchat_id))
    assert "Lead capture is off" in house.client.get("/ads").text
    house.context.db.write_now(lambda tx: audit_ad(tx, int(ids["ad_id"]), Audit.REJECTED, "Say the price."))
    house.context.db.write_now(lambda tx: turn_on_capture(tx, house.business_id, house.webchat_id, None))
    assert "Rejected" in house.client.get("/ads").text
    assert post(house, f"/ads/campaigns/{ids['campaign_id']}/status", status="paused").status_code == 303
    assert "Campaign is paused" in house.client.get("/ads").text
