"""The chat beside the form of an ad follows what is typed."""

import re

import pytest
from playwright.sync_api import Page, expect

from contatto.inbox.actions.replies import keep_automatic
from contatto.inbox.model import AutomaticMessages, PreparedReply
from tests.browser.conftest import Served
from tests.journeys.running import EMAIL, PASSWORD

pytestmark = pytest.mark.browser


def test_the_card_and_the_chat_follow_what_is_typed(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/login")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/home"))
    page.goto(f"{served.url}/ads/ad-groups/{served.lead_ad['adgroup_id']}/ads/new")
    expect(page.locator("[data-chat-welcome]")).to_have_text(
        "Hello! Write to us here: we answer as soon as we can."
    )
    of_chat = AutomaticMessages(
        welcome="Welcome to <b>Mei's</b>!", questions=(PreparedReply("Open?", "Till six"),)
    )
    house = served.house
    house.context.db.write_now(lambda tx: keep_automatic(tx, house.business_id, house.webchat_id, of_chat, 0))
    page.reload()
    expect(page.locator("[data-chat-welcome]")).to_have_text("Welcome to <b>Mei's</b>!")
    expect(page.locator("[data-chat-questions] li")).to_have_text(["Open?"])
    expect(page.get_by_label("Welcome text")).to_be_hidden()
    page.get_by_label("Headline").fill("Coffee & cake?")
    expect(page.locator(".phone__head")).to_have_text("Coffee & cake?")

    page.get_by_label("Message", exact=True).select_option("new")
    page.get_by_label("Welcome text").fill("Hi! What may we do?")
    page.get_by_label("Question 1").fill("What is on the menu?")
    expect(page.locator("[data-chat-welcome]")).to_have_text("Hi! What may we do?")
    expect(page.locator("[data-chat-questions] li")).to_have_text(["What is on the menu?"])
    page.get_by_label("Answer 1").fill("Noodles")
    page.get_by_label("Ad name").fill("First")
    page.get_by_role("button", name="Create ad").click()
    expect(page.get_by_role("heading", name="First")).to_be_visible()
    expect(page.get_by_text("What is on the menu?")).to_be_visible()
