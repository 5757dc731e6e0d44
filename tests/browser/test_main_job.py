"""The main job as people do it: the customer taps and writes, the business sees the lead at once."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Served
from tests.journeys.running import EMAIL, PASSWORD

pytestmark = pytest.mark.browser


@pytest.fixture
def customer(browser: Browser) -> Iterator[Page]:
    """A phone with cookies of its own."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    yield context.new_page()
    context.close()


def _sign_in(page: Page, url: str) -> None:
    page.goto(f"{url}/login")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/home"))
    page.goto(f"{url}/inbox")


def _chat_link(page: Page, served: Served) -> str:
    """The chat link of the lead ad, as the Ads Manager shows it."""
    page.goto(f"{served.url}/ads")
    row = page.get_by_role("row").filter(has_text="Ad of LEAD_GENERATION")
    return row.locator("[data-chat-link]").get_attribute("href") or ""


def _write(customer: Page, text: str) -> None:
    customer.get_by_label("Your message").fill(text)
    customer.get_by_role("button", name="Send").click()
    expect(customer.locator("#dm-log")).to_contain_text(text)


def test_a_number_typed_in_the_ads_chat_is_a_lead_a_moment_later_without_a_reload(
    served: Served, page: Page, customer: Page, tmp_path: Path
) -> None:
    _sign_in(page, served.url)
    link = _chat_link(page, served)
    page.goto(f"{served.url}/leads")
    expect(page.get_by_text("Your first lead will appear here")).to_be_visible()
    expect(page.locator("[data-live-state]").first).to_have_attribute("data-state", "on")

    customer.goto(link)
    expect(customer).to_have_url(re.compile(f"/chat/{served.house.webchat_id}"))
    _write(customer, "Hello! Do you cater for 20?")
    _write(customer, "my number is +65 8123 4567")

    expect(page.get_by_text("+6581234567")).to_be_visible()
    expect(page.locator("#lead-total")).to_have_text("1 lead")

    page.get_by_role("link", name="Inbox").first.click()
    page.locator("#conversations a").first.click()
    expect(page.locator("mark.evidence")).to_have_text("+65 8123 4567")
    expect(page.locator("[data-capture-notice]")).to_contain_text(
        "Contact information has been updated in Leads Center"
    )
    expect(customer.locator("body")).not_to_contain_text("Leads Center")

    page.get_by_label("Your reply").fill("We do! When is it?")
    page.get_by_label("Your reply").press("Enter")
    expect(customer.locator("#dm-log")).to_contain_text("We do! When is it?")

    page.get_by_role("link", name="Open the lead").click()
    expect(page.get_by_role("heading", name="Credited to")).to_be_visible()
    expect(page.locator(".credit__group")).to_have_text("LEAD_GENERATION group")

    page.goto(f"{served.url}/leads")
    with page.expect_download() as download:
        page.locator("#csv").click()
    table = tmp_path / "leads.csv"
    download.value.save_as(table)
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8-sig"))))
    assert [row["phone"] for row in rows] == ["+6581234567"]

    page.goto(f"{served.url}/reports")
    expect(page.get_by_role("table").first).to_contain_text("LEAD_GENERATION group")


def test_what_was_typed_while_the_server_was_away_arrives_after_it_is_back(
    served: Served, customer: Page
) -> None:
    customer.goto(f"{served.url}/chat/{served.house.webchat_id}")
    _write(customer, "first")
    customer.context.set_offline(True)
    customer.get_by_label("Your message").fill("second, my mail is mei@example.com")
    customer.get_by_role("button", name="Send").click()
    expect(customer.locator("#dm-offline")).to_be_visible()
    customer.context.set_offline(False)
    expect(customer.locator("#dm-offline")).to_be_hidden()
    customer.reload()
    expect(customer.locator("#dm-log")).to_contain_text("second, my mail is")
    expect(customer.locator("#dm-log").get_by_text("second, my mail is")).to_have_count(1)
