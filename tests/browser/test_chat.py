"""The customer's chat as a person uses it: photos, signs of the other side, lost connections."""

import re
from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, expect

from tests.browser.conftest import Served
from tests.browser.test_main_job import _sign_in

pytestmark = pytest.mark.browser


@pytest.fixture
def customer(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 320, "height": 640}, locale="en-GB")
    yield context.new_page()
    context.close()


def _photo(name: str = "kitchen.png") -> FilePayload:
    out = BytesIO()
    Image.new("RGB", (640, 400), (40, 120, 90)).save(out, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": out.getvalue()}


def _say(customer: Page, text: str) -> None:
    customer.get_by_label("Your message").fill(text)
    customer.get_by_role("button", name="Send", exact=True).click()


def test_photos_typing_and_read_marks_go_both_ways(served: Served, page: Page, customer: Page) -> None:
    customer.goto(f"{served.url}/chat/{served.house.webchat_id}")
    _say(customer, "What does a kitchen cost?")
    expect(customer.locator(".dm-foot")).to_contain_text("Delivered")
    _sign_in(page, served.url)
    page.locator("#conversations a").first.click()
    expect(page.locator("[data-live-state]").first).to_have_attribute("data-state", "on")
    expect(customer.locator(".dm-foot")).to_contain_text("Read")

    customer.get_by_label("Your message").press_sequentially("It is ")
    expect(page.locator("[data-typing]")).to_contain_text("The customer is writing")
    expect(page.locator("[data-typing]")).to_be_visible()
    customer.get_by_label("Attach a photo").set_input_files(_photo())
    expect(page.locator(".msg--in img.photo")).to_have_js_property("naturalWidth", 640)
    expect(customer.locator(".dm-msg--customer img.photo")).to_be_visible()
    expect(customer.get_by_label("Your message")).to_have_value("It is ")

    page.get_by_label("Your reply").press_sequentially("Let me look")
    expect(customer.locator("#dm-typing")).to_be_visible()
    page.get_by_label("Your reply").press("Enter")
    expect(customer.locator("#dm-log")).to_contain_text("Let me look")
    expect(customer.locator("#dm-typing")).to_be_hidden()
    expect(page.locator(".msg--out .msg__state--read")).to_have_count(1)
    page.get_by_label("Attach a photo").set_input_files(_photo())
    expect(customer.locator(".dm-msg--business img.photo")).to_have_js_property("naturalWidth", 640)
    page.locator("#conversations a").first.click()
    assert customer.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_file_that_is_no_photo_is_refused_in_words(served: Served, customer: Page) -> None:
    customer.goto(f"{served.url}/chat/{served.house.webchat_id}")
    lie: FilePayload = {"name": "p.png", "mimeType": "image/png", "buffer": b"<script>alert(1)</script>"}
    customer.get_by_label("Attach a photo").set_input_files(lie)
    expect(customer.locator(".dm-foot")).to_contain_text("This file is no photo")


def test_what_is_written_without_a_connection_is_sent_after_a_reload(served: Served, customer: Page) -> None:
    chat = f"{served.url}/chat/{served.house.webchat_id}"
    customer.goto(chat)
    _say(customer, "First")
    expect(customer.locator(".dm-foot")).to_contain_text("Delivered")
    customer.route(re.compile("/(messages|photos|stream)"), lambda route: route.abort())
    _say(customer, "Second")
    customer.get_by_label("Attach a photo").set_input_files(_photo())
    expect(customer.locator("#dm-offline")).to_be_visible()
    expect(customer.locator("#dm-log .dm-msg")).to_have_count(3)
    customer.get_by_label("Your message").fill("unsent")
    customer.unroute_all(behavior="wait")
    customer.reload()
    expect(customer.locator("#dm-log")).to_contain_text("Second")
    expect(customer.locator(".dm-msg[data-state=delivered]")).to_have_count(3)
    expect(customer.locator("#dm-log .dm-msg")).to_have_count(3)
    expect(customer.locator("#dm-log img.photo")).to_have_js_property("naturalWidth", 640)
    expect(customer.get_by_label("Your message")).to_have_value("unsent")


def test_a_page_hears_what_came_while_its_stream_was_dropped(
    served: Served, browser: Browser, customer: Page
) -> None:
    page = browser.new_context(locale="en-GB").new_page()  # a dropped connection stands in the console
    _sign_in(page, served.url)
    page.route(re.compile(r"/live\?"), lambda route: route.abort())
    page.goto(f"{served.url}/inbox")
    customer.goto(f"{served.url}/chat/{served.house.webchat_id}")
    _say(customer, "Is anybody there?")
    expect(customer.locator(".dm-foot")).to_contain_text("Delivered")
    expect(page.locator("#conversations a")).to_have_count(0)
    page.unroute_all(behavior="wait")
    expect(page.locator("#conversations a")).to_have_count(1, timeout=15_000)
    page.context.close()
