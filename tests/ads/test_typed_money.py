"""Budgets and bids as members of nine languages type them: in forms, bulk box and edit pages."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from babel import Locale
from babel.numbers import format_decimal

from contatto.kit.languages import LANGUAGES
from tests.ads.test_edits import edit, fields_of, group_of
from tests.ads.test_pages import FORM, make_campaign, post
from tests.journeys.running import House, running_house
from tests.unchanged import nothing_changes


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    with running_house(tmp_path, database_url=database_url) as running:
        running.sign_in()
        yield running


def speak(house: House, language: str) -> None:
    profile = {"display_name": "Mia", "language": language, "timezone": ""}
    assert post(house, "/settings/profile", **profile).status_code == 303


def written(amount: float, lang: str) -> str:
    return format_decimal(amount, "#,##0.00", Locale.parse(lang, sep="-"))


def bulk(house: House, act: str, rows: list[str], **form: Any) -> str:
    answer = post(house, f"/ads/bulk/{act}", rows=rows, **form)
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def test_a_budget_and_a_bid_mean_what_the_language_of_their_member_says(house: House) -> None:
    campaign = make_campaign(house)
    for lang in LANGUAGES:
        speak(house, lang)
        form = FORM | {"channel_account_id": house.webchat_id, "name": f"In {lang}"}
        form |= {"budget": written(1234.56, lang), "bid": written(1.5, lang)}
        made = post(house, f"/ads/campaigns/{campaign}/ad-groups", **form)
        assert made.status_code == 303, made.text
        [group] = [
            one for one in house.data("GET", "/adgroup/get/")["list"] if one["adgroup_name"] == f"In {lang}"
        ]
        assert (group["budget"], group["conversion_bid_price"]) == (1234.56, 1.5)
        page = house.client.get(f"/ads/ad-groups/{group['adgroup_id']}/edit").text
        shown = format_decimal(1234.56, "0.00", Locale.parse(lang, sep="-"))
        assert fields_of(page)["budget"] == [shown]


@pytest.mark.parametrize(
    ("lang", "budget"), [("en", "12,50"), ("it", "12.50"), ("en", "1.234,56"), ("vi", "99.90")]
)
def test_a_new_ad_group_is_not_made_while_its_budget_can_be_read_in_two_ways(
    house: House, lang: str, budget: str
) -> None:
    speak(house, lang)
    campaign = make_campaign(house)
    form = FORM | {"channel_account_id": house.webchat_id, "budget": budget}
    with nothing_changes(house.context.db):
        answer = post(house, f"/ads/campaigns/{campaign}/ad-groups", **form)
    assert answer.status_code == 422
    assert "budget-error" in answer.text
    assert f'value="{budget}"' in answer.text


def test_a_change_of_more_than_tenfold_is_asked_about_and_done_once_it_is_confirmed(house: House) -> None:
    ids = house.make_ad("LEAD_GENERATION")  # its budget is 50
    path = f"/ads/ad-groups/{ids['adgroup_id']}/edit"
    with nothing_changes(house.context.db):
        asked = edit(house, path, budget="5,000", bid="2")
    assert asked.status_code == 422
    assert "SGD 50.00" in asked.text
    assert "SGD 5,000.00" in asked.text
    [sure] = re.findall(r'name="sure" value="([^"]+)"', asked.text)
    sent = fields_of(asked.text) | {"sure": sure}
    with nothing_changes(house.context.db):  # what was confirmed was another amount
        assert post(house, path, **sent | {"budget": "50,000"}).status_code == 422
    assert post(house, path, **sent).status_code == 303
    group = group_of(house, ids["adgroup_id"])
    assert (group["budget"], group["conversion_bid_price"]) == (5000.0, 2.0)


def test_the_bulk_box_reads_the_members_language_and_asks_about_a_leap_of_each_row(house: House) -> None:
    one, two = house.make_ad("LEAD_GENERATION")["adgroup_id"], house.make_ad("CONVERSATION")["adgroup_id"]
    rows = [f"ad-groups-{one}", f"ad-groups-{two}"]
    speak(house, "it")
    bulk(house, "budget", rows, budget="99,90")
    assert {group_of(house, each)["budget"] for each in (one, two)} == {99.9}
    with nothing_changes(house.context.db):
        bulk(house, "budget", rows, budget="99.90")
    bulk(house, "budget", rows[:1], budget="900")
    asked = bulk(house, "budget", rows, budget="9.000,00")  # ten times the first, ninety times the second
    assert (group_of(house, one)["budget"], group_of(house, two)["budget"]) == (9000.0, 99.9)
    [form] = re.findall(r'<form class="note.*?</form>', asked, re.DOTALL)
    assert re.findall(r'name="rows" value="([^"]+)"', form) == rows[1:]
    [amount], [sure] = (re.findall(rf'name="{name}" value="([^"]+)"', form) for name in ("budget", "sure"))
    bulk(house, "budget", rows[1:], budget=amount, sure=[sure])
    assert group_of(house, two)["budget"] == 9000.0


def test_a_form_tells_all_its_mistakes_at_once(house: House) -> None:
    campaign = make_campaign(house)
    form = FORM | {"channel_account_id": house.webchat_id, "name": " ", "budget": "lots", "bid": "0,5",
                   "country": [], "ends_on": "2000-01-01", "page_id": "7"}  # fmt: skip
    answer = post(house, f"/ads/campaigns/{campaign}/ad-groups", **form)
    assert answer.status_code == 422
    found = set(re.findall(r'id="([a-z_]+)-error"', answer.text))
    assert found >= {"name", "budget", "bid", "countries", "ends_on"}
    ids = house.make_ad("LEAD_GENERATION")
    wrong = edit(house, f"/ads/ad-groups/{ids['adgroup_id']}/edit", name="", budget="x", country=[])
    assert {"name", "budget", "countries"} <= set(re.findall(r'id="([a-z_]+)-error"', wrong.text))
    ad = post(house, f"/ads/ad-groups/{ids['adgroup_id']}/ads", name="", headline="")
    assert {"name", "headline"} <= set(re.findall(r'id="([a-z_]+)-error"', ad.text))


def test_what_is_understood_of_a_number_is_told_before_it_is_saved(house: House) -> None:
    def told(**asked: str) -> tuple[str, bool]:
        got = house.client.get("/typed/number", params=asked).json()
        return got["says"], got["is_number"]

    speak(house, "it")
    assert told(text="1.234,5", kind="amount", currency="EUR") == ("1.234,50 EUR", True)
    assert told(text="1.234", kind="whole") == ("1.234", True)
    assert told(text="", kind="amount", currency="EUR") == ("", True)
    says, is_number = told(text="12.50", kind="amount", currency="EUR")
    assert (is_number, "12,5" in says, ":" in says[:12]) == (False, True, False)
    speak(house, "en")
    assert told(text="1,234.5", kind="amount", currency="EUR") == ("EUR 1,234.50", True)
    assert told(text="0.5", kind="amount", currency="JPY") == ("Enter a whole number.", False)


def test_a_target_in_minutes_is_read_in_the_language_too(house: House) -> None:
    speak(house, "it")
    assert post(house, "/settings/inbox", page="/settings/inbox", minutes="1.200").status_code == 303
    assert 'value="1200"' in house.client.get("/settings/inbox").text
    with nothing_changes(house.context.db):
        assert post(house, "/settings/inbox", page="/settings/inbox", minutes="1,5").status_code == 422
