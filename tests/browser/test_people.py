"""A colleague is invited, logs in, forgets the password, and is out within a second of being let go."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Served, serving
from tests.journeys.running import EMAIL, PASSWORD
from tests.mailbox import Mailbox, text_of

pytestmark = pytest.mark.browser

MEI = "mei@example.com"
FIRST, SECOND = "mei's first password", "mei's second password"


@pytest.fixture
def served(tmp_path: Path, mailbox: Mailbox) -> Iterator[Served]:
    """With a mail server."""
    with serving(tmp_path, smtp_url=mailbox.url, mail_from="contatto@kopi.example.com") as running:
        yield running


@pytest.fixture
def mei(browser: Browser) -> Iterator[Page]:
    """Mei's own browser."""
    context = browser.new_context(locale="en-GB", timezone_id="UTC")
    yield context.new_page()
    context.close()


def log_in(page: Page, served: Served, email: str, password: str) -> None:
    page.goto(f"{served.url}/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/home|/inbox"))


def link_in(mailbox: Mailbox, number: int) -> str:
    found = re.search(r"http://\S+", text_of(mailbox.next_to(MEI, number)))
    assert found
    return found[0]


def test_a_colleague_comes_in_forgets_and_is_sent_away(
    served: Served, mailbox: Mailbox, page: Page, mei: Page
) -> None:
    log_in(page, served, EMAIL, PASSWORD)
    page.goto(f"{served.url}/settings")
    page.get_by_role("link", name="Invite and manage").click()
    page.get_by_label("E-mail").fill(MEI)
    page.get_by_label("Agent").check()
    page.get_by_role("button", name="Invite").click()
    expect(page.get_by_text("Open invitations")).to_be_visible()

    # the mail leads to the first log-in
    mei.goto(link_in(mailbox, 1))
    expect(mei.get_by_role("heading", name="Join Kopi and Co")).to_be_visible()
    mei.get_by_label("Your name").fill("Mei Lin")
    mei.get_by_label("Choose a password").fill(FIRST)
    mei.get_by_role("button", name="Join").click()
    expect(mei).to_have_url(re.compile("/inbox"))

    # she logs out, and forgets her password
    mei.locator("summary", has_text="Mei Lin").last.click()
    mei.get_by_role("button", name="Log out").last.click()
    mei.get_by_role("link", name="Forgot your password?").click()
    mei.get_by_label("E-mail").fill(MEI)
    mei.get_by_role("button", name="Send me a link").click()
    expect(mei.get_by_text("we sent a reset link")).to_be_visible()
    mei.goto(link_in(mailbox, 2))
    mei.get_by_role("textbox", name="Choose a password").fill(SECOND)
    mei.get_by_role("button", name="Save").click()
    expect(mei.get_by_text("Your password is changed")).to_be_visible()
    log_in(mei, served, MEI, SECOND)
    expect(mei.locator("[data-live-state]").last).to_have_attribute("data-state", "on")

    # the owner sends her away: her live stream ends, and her open page goes to the log-in
    page.goto(f"{served.url}/settings/members")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Deactivate Mei Lin").click()
    expect(page.get_by_text("Deactivated", exact=True)).to_be_visible()
    expect(mei).to_have_url(re.compile("/login"))
    expect(mei.get_by_role("heading", name="Kopi and Co")).to_have_count(0)


def test_an_owner_adds_an_ad_account_and_corrects_it(served: Served, page: Page) -> None:
    log_in(page, served, EMAIL, PASSWORD)
    page.goto(f"{served.url}/settings/ad-accounts")
    form = page.locator("#new-ad-account")
    form.get_by_label("Name").fill("Teh")
    form.get_by_label("Registered in").select_option("MY")
    expect(form.get_by_label("Currency")).to_have_value("MYR")
    zones = form.get_by_label("Time zone").locator("option")
    expect(zones).to_have_text(["", "Asia/Kuala_Lumpur", "Asia/Kuching"])
    form.get_by_label("Time zone").select_option("Asia/Kuala_Lumpur")
    form.get_by_role("button", name="Add").click()
    row = page.get_by_role("listitem").filter(has_text="Teh")
    row.locator("summary").click()
    row.get_by_label("Registered in").select_option("TH")
    row.get_by_role("button", name="Save").click()
    expect(page.get_by_role("listitem").filter(has_text="Teh")).to_contain_text("Thailand")
