"""Two people edit one ad group in two tabs: the second one is told, and decides."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Served
from tests.journeys.running import EMAIL, PASSWORD

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab whose console may hold errors: Chromium writes one for each form that comes back with 409."""
    context = browser.new_context(locale="en-GB", timezone_id="UTC")
    yield context.new_page()
    context.close()


def log_in(served: Served, tab: Page) -> None:
    tab.goto(f"{served.url}/login")
    tab.get_by_label("E-mail").fill(EMAIL)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Log in").click()
    expect(tab).to_have_url(re.compile("/home"))


def test_a_frequency_cap_is_told_in_the_line_of_its_part_and_kept(served: Served, tab: Page) -> None:
    log_in(served, tab)
    path = f"{served.url}/ads/ad-groups/{served.lead_ad['adgroup_id']}/edit"
    tab.goto(path)
    part = tab.locator("#fold-frequency")
    expect(part.locator("[data-now]")).to_have_text("No limit")
    part.locator("summary").click()
    part.get_by_label("Most impressions per person").fill("3")
    part.get_by_label("Period in days").fill("7")
    part.get_by_label("Period in days").blur()
    expect(part.locator("[data-now]")).to_have_text("Impressions per person: 3 · Days: 7")
    tab.get_by_role("button", name="Save changes").click()
    expect(tab).to_have_url(re.compile("/ads#"))
    tab.goto(path)
    expect(part.locator("[data-now]")).to_have_text("Impressions per person: 3 · Days: 7")


def test_the_row_menu_opens_the_form_and_the_second_editor_decides(served: Served, tab: Page) -> None:
    number = served.lead_ad["adgroup_id"]
    log_in(served, tab)
    tab.goto(f"{served.url}/ads")
    row = tab.locator(f"#ad-groups-{number}")
    row.get_by_role("button", name=re.compile("^More for")).click()
    row.get_by_role("link", name="Edit").click()
    expect(tab.get_by_role("heading", name="Edit ad group")).to_be_visible()
    expect(tab.get_by_text("7-day click, 1-day view")).to_be_visible()
    expect(tab.locator("#eligibility .check--ok")).to_have_count(3)

    other = tab.context.new_page()
    other.goto(tab.url)
    other.get_by_label("Ad group name").fill("Breakfast people")
    other.get_by_role("button", name="Save changes").click()
    expect(other).to_have_url(re.compile(rf"/ads#ad-groups-{number}$"))

    tab.get_by_label("Ad group name").fill("Lunch people")
    tab.get_by_role("button", name="Save changes").click()
    expect(tab.get_by_text("Somebody else changed this in the meantime.")).to_be_visible()
    expect(tab.get_by_label("Ad group name")).to_have_value("Lunch people")
    assert (
        served.house.data("GET", "/adgroup/get/", filtering={"adgroup_ids": [number]})["list"][0][
            "adgroup_name"
        ]
        == "Breakfast people"
    )
    tab.get_by_role("button", name="Overwrite with my version").click()
    expect(tab.locator(f"#ad-groups-{number}")).to_contain_text("Lunch people")
