"""The desk of the inbox as an agent works at it, with the keyboard alone where the map of keys says so."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import APIResponse, Browser, Locator, Page, Route, expect

from contatto.accounts.model import Role
from contatto.channels.actions import set_access_token
from contatto.inbox.actions.threads import keep_saved_reply
from tests import make
from tests.browser.conftest import Served
from tests.browser.test_main_job import _sign_in
from tests.forms.edges import offer
from tests.journeys.running import message

pytestmark = pytest.mark.browser


@pytest.fixture
def customer(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    yield context.new_page()
    context.close()


def _begin(served: Served, page: Page, customer: Page) -> None:
    """A customer writes on our own chat page, and the agent opens the conversation."""
    customer.goto(f"{served.url}/chat/{served.house.webchat_id}")
    customer.get_by_label("Your message").fill("What does a small kitchen cost?")
    customer.locator("#dm-send").click()
    _sign_in(page, served.url)
    expect(page.locator("[data-live-state]").first).to_have_attribute("data-state", "on")
    page.locator("#conversations a").first.click()
    expect(page.locator(".msg--in")).to_contain_text("small kitchen")


def _pointed_at(page: Page, text: str) -> Locator:
    """Point at the pop-up message with the text, so that it stays however slow the machine is."""
    popup = page.locator("#toasts > *", has_text=text)
    popup.hover()
    return popup


def test_a_conversation_is_taken_labelled_noted_and_resolved_with_the_keyboard(
    served: Served, page: Page, customer: Page
) -> None:
    _begin(served, page, customer)
    page.locator(".log").focus()
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="Assign to me")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("[data-tab]").first).to_contain_text("Mine 1")
    page.locator(".log").focus()
    page.keyboard.press("#")
    page.keyboard.type("Urgent")
    page.keyboard.press("Enter")
    expect(page.locator("#conversations")).to_contain_text("Urgent")
    page.locator(".tools").get_by_role("button", name="Urgent", pressed=True).click()
    popup = _pointed_at(page, "Label removed: Urgent")
    expect(page.locator("#conversations")).not_to_contain_text("Urgent")
    popup.get_by_role("button", name="Undo").click()
    expect(page.locator("#conversations")).to_contain_text("Urgent")
    page.locator(".log").focus()
    page.keyboard.press("Escape")
    page.keyboard.press("Alt+p")
    page.keyboard.type("Call back on Monday")
    page.keyboard.press("Enter")
    expect(page.locator(".private")).to_contain_text("Call back on Monday")
    page.keyboard.press("Alt+e")
    expect(page.locator(".tools__state")).to_contain_text("Resolved")
    expect(page.locator("#conversations")).to_have_count(0)
    expect(customer.locator("body")).not_to_contain_text("Monday")
    customer.reload()
    expect(customer.locator("#dm-log")).to_contain_text("small kitchen")
    expect(customer.locator("body")).not_to_contain_text("Monday")


def test_a_label_can_be_put_back_when_the_pane_is_refreshed_before_the_answer_arrives(
    served: Served, page: Page, customer: Page
) -> None:
    _begin(served, page, customer)
    page.locator(".log").focus()
    page.keyboard.press("#")
    page.keyboard.type("Urgent")
    page.keyboard.press("Enter")
    label = page.locator(".tools").get_by_role("button", name="Urgent")
    expect(label).to_have_attribute("aria-pressed", "true")
    answers: list[tuple[Route, APIResponse]] = []
    page.route("**/labels/*/remove", lambda route: answers.append((route, route.fetch())))
    label.click()
    expect(label).to_have_attribute("aria-pressed", "false")
    (route, answer) = answers.pop()
    route.fulfill(response=answer)
    _pointed_at(page, "Label removed: Urgent").get_by_role("button", name="Undo").click()
    expect(page.locator(".tools [aria-pressed=true]", has_text="Urgent")).to_have_count(1)


def test_where_many_pages_are_open_a_list_rests_between_two_fetches(
    served: Served, page: Page, customer: Page
) -> None:
    _sign_in(page, served.url)
    page.goto(f"{served.url}/inbox")
    expect(page.locator("[data-live-state]").first).to_have_attribute("data-state", "on")
    page.evaluate(
        """() => {
            window.heard = 0;
            document.body.addEventListener("live:message_received", () => { window.heard += 1; });
        }"""
    )
    customer.goto(f"{served.url}/chat/{served.house.webchat_id}")

    def ask(number: int) -> None:
        customer.get_by_label("Your message").fill(f"Question {number}")
        customer.locator("#dm-send").click()
        page.wait_for_function("number => window.heard > number", arg=number, timeout=60_000)

    for number in range(2):  # the stream of the chat counts as a page, so the server says the pace by then
        ask(number)
        page.wait_for_timeout(1_000)
    page.evaluate(
        """() => {
            const channel = new BroadcastChannel(`contatto.live.${document.body.dataset.reader}`);
            channel.postMessage({ type: "pace", data: 3_600_000 });
        }"""
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for number in range(2, 5):
        ask(number)
    assert not [each for each in asked if "/inbox/list" in each]


def test_what_is_sent_twice_at_once_is_there_once_on_both_sides(
    served: Served, page: Page, customer: Page
) -> None:
    _begin(served, page, customer)
    twice = "form => { form.requestSubmit(); form.requestSubmit(); }"
    page.get_by_label("Your reply").fill("Only once")
    page.locator("form[data-composer]").first.evaluate(twice)
    expect(customer.locator("#dm-log")).to_contain_text("Only once")
    customer.get_by_label("Your message").fill("Once too")
    customer.locator("#dm-form").evaluate(twice)
    expect(page.locator(".log")).to_contain_text("Once too")
    customer.reload()
    expect(customer.locator("#dm-log .dm-msg")).to_have_count(3)
    page.reload()
    expect(page.locator(".log .msg")).to_have_count(3)


def test_a_slash_puts_a_saved_reply_in_with_the_customers_name(
    served: Served, page: Page, customer: Page
) -> None:
    house = served.house
    for shortcut, text in (("hours", "Hello {name}, nine to six."), ("price", "From 9,000.")):
        house.context.db.write_now(
            lambda tx, of=(shortcut, text): keep_saved_reply(tx, house.business_id, *of)  # type: ignore[misc]
        )
    _begin(served, page, customer)
    field = page.get_by_label("Your reply")
    field.press_sequentially("/")
    expect(page.get_by_role("option")).to_have_count(2)
    field.press_sequentially("ho")
    expect(page.get_by_role("option")).to_have_count(1)
    field.press("Enter")
    expect(field).to_have_value(re.compile(r"Hello Visitor \w+, nine to six\."))
    field.press("Enter")
    expect(customer.locator("#dm-log")).to_contain_text("nine to six")


def test_the_second_of_two_agents_is_told_and_overwrites_nothing(
    served: Served, browser: Browser, customer: Page
) -> None:
    page = browser.new_context(locale="en-GB").new_page()  # a refusal stands in the console, as it should
    _begin(served, page, customer)
    stale = page.locator("form[action$='/resolve'] [name=revision]").input_value()
    page.locator("[data-key=assign]").click()
    page.get_by_role("button", name="Assign to me").click()
    expect(page.locator("[data-tab]").first).to_contain_text("Mine 1")
    # another agent, whose page has not heard of it; in one step, as a refresh would bring the news
    late = """seen => {
      const form = document.querySelector("form[action$='/resolve']");
      form.elements.revision.value = seen;
      form.requestSubmit();
    }"""
    with page.expect_response(re.compile("/resolve$")) as answered:
        page.evaluate(late, stale)
    assert answered.value.status == 409
    expect(page.locator("#toasts")).to_contain_text("Somebody else changed this conversation")
    expect(page.locator(".tools__state")).to_have_count(0)
    page.context.close()


def test_a_reply_that_the_platform_refused_shows_why_and_can_be_tried_again(
    served: Served, page: Page
) -> None:
    house = served.house
    now_ms = int(house.context.clock.now().timestamp() * 1_000)
    house.webhook("im_receive_msg", message("Hi there", "u1", now_ms))
    house.context.db.write_now(lambda tx: set_access_token(tx, house.business_id, house.tiktok_id, "a-token"))
    _sign_in(page, served.url)
    page.locator("#conversations a", has_text="Hi there").click()
    page.wait_for_load_state()
    expect(page.locator(".composer__window")).to_contain_text(re.compile(r"4[78] hr.*10 messages left"))
    page.get_by_label("Your reply").fill("Hello")
    page.get_by_label("Your reply").press("Enter")
    expect(page.locator(".msg--out")).to_contain_text("Hello")
    expect(page.locator(".composer__window")).to_contain_text("9 messages left")


def test_a_mention_a_reply_for_later_and_a_form_all_from_the_keyboard(
    served: Served, page: Page, customer: Page, browser: Browser
) -> None:
    house = served.house
    offer(house)
    house.context.db.write_now(
        lambda tx: make.member(tx, house.business_id, "ana@example.com", Role.AGENT, "Ana")
    )
    _begin(served, page, customer)
    page.locator(".log").focus()
    page.keyboard.press("Alt+p")
    page.keyboard.type("Please look, @a")
    expect(page.get_by_role("option")).to_have_text(re.compile("Ana"))
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator(".private")).to_contain_text("Please look, @Ana")

    page.get_by_label("Your reply").fill("Good morning!")
    page.locator("[data-key=later]").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Send at")).to_have_value(re.compile("T09:00"))
    tomorrow = page.get_by_label("Send at").input_value()
    page.get_by_label("Send at").fill("")
    page.get_by_role("button", name="Schedule sending").click()
    expect(page.get_by_label("Send at")).to_be_focused()
    says = page.get_by_label("Send at").evaluate("field => field.validationMessage")
    assert says == "Choose a day and a time."
    page.get_by_label("Send at").fill(tomorrow)
    page.get_by_role("button", name="Schedule sending").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".later")).to_contain_text("Good morning!")
    expect(page.get_by_label("Your reply")).to_have_value("")
    expect(customer.locator("#dm-log")).not_to_contain_text("Good morning!")
    page.get_by_role("button", name="Cancel message").click()
    expect(page.locator(".later")).to_have_count(0)

    page.get_by_label("Your reply").fill("half a sentence")
    page.locator("[data-key=form]").focus()
    page.keyboard.press("Enter")
    page.locator(".composer__form .menu__item").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".msg--out")).to_contain_text("Form:")
    expect(page.get_by_label("Your reply")).to_have_value("half a sentence")
    customer.locator(".dm-msg--business [data-open-form]").click()
    expect(customer.get_by_role("dialog")).to_be_visible()
    customer.keyboard.press("Escape")
    expect(customer.locator(".dm-msg--business [data-open-form]")).to_be_focused()


def test_the_palette_finds_pages_actions_and_conversations(
    served: Served, page: Page, customer: Page
) -> None:
    _begin(served, page, customer)
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox")).to_be_focused()
    page.keyboard.type("resol")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator(".tools__state")).to_contain_text("Resolved")
    page.goto(f"{served.url}/leads")
    expect(page.locator("[data-live-state]").first).to_have_attribute("data-state", "on")
    page.keyboard.press("Control+k")
    page.keyboard.type("small kitchen")
    expect(page.get_by_role("option")).to_contain_text("Visitor")
    page.keyboard.press("Enter")
    expect(page.locator(".msg--in")).to_contain_text("small kitchen")
    expect(page.locator("[data-live-state]").first).to_have_attribute("data-state", "on")
    page.keyboard.press("Control+k")
    page.keyboard.type("saved rep")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/settings/replies"))


def test_the_list_of_keys_opens_with_a_question_mark(served: Served, page: Page) -> None:
    _sign_in(page, served.url)
    expect(page.locator("[data-live-state]").first).to_have_attribute("data-state", "on")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_contain_text("Write a private note")
    page.keyboard.press("Escape")
    page.keyboard.press("Alt+v")
    expect(page).to_have_url(re.compile("/leads"))


def test_the_chat_page_welcomes_asks_and_answers_by_itself(
    served: Served, page: Page, customer: Page
) -> None:
    _sign_in(page, served.url)
    page.goto(f"{served.url}/settings/chat/{served.house.webchat_id}")
    page.get_by_label("Welcome message").fill("Welcome to Kopi!")
    page.get_by_label("Question 1").fill("When are you open?")
    page.get_by_label("Answer").first.fill("Nine to six.")
    page.get_by_label("Title 1").fill("Prices")
    page.get_by_label("Content").first.fill("PRICE")
    page.get_by_label("Keywords 1").fill("PRICE, harga")
    page.get_by_label("Reply").first.fill("From 9,000.")
    page.get_by_role("button", name="Save messages").click()
    expect(page.get_by_label("Keywords 1")).to_have_value("PRICE, harga")

    customer.goto(f"{served.url}/chat/{served.house.webchat_id}")
    expect(customer.locator(".dm__inner")).to_contain_text("Welcome to Kopi!")
    customer.get_by_role("button", name="When are you open?").click()
    expect(customer.locator("#dm-log")).to_contain_text("Nine to six.")
    expect(customer.locator("#dm-asks")).to_have_count(0)
    customer.get_by_role("button", name="Prices").click()
    expect(customer.locator("#dm-log")).to_contain_text("From 9,000.")
    page.goto(f"{served.url}/inbox")
    page.locator("#conversations a").first.click()
    expect(page.locator(".msg--auto").first).to_contain_text("Automatic reply")
