"""From an empty folder to the first own lead: the link of the terminal, the first steps, an ad, its chat."""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from contatto.app import open_context
from contatto.guide.actions import setup_path
from contatto.kit.settings import Settings
from contatto.ui.requests import Context
from contatto.wiring import install
from tests import schema
from tests.served import address_of, listen, serve

pytestmark = pytest.mark.browser


@dataclass(frozen=True, slots=True)
class Empty:
    """A server without any business."""

    url: str
    context: Context


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Empty]:
    listening = listen()
    schema.copy_schema(tmp_path / "contatto.sqlite3")
    context = open_context(install(Settings(data_dir=tmp_path, base_url=address_of(listening))))
    with closing(context.db), serve(context, listening) as url:
        yield Empty(url, context)


def steps(page: Page, empty: Empty) -> list[str]:
    """The first steps that are done."""
    page.goto(f"{empty.url}/start")
    return [each.get_attribute("id") or "" for each in page.locator(".steps__one.is-done").all()]


def set_up(page: Page, empty: Empty) -> None:
    page.goto(f"{empty.url}{empty.context.db.read_now(setup_path)}")
    page.get_by_label("Name of the business").fill("Teh and Co")
    page.get_by_label("Your name").fill("Mei")
    page.get_by_label("Your e-mail").fill("mei@example.com")
    page.get_by_label("Choose a password").fill("a long enough password")
    page.get_by_label("Country where").select_option("SG")
    expect(page.get_by_label("Currency")).to_have_value("SGD")
    page.get_by_label("Time zone").select_option("Asia/Singapore")
    page.get_by_role("button", name="Create the business").click()
    expect(page.get_by_role("heading", name="First steps")).to_be_visible()


def connect_a_channel(page: Page) -> None:
    page.get_by_role("link", name="Connect a channel").click()
    form = page.locator('form[action="/settings/channels/accounts"]')
    form.locator('[name="platform"]').select_option("webchat")
    form.locator('[name="name"]').fill("Teh")
    form.locator('[name="country"]').select_option("SG")
    form.get_by_role("button").last.click()
    expect(page.get_by_role("main")).to_contain_text("Teh")


def turn_capture_on(page: Page) -> None:
    page.get_by_role("link", name="Turn on lead capture").click()
    page.locator('[name="company_name"]').fill("Teh Ltd")
    page.locator('[name="company_site"]').fill("https://teh.example.com")
    page.locator('[name="privacy_policy_url"]').fill("https://teh.example.com/privacy")
    page.get_by_role("button", name="Send for review").click()
    switch = page.get_by_role("switch")
    expect(switch).to_be_enabled()
    switch.click()
    expect(page.get_by_role("switch")).to_be_checked()


def make_an_ad(page: Page) -> None:
    page.get_by_role("link", name="Create your first ad").click()
    page.locator('input[name="name"]').fill("Spring")
    page.get_by_role("button", name="Create and continue").click()
    expect(page.locator('input[name="goal"]').first).to_be_visible()  # both forms ask for a name
    page.locator('input[name="name"]').fill("Singapore")
    page.locator('input[name="goal"][value="lead"]').check()
    page.locator('input[name="country"][value="SG"]').check()
    page.locator('input[name="budget"]').fill("50")
    page.get_by_role("button", name="Create ad group").click()
    page.locator('input[name="headline"]').fill("Tea for you")
    page.locator('input[name="name"]').fill("Tea")
    page.get_by_role("button", name="Create ad").click()
    expect(page).to_have_url(re.compile("/ads(/[0-9]+/preview|[?#].*)?$"))


def test_from_an_empty_folder_to_the_first_lead(empty: Empty, page: Page, browser: Browser) -> None:
    set_up(page, empty)
    assert steps(page, empty) == []
    connect_a_channel(page)
    assert steps(page, empty) == ["step-channel"]
    turn_capture_on(page)
    assert steps(page, empty) == ["step-channel", "step-capture"]
    make_an_ad(page)
    assert steps(page, empty) == ["step-channel", "step-capture", "step-ad"]

    # the first lead, by the chat of the ad
    page.goto(f"{empty.url}/ads?tree=open")
    chat = page.locator("[data-chat-link]").first.get_attribute("href") or ""
    phone = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    phone.goto(chat)
    phone.get_by_label("Your message").fill("my number is +65 8123 4567")
    phone.get_by_role("button", name="Send").click()
    page.goto(f"{empty.url}/leads")
    expect(page.get_by_text("+6581234567")).to_be_visible()
    assert "step-lead" in steps(page, empty)
    phone.context.close()
