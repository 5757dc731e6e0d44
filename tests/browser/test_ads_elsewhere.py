"""A marketer connects an ad account elsewhere, a second Contatto, and reads what its leads really cost."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.ad_platforms.counterpart import spend
from tests.conformance.conftest import running_server_house
from tests.journeys.running import EMAIL, PASSWORD, House, message, until

pytestmark = pytest.mark.browser


@pytest.fixture
def houses(tmp_path: Path) -> Iterator[tuple[House, House]]:
    """The business's own Contatto, and the one that shows its ads."""
    ours = running_server_house(tmp_path / "ours", allowed_hosts=("127.0.0.1:*",))
    (tmp_path / "ours").mkdir()
    (tmp_path / "elsewhere").mkdir()
    with ours as house, running_server_house(tmp_path / "elsewhere") as elsewhere:
        for each in (house, elsewhere):
            each.client.timeout = 30.0  # a busy machine needs time
        yield house, elsewhere


def url_of(house: House) -> str:
    return str(house.client.base_url).rstrip("/")


def arrive(house: House, user: str, ad_id: str, text: str) -> None:
    """Somebody comes from an ad elsewhere and writes."""
    now_ms = int(time.time()) * 1_000
    tapped = {
        "from": user, "from_user": {"id": user}, "conversation_id": f"conversation of {user}",
        "timestamp": now_ms - 60_000, "referral": {"source": "ad", "ad": {"ad_id": ad_id}},
    }  # fmt: skip
    assert house.webhook("im_referral_msg", tapped).status_code == 200
    assert house.webhook("im_receive_msg", message(text, user, now_ms - 30_000)).status_code == 200


def test_a_marketer_connects_an_ad_account_and_reads_its_true_cost_per_lead(
    houses: tuple[House, House], page: Page
) -> None:
    house, elsewhere = houses
    ad = elsewhere.make_ad("LEAD_GENERATION")
    spend(elsewhere, ad["ad_id"], datetime.now(UTC), [4.0, 5.0], clicks=3)
    arrive(house, "anna", ad["ad_id"], "my number is +65 9123 4567")
    arrive(house, "bea", ad["ad_id"], "Hello")
    arrive(house, "carl", "123456789", "call +65 9123 4568")

    page.goto(f"{url_of(house)}/login")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/home"))
    page.goto(f"{url_of(house)}/settings")
    page.get_by_role("navigation", name="Settings").get_by_role("link", name="External ad accounts").click()

    # a wrong token is told in place, and mended
    page.get_by_label("Ad account ID").fill(elsewhere.advertiser_id)
    page.get_by_label("Access token").fill("a-wrong-token")
    page.get_by_label("API address").fill(url_of(elsewhere))
    page.get_by_role("button", name="Connect").click()
    expect(page).to_have_url(re.compile("/settings/ad-platforms/[0-9a-f-]{36}"))

    def shows(text: str) -> bool:
        page.reload()
        return text in page.locator("main").inner_text()

    assert until(lambda: shows("The platform no longer accepts the access token"))
    page.get_by_label("Access token").fill(elsewhere.token)
    with page.expect_navigation():  # else the reload below ends it
        page.get_by_role("button", name="Save token").click()
    assert until(lambda: shows("Up to date"))
    ads = page.get_by_role("group", name="Ads")
    expect(ads.get_by_role("row", name=re.compile(ad["ad_id"]))).to_contain_text("Lead")

    # 9 for one lead of two chats; the other ad is in no account
    page.goto(f"{url_of(house)}/reports")
    page.get_by_role("link", name="All ads").click()
    page.get_by_label("Rows").select_option("Ad")
    page.get_by_label("Source").select_option("TikTok Ads")
    page.get_by_role("button", name="Apply").click()
    row = page.get_by_role("region", name="Spend in SGD").get_by_role("row", name=re.compile("Ad of LEAD"))
    expect(row).to_be_visible()
    cells = [text.strip() for text in row.get_by_role("cell").all_inner_texts()]
    assert [re.sub(r"[^\d.]", "", text) for text in cells[2:8]] == ["9.00", "2", "3", "2", "1", "9.00"]
    unmatched = page.get_by_role("region", name="Unmatched ads")
    expect(unmatched.get_by_role("row", name=re.compile("123456789"))).to_contain_text(
        "No connected account has this ad"
    )
