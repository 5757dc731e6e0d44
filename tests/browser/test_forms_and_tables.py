"""As a person would: a refused form, reload and Back; an account's acts; long and wide tables."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount
from contatto.accounts.model import BusinessId
from contatto.ads.actions.campaigns import (
    NewAd,
    NewAdGroup,
    NewCampaign,
    create_ad,
    create_ad_group,
    create_campaign,
)
from contatto.channels.store import find_token
from contatto.kit.db.tx import Tx
from contatto.measurement.model import Goal
from contatto.reports.rules.queries import TREE_COLUMNS
from tests.browser.conftest import Served
from tests.browser.test_ads_manager import _sign_in

pytestmark = pytest.mark.browser
DESK = {"width": 1440, "height": 900}


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A desk's tab, whose console may hold errors: Chromium writes one for each form that was refused."""
    context = browser.new_context(locale="en-GB", timezone_id="UTC", viewport=DESK)  # type: ignore[arg-type]
    yield context.new_page()
    context.close()


def speak(served: Served, page: Page, language: str) -> None:
    page.goto(f"{served.url}/settings/profile")
    page.locator('select[name="language"]').select_option(language)
    with page.expect_navigation():
        page.locator("#profile-form button").last.click()


def test_a_refused_form_survives_a_reload_and_back_and_is_made_once(served: Served, tab: Page) -> None:
    _sign_in(tab, served)
    campaign = served.lead_ad["campaign_id"]
    tab.goto(f"{served.url}/ads/campaigns/{campaign}/ad-groups/new")
    tab.locator('input[name="name"]').fill("Night owls")
    tab.locator('input[name="budget"]').fill("12,50")
    expect(tab.locator("#budget-read")).to_contain_text("can be read as")
    tab.locator('input[name="country"][value="SG"]').check()
    tab.get_by_role("button", name="Create ad group").click()

    expect(tab.locator("#budget-error")).to_be_visible()
    expect(tab).to_have_url(re.compile(r"/ad-groups/new\?kept="))
    tab.reload()
    expect(tab.locator('input[name="name"]')).to_have_value("Night owls")
    tab.go_back()
    expect(tab.locator('input[name="name"]')).to_have_value("Night owls")
    expect(tab.locator('input[name="country"][value="SG"]')).to_be_checked()

    tab.locator('input[name="budget"]').fill("12.50")
    expect(tab.locator("#budget-read")).to_have_text("SGD 12.50")
    tab.get_by_role("button", name="Create ad group").click()
    expect(tab).to_have_url(re.compile(r"/ads/ad-groups/\d+/ads/new$"))
    groups = served.house.data("GET", "/adgroup/get/")["list"]
    assert [each["budget"] for each in groups if each["adgroup_name"] == "Night owls"] == [12.5]
    tab.go_back()
    expect(tab.locator("#budget-error")).to_have_count(0)


def test_a_leap_in_the_bulk_box_is_asked_about(served: Served, tab: Page) -> None:
    _sign_in(tab, served)
    group = served.lead_ad["adgroup_id"]
    tab.goto(f"{served.url}/ads?tree=open")
    tab.locator(f'input[name="rows"][value="ad-groups-{group}"]').check()
    tab.locator("#bulk-budget").fill("9,990")
    expect(tab.locator("#bulk-budget-read")).to_have_text("SGD 9,990.00")
    tab.get_by_role("button", name="Set budget").click()
    expect(tab.get_by_text("Not yet changed")).to_be_visible()
    tab.reload()
    tab.get_by_role("button", name="Change these rows").click()
    expect(tab.get_by_text("Budget changed")).to_be_visible()


def test_an_account_is_connected_corrected_and_disconnected_on_purpose(served: Served, tab: Page) -> None:
    house = served.house
    _sign_in(tab, served)
    tab.goto(f"{served.url}/settings/channels")
    card = tab.locator(f"#account-{house.tiktok_id}")
    card.locator('input[name="access_token"]').fill("a-real-token")
    card.get_by_role("button", name="Save token").click()
    expect(card.get_by_text(re.compile("^(Checking the token|Replies on)$"))).to_be_visible()
    card.get_by_role("button", name="Save token").click()  # with an empty field
    expect(card.locator(".field__error")).to_be_visible()
    tab.goto(f"{served.url}/settings/channels")
    expect(card.get_by_text(re.compile("^(Checking the token|Replies on)$"))).to_be_visible()

    card.get_by_text("Edit details").click()
    card.locator('select[name="country"]').select_option("MY")
    card.get_by_role("button", name="Save changes").click()
    expect(card.get_by_text("Malaysia").first).to_be_visible()

    card.get_by_text("Disconnect…").click()
    card.get_by_role("checkbox").check()
    card.get_by_role("button", name="Disconnect Kopi on TikTok").click()
    expect(card.get_by_text("Replies off")).to_be_visible()
    assert house.context.db.read_now(lambda tx: find_token(tx, house.business_id, house.tiktok_id)) is None


def many_wide_ads(tx: Tx, business_id: BusinessId, channel: str) -> None:
    account = accounts.add_ad_account(tx, business_id, NewAdAccount("Jakarta", "ID", "IDR", "Asia/Jakarta"))
    for number in range(8):
        campaign = create_campaign(tx, business_id, NewCampaign(account.id, f"Musim hujan nomor {number}"))
        for goal in Goal:
            new = NewAdGroup(
                campaign.id, "Jakarta selatan", goal, ("ID",), channel, budget_micros=9_876_543 * 10**6
            )
            group = create_ad_group(tx, business_id, new)
            create_ad(tx, business_id, NewAd(group.id, "Iklan", "Tulis", "Kopi hangat?"))


EDGES = """(frame) => {
  const of = (wanted) => {
    const { left, right, top } = (wanted ? frame.querySelector(wanted) : frame).getBoundingClientRect();
    return [left, right, top];
  };
  return { box: of(""), head: of("thead th"), first: of("tbody th"),
    last: of("tbody tr:last-child td:nth-last-child(2)"), end: of("tbody tr:last-child td:last-child"),
    over: frame.scrollWidth - frame.clientWidth };
}"""


@pytest.mark.parametrize("language", ["en", "it", "ar"])
def test_cost_per_conversion_is_in_sight_at_a_desk_and_heads_stay(
    served: Served, tab: Page, language: str
) -> None:
    house = served.house
    house.context.db.write_now(lambda tx: many_wide_ads(tx, BusinessId(house.business_id), house.webchat_id))
    _sign_in(tab, served)
    speak(served, tab, language)
    tab.goto(f"{served.url}/ads?tree=open")
    frame = tab.locator("#ads-results .table-wrap")
    found = frame.evaluate(EDGES)
    (left, right, top), over = found["box"], found["over"]
    assert over <= 1, found
    if language == "ar":
        assert found["last"][0] >= found["end"][1] - 1, found
    else:
        assert found["last"][1] <= found["end"][0] + 1, found
    frame.evaluate("(each) => { each.scrollTop = 600; }")
    assert abs(frame.evaluate(EDGES)["head"][2] - top) < 2
    assert left >= 0
    assert right <= 1440


def test_a_table_that_is_too_wide_shows_it_and_keeps_its_names(served: Served, tab: Page) -> None:
    _sign_in(tab, served)
    tab.set_viewport_size({"width": 1000, "height": 700})
    tab.goto(f"{served.url}/ads?tree=open&" + "&".join(f"column={name}" for name in TREE_COLUMNS))
    frame = tab.locator("#ads-results .table-wrap")
    expect(frame).to_have_attribute("data-more-end", "")
    before = frame.evaluate(EDGES)["first"]
    frame.evaluate("(each) => { each.scrollLeft = each.scrollWidth; }")
    expect(frame).to_have_attribute("data-more-start", "")
    expect(frame).not_to_have_attribute("data-more-end", "")
    assert frame.evaluate(EDGES)["first"][:2] == before[:2]


def test_a_chosen_file_fills_the_list_of_a_new_audience(served: Served, tab: Page) -> None:
    _sign_in(tab, served)
    tab.goto(f"{served.url}/ads/audiences/new")
    chosen = FilePayload(name="list.csv", mimeType="text/csv", buffer=b"email\nmay@example.com\n")
    tab.locator("#list-file").set_input_files(chosen)
    expect(tab.locator("#list-text")).to_have_value("email\nmay@example.com\n")


def test_a_member_s_role_can_be_read_before_it_is_changed(served: Served, tab: Page) -> None:
    _sign_in(tab, served)
    tab.goto(f"{served.url}/settings/members")
    box = tab.locator('select[name="role"]').first.bounding_box()
    assert box
    assert box["width"] > 80
