"""Drafts of the ad forms as people meet them: half a form, a reload, and the rest of it."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Served
from tests.journeys.running import EMAIL, PASSWORD

pytestmark = pytest.mark.browser


def _open_ad_group_form(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/login")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/home"))
    page.goto(f"{served.url}/ads/campaigns/{served.lead_ad['campaign_id']}/ad-groups/new")


def test_half_an_ad_group_outlives_a_reload_and_becomes_the_real_thing(served: Served, page: Page) -> None:
    _open_ad_group_form(page, served)
    state = page.locator("[data-draft-state]")
    page.locator('select[name="channel_account_id"]').select_option(served.house.webchat_id)
    page.locator('input[name="name"]').fill("Lunch people")
    page.locator('input[name="country"][value="SG"]').check()
    expect(state).to_have_text("Draft saved")

    page.reload()
    expect(page.get_by_text("You have a draft of this form.")).to_be_visible()
    expect(page.locator('input[name="name"]')).to_have_value("")
    page.get_by_role("link", name="Continue the draft").click()
    expect(page.locator('input[name="name"]')).to_have_value("Lunch people")
    expect(page.locator('input[name="country"][value="SG"]')).to_be_checked()
    page.locator('input[name="country"][value="MY"]').check()
    page.locator('input[name="budget"]').fill("12.50")
    page.get_by_role("button", name="Create ad group").click()

    expect(page).to_have_url(re.compile(r"/ads/ad-groups/\d+/ads/new$"))
    groups = served.house.data("GET", "/adgroup/get/")["list"]
    [made] = [group for group in groups if group["adgroup_name"] == "Lunch people"]
    assert (made["budget"], made["location_ids"]) == (12.5, ["1733045", "1880251"])
    page.goto(f"{served.url}/ads")
    expect(page.get_by_role("heading", name="Ads Manager")).to_be_visible()
    expect(page.get_by_role("heading", name="Drafts")).to_have_count(0)


def test_a_draft_is_thrown_away_from_the_list(served: Served, page: Page) -> None:
    _open_ad_group_form(page, served)
    page.locator('input[name="name"]').fill("Never mind")
    expect(page.locator("[data-draft-state]")).to_have_text("Draft saved")
    page.goto(f"{served.url}/ads")
    page.get_by_role("button", name="Discard the draft Never mind").click()
    expect(page.get_by_role("heading", name="Drafts")).to_have_count(0)
    expect(page).to_have_url(re.compile("/ads$"))
