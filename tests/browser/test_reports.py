"""An analyst's morning: from the worked example of the product page to a kept report and its reasons."""

import csv
import io
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Served
from tests.journeys.running import EMAIL, PASSWORD, House, message, until

pytestmark = pytest.mark.browser


def _tap(house: House, ad_id: str, at_ms: int) -> None:
    content = {
        "from": "mei", "from_user": {"id": "mei"}, "conversation_id": "conversation of mei",
        "timestamp": at_ms, "referral": {"source": "ad", "ad": {"ad_id": ad_id}},
    }  # fmt: skip
    house.webhook("im_referral_msg", content)


def _tell_the_example(served: Served) -> None:
    """Mei opens the chat through an ad for conversations, and leaves her address after an ad for leads."""
    house = served.house
    talk = house.make_ad("CONVERSATION", house.tiktok_id)
    lead = house.make_ad("LEAD_GENERATION", house.tiktok_id)
    now_ms = int(time.time() * 1000)
    _tap(house, talk["ad_id"], now_ms - 120_000)
    house.webhook("im_receive_msg", message("hello", "mei", now_ms - 110_000))
    _tap(house, lead["ad_id"], now_ms - 60_000)
    house.webhook("im_receive_msg", message("I am mei@example.com", "mei", now_ms - 50_000))
    assert until(lambda: house.report()[lead["adgroup_id"]]["conversion"] == "1")


def _sign_in(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/login")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/home"))


def test_an_analyst_reads_keeps_and_questions_a_report(served: Served, page: Page, tmp_path: Path) -> None:
    _tell_the_example(served)
    _sign_in(page, served)
    page.get_by_role("link", name="Reports").click()
    expect(page.get_by_role("heading", name="Results by goal")).to_be_visible()

    # rows, columns and days follow at once, without a reload
    page.wait_for_load_state()
    page.get_by_label("Rows").select_option("Goal")
    table = page.get_by_role("region", name="Report table")
    expect(table.get_by_role("row", name=re.compile("^Lead"))).to_contain_text("1 lead")
    expect(table.get_by_role("row", name=re.compile("^Conversation"))).to_contain_text("1 chat")
    expect(table.get_by_role("row", name=re.compile("^Total"))).to_contain_text("mixed goals")
    page.get_by_text("Columns", exact=True).first.click()
    page.get_by_label("Cost per conversion", exact=True).uncheck()
    expect(table.get_by_role("columnheader", name="Cost per conversion")).to_have_count(0)
    page.get_by_label("Days", exact=True).select_option("Today")
    expect(page).to_have_url(re.compile("period=today"))

    # kept under a name, and found again
    page.get_by_role("button", name="Save report").click()
    page.get_by_role("dialog").get_by_label("Name").fill("My morning")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="My morning")).to_have_attribute("aria-current", "page")
    page.goto(f"{served.url}/reports")
    page.get_by_role("link", name="My morning").click()
    expect(page.get_by_label("Rows")).to_have_value("goal")

    # the file has what the page shows
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    download.value.save_as(tmp_path / "report.csv")
    lines = list(csv.reader(io.StringIO((tmp_path / "report.csv").read_text("utf-8-sig"))))
    assert "Cost per conversion" not in lines[0]
    assert len(lines) == 4

    # from the figure to the touch that earned it
    row = table.get_by_role("row", name=re.compile("^Lead"))
    row.get_by_role("link", name="1").last.click()
    page.get_by_role("link", name="Why?").click()
    path = page.get_by_role("listitem")
    expect(path.filter(has=page.get_by_text("Credited", exact=True))).to_contain_text("LEAD_GENERATION group")
    expect(path.filter(has_text="Eligible, but a later click or view is credited")).to_contain_text(
        "CONVERSATION group"
    )

    # and what would be, were taps to count no more
    page.get_by_role("link", name="Report", exact=True).click()
    page.get_by_role("link", name="Attribution comparison").click()
    page.get_by_label("Click window").select_option("Off")
    expect(
        page.get_by_role("status").filter(has_text="2 conversions would be credited differently")
    ).to_be_visible()
