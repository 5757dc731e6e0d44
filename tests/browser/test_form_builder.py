"""The builder of forms by keyboard: what is typed shows in the phone at once, and the focus is never lost."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Served
from tests.browser.test_form_in_chat import sign_in
from tests.inbox.test_photos import picture

pytestmark = pytest.mark.browser


def new_form(page: Page, served: Served) -> None:
    sign_in(page, served.url)
    page.goto(f"{served.url}/forms/new")
    page.get_by_label("Form name").fill("Quote")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/forms/[0-9a-f-]{36}"))
    page.wait_for_load_state("load")  # its scripts send what is typed


def test_a_question_is_added_worded_moved_and_published_by_keyboard(served: Served, page: Page) -> None:
    new_form(page, served)
    phone = page.locator("#builder-phone")
    page.get_by_label("Headline", exact=True).fill("Free tasting?")
    expect(phone.get_by_text("Free tasting?")).to_be_visible()

    page.get_by_label("Question type").select_option("choice")
    page.get_by_role("button", name="Add this question").focus()
    page.keyboard.press("Enter")
    question = page.locator("[name='w:q4.label']")
    expect(question).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("Tea or coffee?")
    expect(phone.get_by_text("Tea or coffee?")).to_be_visible()
    expect(question).to_be_focused()
    expect(question).to_have_value("Tea or coffee?")

    page.get_by_role("button", name="up").last.focus()
    for _ in range(3):
        with page.expect_response(lambda answer: "up%3Aq4" in (answer.request.post_data or "")):
            page.keyboard.press("Enter")
    expect(page.locator(".block").first).to_contain_text("Tea or coffee?")
    expect(page.locator("#do-down-q4")).to_be_focused()

    page.get_by_role("button", name="Publish version 1").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Publish version 2")).to_be_visible()
    expect(page.get_by_role("heading", name="Versions")).to_be_visible()


def test_a_picture_is_chosen_seen_in_the_phone_and_taken_off_again(served: Served, page: Page) -> None:
    new_form(page, served)
    shown = page.locator("#builder-phone .sheet__image")
    page.get_by_label("Header picture").set_input_files(
        {"name": "kitchen.png", "mimeType": "image/png", "buffer": picture()}
    )
    expect(shown).to_be_visible()
    expect(shown).to_have_js_property("naturalWidth", 30)
    page.get_by_label("Picture description").fill("Our kitchen")
    expect(shown).to_have_attribute("alt", "Our kitchen")
    page.get_by_role("button", name="Remove the picture").click()
    expect(shown).to_have_count(0)


def test_who_saves_second_is_told_and_keeps_what_was_typed(
    served: Served, page: Page, browser: Browser
) -> None:
    new_form(page, served)
    context = browser.new_context()  # the refusal below is an error in this one's console
    second = context.new_page()
    sign_in(second, served.url)
    second.goto(page.url)
    page.get_by_label("Headline", exact=True).fill("Theirs")
    expect(page.locator("#builder-phone").get_by_text("Theirs")).to_be_visible()
    with second.expect_response(lambda answer: answer.status == 409):
        second.get_by_label("Headline", exact=True).fill("Mine")
    expect(second.get_by_text("Somebody else changed this form in the meantime")).to_be_visible()
    expect(second.get_by_label("Headline", exact=True)).to_have_value("Mine")
    context.close()
