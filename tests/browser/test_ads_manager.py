"""The Ads Manager as people use it: a first ad group of goal Lead, and what stands in its way."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from contatto.capture.actions import turn_off_capture
from contatto.capture.store import list_capturing
from tests.browser.conftest import Served
from tests.journeys.running import EMAIL, PASSWORD

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab whose console may hold errors: Chromium writes one for each form that comes back with 422."""
    context = browser.new_context(locale="en-GB", timezone_id="UTC")
    yield context.new_page()
    context.close()


def _sign_in(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/login")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/home"))


def _open_ad_group_form(page: Page, served: Served) -> None:
    """Sign in and open the form of a new ad group in the campaign of the lead ad."""
    _sign_in(page, served)
    page.goto(f"{served.url}/ads/campaigns/{served.lead_ad['campaign_id']}/ad-groups/new")
    page.locator('select[name="channel_account_id"]').select_option(served.house.webchat_id)


def _choose(page: Page, *countries: str) -> None:
    page.locator('input[name="goal"][value="lead"]').check()
    for code in countries:
        page.locator(f'input[name="country"][value="{code}"]').check()


def test_capture_is_turned_on_in_the_flow_and_what_was_typed_is_kept(served: Served, tab: Page) -> None:
    house = served.house
    house.context.db.write_now(lambda tx: turn_off_capture(tx, house.business_id, house.webchat_id))
    _open_ad_group_form(tab, served)
    tab.locator('input[name="name"]').fill("Lunch people")
    _choose(tab, "SG", "MY")
    tab.locator('input[name="budget"]').fill("12.50")
    tab.get_by_role("button", name="Create ad group").click()

    prompt = tab.locator("#capture-prompt")
    expect(prompt).to_be_visible()
    expect(tab.locator('#ad-group-form input[name="name"]')).to_have_value("Lunch people")
    expect(tab.locator('#ad-group-form input[name="budget"]')).to_have_value("12.50")
    prompt.locator('[name="company_name"]').fill("Kopi and Co")
    prompt.locator('[name="privacy_policy_url"]').fill("https://kopi.example.com/privacy")
    prompt.locator('[name="turn_on_capture"]').click()

    expect(tab).to_have_url(re.compile(r"/ads/ad-groups/\d+/ads/new$"))
    assert house.context.db.read_now(lambda tx: house.webchat_id in list_capturing(tx, house.business_id))
    groups = house.data("GET", "/adgroup/get/")["list"]
    [made] = [group for group in groups if group["adgroup_name"] == "Lunch people"]
    assert (made["budget"], made["location_ids"]) == (12.5, ["1733045", "1880251"])


def test_a_country_outside_the_list_fails_its_check_alone_and_makes_no_ad_group(
    served: Served, tab: Page
) -> None:
    before = len(served.house.data("GET", "/adgroup/get/")["list"])
    _open_ad_group_form(tab, served)
    tab.locator('input[name="name"]').fill("Rome too")
    tab.locator('input[name="budget"]').fill("12.50")
    _choose(tab, "SG", "IT")

    failing = tab.locator("#eligibility .check--bad")
    expect(failing).to_have_count(1)
    expect(failing).to_contain_text("Target countries")
    expect(failing).to_contain_text("Italy is not available.")
    expect(tab.locator("#eligibility .check--ok")).to_have_count(2)
    tab.get_by_role("button", name="Create ad group").click()
    expect(tab.locator("#goal-error")).to_be_visible()
    expect(tab.locator('input[name="name"]')).to_have_value("Rome too")
    assert len(served.house.data("GET", "/adgroup/get/")["list"]) == before


def test_rows_are_chosen_and_given_a_budget_without_a_mouse(served: Served, tab: Page) -> None:
    ad = served.lead_ad
    _sign_in(tab, served)
    tab.goto(f"{served.url}/ads?tree=open")
    bar = tab.locator("#bulk")
    expect(bar).to_be_hidden()
    group = tab.locator(f"#ad-groups-{ad['adgroup_id']}")
    expect(group).to_be_visible()
    for _ in range(12):
        tab.keyboard.press("j")
        if group.get_attribute("data-current") is not None:
            break
    tab.keyboard.press("x")
    expect(group.locator("[name=rows]")).to_be_checked()
    tab.locator(f"#ads-{ad['ad_id']} [name=rows]").focus()
    tab.keyboard.press("Space")
    expect(bar).to_contain_text("Selected rows: 2")

    # folding a branch fetches the table anew: what is still there stays chosen
    fold = tab.locator(f"#fold-{ad['adgroup_id']}")
    fold.focus()
    tab.keyboard.press("Enter")
    expect(fold).to_have_attribute("aria-expanded", "false")
    expect(group.locator("[name=rows]")).to_be_checked()
    expect(bar).to_contain_text("Selected rows: 1")
    fold.focus()
    tab.keyboard.press("Enter")
    tab.locator(f"#ads-{ad['ad_id']} [name=rows]").focus()
    tab.keyboard.press("Space")
    expect(bar).to_contain_text("Selected rows: 2")

    tab.get_by_label("New budget").focus()
    tab.keyboard.type("75")
    tab.keyboard.press("Enter")
    expect(tab).to_have_url(re.compile("/ads\\?.*shown="))
    expect(tab.locator(f"#ad-groups-{ad['adgroup_id']}")).to_contain_text("Budget changed")
    expect(tab.locator(f"#ads-{ad['ad_id']}")).to_contain_text("Rejected")
    budgets = {
        each["adgroup_id"]: each["budget"] for each in served.house.data("GET", "/adgroup/get/")["list"]
    }
    assert budgets[ad["adgroup_id"]] == 75.0
    tab.get_by_role("link", name="Back to the Ads Manager").press("Enter")
    expect(tab).to_have_url(re.compile("/ads\\?tree=open"))
