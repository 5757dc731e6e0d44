"""The customer's chat as a person uses it: photos, signs of the other side, lost connections."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, Request, Route, expect

from contatto.channels.actions import allow_embedding
from contatto.inbox.auth import MOST_AT_ONCE, limit_newcomers
from contatto.inbox.rules import FormLink, sign_form_link
from contatto.inbox.store.desk import ConversationFilter, list_conversations
from contatto.kit.db.tx import Tx
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads
from tests.browser.conftest import Served
from tests.browser.test_main_job import _sign_in
from tests.forms.edges import offer
from tests.journeys.running import message, until

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
    expect(page.locator("[data-live-state]").first).to_have_attribute("data-state", "on")
    page.locator("#conversations a").first.click()
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
    for _ in range(2):
        expect(customer.locator(".dm-foot")).to_contain_text("This file is not a photo")
        expect(customer.locator(".dm-msg--customer .dm-bubble")).to_contain_text("Photo")
        expect(customer.locator("#dm-log img.photo")).to_have_count(0)
        customer.reload()


def test_a_file_that_is_too_large_says_so_and_can_be_taken_away(served: Served, customer: Page) -> None:
    customer.goto(f"{served.url}/chat/{served.house.webchat_id}")
    large: FilePayload = {"name": "p.png", "mimeType": "image/png", "buffer": b"x" * 9_000_000}
    customer.get_by_label("Attach a photo").set_input_files(large)
    foot = customer.locator(".dm-foot")
    expect(foot).to_contain_text("This photo is too large. The limit is 8 MB.")
    expect(foot).not_to_contain_text("try again")
    foot.click()
    expect(customer.locator(".dm-msg--customer")).to_have_count(0)


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


def test_a_message_whose_answer_was_lost_is_one_bubble_after_a_reload(served: Served, customer: Page) -> None:
    chat = f"{served.url}/chat/{served.house.webchat_id}"
    customer.goto(chat)

    def take_and_lose(route: Route) -> None:
        if route.request.method == "POST":
            route.fetch()
            route.abort()
        else:
            route.continue_()

    customer.route(re.compile("/messages"), take_and_lose)
    _say(customer, "Did it arrive?")
    expect(customer.locator("#dm-offline")).to_be_visible()
    assert until(lambda: "Did it arrive?" in customer.request.get(f"{chat}/messages").text())
    with customer.expect_request(re.compile("/stream")):  # it is opened once all is drawn
        customer.reload()
    assert customer.locator("#dm-log .dm-msg").count() == 1
    expect(customer.locator(".dm-foot")).to_contain_text("Delivered")


def test_a_message_that_arrives_while_it_waits_to_be_sent_again_stays_one_bubble(
    served: Served, customer: Page
) -> None:
    chat = f"{served.url}/chat/{served.house.webchat_id}"
    customer.goto(chat)
    lost: list[Request] = []

    def lose(route: Route) -> None:
        if route.request.method == "POST":
            lost.append(route.request)
            route.abort()
        else:
            route.continue_()

    customer.route(re.compile("/messages"), lose)
    _say(customer, "Still there?")
    expect(customer.locator(".dm-msg[data-state=waiting]")).to_have_count(1)
    body, headers = lost[0].post_data or "", lost[0].headers
    late = customer.request.post(f"{chat}/messages", data=body, headers=headers)
    assert late.ok
    expect(customer.locator(".dm-msg[data-state=delivered]")).to_have_count(1)
    assert customer.locator("#dm-log .dm-msg").count() == 1
    with customer.expect_response(re.compile("/messages")):  # it may come as soon as nothing is in its way
        customer.unroute_all(behavior="wait")
    expect(customer.locator(".dm-msg[data-state=delivered]")).to_have_count(1)
    assert customer.locator("#dm-log .dm-msg").count() == 1


def test_who_is_slowed_down_is_told_when_the_message_goes_and_it_goes(
    served: Served, browser: Browser
) -> None:
    """Others of the same network have used up what new visitors may write, until some seconds from now."""
    customer = browser.new_context(locale="en-GB").new_page()  # a refusal stands in the console
    house = served.house
    customer.goto(f"{served.url}/chat/{house.webchat_id}")
    most = house.context.settings.new_visitors_per_hour
    limit = limit_newcomers(most)
    key = f"{house.webchat_id}:127.0.0.1"

    def use_up(tx: Tx) -> None:
        earlier = replace(tx, now=tx.now - timedelta(hours=1) / most + timedelta(seconds=6))
        for _ in range(MOST_AT_ONCE):
            limit.take(earlier, key)

    house.context.db.write_now(use_up)
    _say(customer, "What does it cost?")
    foot = customer.locator(".dm-msg[data-state=waiting] .dm-foot")
    expect(foot).to_contain_text("Your network is sending too much at the moment")
    expect(foot).to_contain_text(re.compile(r"will be sent at .*\d:\d\d"))
    expect(customer.locator("#dm-offline")).to_be_hidden()
    expect(customer.locator(".dm-foot")).to_contain_text("Delivered")
    customer.context.close()


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
    expect(page.locator("#conversations a")).to_have_count(1)
    page.context.close()


def test_the_chat_stands_on_a_site_that_may_show_it_and_knows_the_visitor_again(
    served: Served, browser: Browser
) -> None:
    """The site is another one than ours for the browser, so cookies of ours do not reach the frame."""
    house = served.house
    line = f'<script async src="{served.url}/static/inbox/widget.js" data-chat="{house.webchat_id}"></script>'

    def allow(sites: str) -> None:
        house.context.db.write_now(lambda tx: allow_embedding(tx, house.business_id, house.webchat_id, sites))

    page = browser.new_context(viewport={"width": 900, "height": 700}, locale="en-GB").new_page()
    with a_site(f"<!doctype html><html lang=en><title>A shop</title><h1>A shop</h1>{line}</html>") as own:
        allow("https://elsewhere.example.com")
        page.goto(own)
        page.get_by_role("button", name="Chat").click()
        chat = page.frame_locator("iframe")
        expect(chat.get_by_label("Your message")).to_have_count(0)
        allow(own)
        page.goto(own)
        page.get_by_role("button", name="Chat").click()
        chat.get_by_label("Your message").fill("Hello from the shop")
        chat.locator("#dm-send").click()
        expect(chat.locator(".dm-foot")).to_contain_text("Delivered")
        chat.get_by_label("Attach a photo").set_input_files(_photo())
        expect(chat.locator("#dm-log img.photo")).to_be_visible()
        page.goto(own)
        page.get_by_role("button", name="Chat").click()
        expect(chat.locator("#dm-log")).to_contain_text("Hello from the shop")
        expect(chat.locator("#dm-log img.photo")).to_have_js_property("naturalWidth", 640)
        chat.get_by_label("Your message").press("Escape")
        expect(page.locator("iframe")).to_be_hidden()
    page.context.close()


@contextmanager
def a_site(html: str) -> Iterator[str]:
    """Another site of this machine, with one page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


def test_a_form_that_came_as_a_link_is_filled_in_by_keyboard(served: Served, customer: Page) -> None:
    house = served.house
    version = offer(house)
    house.webhook("im_receive_msg", message("Hi", "u1", int(house.context.clock.now().timestamp() * 1_000)))
    assert until(lambda: house.context.db.read_now(lambda tx: list_newest(tx, house.business_id)))
    (of,) = house.context.db.read_now(lambda tx: list_newest(tx, house.business_id))
    until_s = int(house.context.clock.now().timestamp()) + 600
    signer = house.context.vault.signer("form-link")
    token = sign_form_link(FormLink(house.business_id, of, version.number, until_s), signer)
    customer.goto(f"{served.url}/form/{token}")
    expect(customer.get_by_role("dialog")).to_be_visible()
    customer.get_by_label("Label of q1").fill("mei@example.com")
    customer.keyboard.press("Enter")
    expect(customer.locator('[data-step="done"]')).to_be_visible()
    leads = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))
    assert [lead.conversation_id for lead in leads] == [of]


def list_newest(tx: Tx, business_id: str) -> list[str]:
    return [each.id for each in list_conversations(tx, business_id, ConversationFilter())]
