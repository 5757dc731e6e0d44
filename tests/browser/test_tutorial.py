"""The tutorial for a business is followed word by word, in the demo that `make run` starts."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.house.tree import ROOT
from tests.simulator.test_demo import demo
from tests.tutorials.running import BLOCK, WordsInOrder, read_page

pytestmark = pytest.mark.browser
NAME = "first-lead"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The demo with few people, so that its history is played soon."""
    with demo(tmp_path_factory.mktemp("demo"), "--no-live") as (world, _):
        yield world


@pytest.fixture
def customer(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    yield context.new_page()
    context.close()


def test_make_run_starts_the_demo() -> None:
    assert "\n```sh\nmake run\n```\n" in read_page(NAME)
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nrun:")[2].partition("\n\n")[0]
    assert "contatto demo" in recipe


def test_a_business_follows_one_lead_from_the_tap_to_the_report(
    world: dict[str, Any], page: Page, customer: Page
) -> None:
    words = WordsInOrder(NAME)
    message, answer = (
        text.strip() for language, text in BLOCK.findall(read_page(NAME)) if language == "text"
    )

    log_in(page, world, words)
    page.get_by_role("link", name=words.take("Leads")).first.click()
    count = int(page.locator("#lead-total").inner_text().split()[0])

    customer.goto(world["chat_url"])
    expect(customer.get_by_role("main")).to_contain_text("Free measuring")
    customer.get_by_label(words.take("Your message")).fill(message)
    customer.get_by_role("button", name=words.take("Send")).click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("+6581234567")
    expect(page.locator("#lead-total")).to_have_text(f"{count + 1} leads")

    page.get_by_role("link", name=words.take("Inbox")).first.click()
    page.locator("#conversations a").first.click()
    expect(page.locator("mark.evidence")).to_have_text("+65 8123 4567")
    expect(page.locator("[data-capture-notice]")).to_contain_text(
        "Contact information has been updated in Leads Center"
    )
    expect(customer.locator("body")).not_to_contain_text("Leads Center")
    page.get_by_label(words.take("Your reply")).fill(answer)
    page.get_by_label("Your reply").press("Enter")
    expect(customer.locator("#dm-log")).to_contain_text(answer)

    page.get_by_role("link", name=words.take("Open the lead")).click()
    expect(card(page, words.take("Contact details"))).to_contain_text("phone.international")
    crm = words.take("In the CRM")
    expect(card(page, crm)).to_contain_text("Verified")
    expect(card(page, words.take("Credited to"))).to_contain_text("Quote requests, own chat")
    page.get_by_role("button", name=words.take("Qualified"), exact=True).click()
    expect(page.get_by_role("main")).to_contain_text("Raw → Qualified")

    page.get_by_role("link", name=words.take("Reports")).first.click()
    row = page.get_by_role("row").filter(has_text="Quote requests, own chat").first
    expect(row).to_contain_text("Lead")
    row.get_by_role("link").last.click()
    page.get_by_role("link", name=words.take("Why?")).first.click()
    history = card(page, words.take("Ad history of this person"))
    expect(history).to_contain_text(re.compile("Credited.*last click within the window", re.DOTALL))
    assert words.words == []


def log_in(page: Page, world: dict[str, Any], words: WordsInOrder) -> None:
    owner = next(login for login in world["logins"] if login["role"] == "owner")
    page.goto(f"{world['base_url']}/home")
    page.get_by_label("E-mail").fill(owner["email"])
    page.get_by_label("Password").fill(owner["password"])
    page.get_by_role("button", name=words.take("Log in")).click()
    expect(page.get_by_role("heading", name=words.take("Today"), exact=True)).to_be_visible()


def card(page: Page, title: str) -> Any:
    return page.locator("section").filter(has=page.get_by_role("heading", name=title))
