"""The instant form as a customer meets it: by keyboard alone, on a small phone, with what is unsent kept."""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, Page, expect

from contatto.forms.model import Content, FormConsent, Hours, QuestionKind
from contatto.forms.rules.answers import find_way
from contatto.forms.rules.views import show_sheet
from tests.browser.conftest import Served
from tests.forms.edges import offer
from tests.forms.papers import content, kitchen, question
from tests.journeys.running import EMAIL, PASSWORD

pytestmark = pytest.mark.browser
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def customer(browser: Browser) -> Iterator[Page]:
    """A small phone; an error in its console, a blocked script too, fails the test."""
    context = browser.new_context(viewport={"width": 320, "height": 640}, locale="en-SG")
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    yield page
    context.close()
    # the browser itself reports each refusal of the server as an error
    assert [line for line in errors if "Failed to load resource" not in line] == []


def press_until(page: Page, selector: str, key: str = "Tab") -> None:
    """Walk with one key until the focus is on an element."""
    for _ in range(60):
        if page.evaluate("sel => document.activeElement?.matches(sel) ?? false", selector):
            return
        page.keyboard.press(key)
    pytest.fail(f"{selector} cannot be reached with {key}")


def open_form(customer: Page, served: Served, of: Content | None = None) -> None:
    offer(served.house, of)
    customer.goto(f"{served.url}/chat/{served.house.webchat_id}")
    press_until(customer, "#form-open")
    customer.keyboard.press("Enter")
    expect(customer.get_by_role("dialog")).to_be_visible()


def sign_in(page: Page, url: str) -> None:
    page.goto(f"{url}/login")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/home"))


def test_a_form_is_filled_in_by_keyboard_alone_and_joins_the_chat_s_lead(
    served: Served, page: Page, customer: Page
) -> None:
    open_form(customer, served, Content(**{**_fields(kitchen()), "review": True}))  # type: ignore[arg-type]
    customer.keyboard.press("Escape")
    expect(customer.locator("#form-open")).to_be_focused()
    customer.get_by_label("Your message").fill("my number is +65 8123 4567")
    customer.keyboard.press("Enter")
    expect(customer.locator("#dm-log")).to_contain_text("my number is")

    press_until(customer, "#form-open", "Shift+Tab")
    customer.keyboard.press("Enter")
    expect(customer.get_by_role("heading", name="Ask us")).to_be_focused()
    answer_by_keyboard(customer)
    press_until(customer, "[data-sheet-next]")
    customer.keyboard.press("Enter")
    mend_by_keyboard(customer)
    expect(customer.get_by_role("heading", name="Is all of this right?")).to_be_focused()
    expect(customer.locator("[data-sheet-answers]")).to_contain_text("mei@example.com")
    press_until(customer, "[data-sheet-send]")
    customer.keyboard.press("Enter")
    expect(customer.get_by_role("heading", name="Thank you!")).to_be_focused()
    customer.keyboard.press("Escape")
    expect(customer.locator("#dm-log")).to_contain_text("We write soon.")
    expect(customer.locator("#form-open")).to_be_focused()
    assert customer.evaluate("document.documentElement.scrollWidth") == 320
    sees_both_origins(page, served)


def answer_by_keyboard(customer: Page) -> None:
    """Choose, see the dependent question come and go, and write an address that is none."""
    press_until(customer, "[name=q1]")
    customer.keyboard.press("Space")
    expect(customer.get_by_text("Label of q2")).to_be_visible()
    customer.keyboard.press("ArrowDown")
    expect(customer.get_by_text("Label of q2")).to_be_hidden()
    expect(customer.get_by_text("Label of q3")).to_be_hidden()
    for name, text in (("q4", "Mei Tan"), ("q5", "nonsense"), ("q6", "8123 4567")):
        press_until(customer, f"[name={name}]")
        customer.keyboard.type(text)


def mend_by_keyboard(customer: Page) -> None:
    """The focus stands in the first field that is wrong; correct it, agree, and go on."""
    expect(customer.locator("[name=q5]")).to_be_focused()
    expect(customer.locator("[data-error-of=q5]")).to_be_visible()
    expect(customer.locator("[data-error-of=c1]")).to_contain_text("Please agree")
    customer.keyboard.press("Control+A")
    customer.keyboard.type("mei@example.com")
    press_until(customer, "[name=c1]")
    customer.keyboard.press("Space")
    press_until(customer, "[data-sheet-next]")
    customer.keyboard.press("Enter")


def sees_both_origins(page: Page, served: Served) -> None:
    """The business has one lead, whose number came by both ways, with the form as it was submitted."""
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads")
    expect(page.locator("#lead-total")).to_have_text("1 lead")
    page.get_by_role("link", name="Mei Tan").click()
    phone = page.locator(".found-item").filter(has_text="+6581234567")
    expect(phone).to_contain_text("Chat and Instant form")
    expect(page.locator("#lead-answers")).to_contain_text("Submitted form")
    expect(page.locator("#lead-answers")).to_contain_text("Contact me about this.")


def _fields(of: Content) -> dict[str, object]:
    return {name: getattr(of, name) for name in Content.__dataclass_fields__}


def test_what_is_unsent_is_there_after_a_reload_and_goes_once_it_is_sent(
    served: Served, customer: Page
) -> None:
    open_form(customer, served)
    customer.locator("[name=q1]").fill("mei@example.com")
    customer.reload()
    customer.locator("#form-open").click()
    expect(customer.locator("[name=q1]")).to_have_value("mei@example.com")
    customer.get_by_role("button", name="Send", exact=True).last.click()
    expect(customer.get_by_role("heading", name="Thank you!")).to_be_visible()
    assert "mei@example.com" not in customer.evaluate("JSON.stringify(localStorage)")
    customer.reload()
    customer.locator("#form-open").click()
    expect(customer.get_by_role("heading", name="Thank you!")).to_be_visible()


def test_a_lost_connection_loses_nothing(served: Served, customer: Page) -> None:
    open_form(customer, served)
    customer.locator("[name=q1]").fill("mei@example.com")
    customer.context.set_offline(True)
    send = customer.get_by_role("button", name="Send", exact=True).last
    send.click()
    expect(customer.get_by_text("The form could not be sent.")).to_be_visible()
    expect(customer.locator("[name=q1]")).to_have_value("mei@example.com")
    customer.context.set_offline(False)
    send.click()
    expect(customer.get_by_role("heading", name="Thank you!")).to_be_visible()


def test_the_language_changes_in_place_and_keeps_what_was_typed(served: Served, customer: Page) -> None:
    open_form(customer, served, kitchen())
    customer.locator("[name=q5]").fill("mei@example.com")
    customer.get_by_label("Language").select_option("ar")
    expect(customer.get_by_role("heading", name="اسألنا")).to_be_visible()
    expect(customer.locator("[data-sheet]")).to_have_attribute("dir", "rtl")
    expect(customer.locator("[name=q5]")).to_have_value("mei@example.com")
    assert customer.evaluate("document.documentElement.scrollWidth") == 320


@pytest.mark.parametrize("width", [1280, 390])
def test_who_loses_a_time_to_somebody_else_keeps_the_rest_and_chooses_another(
    served: Served, browser: Browser, customer: Page, width: int
) -> None:
    hours = Hours("Asia/Singapore", (1, 2, 3, 4, 5, 6, 7), "09:00", "12:00", 60, 7)
    asked = (
        question("q1", QuestionKind.EMAIL, required=True),
        question("q2", QuestionKind.APPOINTMENT, required=True, hours=hours),
    )
    form = content(*asked, consents=(FormConsent("c1", required=True),))
    words = {**form.words["en"], "c1.text": "Contact me about this."}
    open_form(customer, served, replace(form, words={"en": words}))
    context = browser.new_context(viewport={"width": width, "height": 800}, locale="en-SG")
    rival = context.new_page()
    rival.goto(f"{served.url}/chat/{served.house.webchat_id}")
    rival.locator("#form-open").click()
    taken = rival.locator("[name=q2] option").nth(1).get_attribute("value") or ""
    for page, address in ((customer, "mei@example.com"), (rival, "ada@example.com")):
        page.get_by_label("Label of q1").fill(address)
        page.get_by_label("Label of q2").select_option(taken)
        page.get_by_label("Contact me about this.").check()
    customer.locator("[data-sheet-next]").click()
    expect(customer.get_by_role("heading", name="Thank you!")).to_be_visible()

    rival.locator("[data-sheet-next]").click()
    expect(rival.locator("[data-error-of=q2]")).to_be_visible()
    expect(rival.get_by_label("Label of q2")).to_be_focused()
    expect(rival.locator(f"[name=q2] option[value='{taken}']")).to_have_count(0)
    expect(rival.get_by_label("Label of q1")).to_have_value("ada@example.com")
    expect(rival.get_by_label("Contact me about this.")).to_be_checked()
    rival.get_by_label("Label of q2").select_option(index=1)
    expect(rival.locator("[data-error-of=q2]")).to_be_hidden()
    rival.locator("[data-sheet-next]").click()
    expect(rival.get_by_role("heading", name="Thank you!")).to_be_visible()
    assert rival.evaluate("document.documentElement.scrollWidth") == width
    context.close()


def test_an_offer_that_does_not_fit_says_so_kindly(served: Served, customer: Page) -> None:
    words = {**kitchen().words["en"], "no_fit_title": "Not this time"}
    open_form(
        customer, served, Content(**{**_fields(kitchen()), "words": {"en": words}, "languages": ("en",)})
    )
    customer.get_by_label("Option c").check()
    customer.locator("[data-sheet-next]").click()
    expect(customer.get_by_role("heading", name="Not this time")).to_be_visible()
    assert customer.locator("#dm-log .dm-msg").count() == 0


def test_the_page_and_the_server_walk_the_questions_alike(served: Served, customer: Page) -> None:
    open_form(customer, served, content())
    form = kitchen()
    questions = json.loads(show_sheet(form, "en", 1, "", NOW)["logic"])
    choices = [["a"], ["a", "b"], "a", "b", "c", "d", "", "zz"]
    tried = [
        dict(zip(("q1", "q2", "q5"), each, strict=True)) for each in itertools.product(choices, repeat=3)
    ]
    source = customer.evaluate("document.querySelector('script[src*=\"form-sheet\"]').src")
    walk = """async ([source, questions, tried]) => {
        const { findWay } = await import(source.replace(/form-sheet.*/, "form-logic.js"));
        return tried.map((answers) => findWay(questions, answers));
    }"""
    walked = customer.evaluate(walk, [source, questions, tried])
    ours = [find_way(form, answers) for answers in tried]
    assert walked == [{"met": list(way.met), "refused": way.refused} for way in ours]


def test_what_the_person_just_wrote_is_filled_in_confirmed_and_remembered(
    served: Served, customer: Page
) -> None:
    asked = content(question("q1", QuestionKind.EMAIL, required=True, prefill=True))
    words = {**asked.words["en"], "again_title": "Good to see you"}
    offer(served.house, Content(**{**_fields(asked), "words": {"en": words}}))  # type: ignore[arg-type]
    customer.goto(f"{served.url}/chat/{served.house.webchat_id}")
    customer.get_by_label("Your message").fill("I am mei@example.com")
    customer.keyboard.press("Enter")
    expect(customer.locator(".dm-msg[data-state=delivered]")).to_have_count(1)
    customer.locator("#form-open").click()
    expect(customer.get_by_label("Label of q1")).to_have_value("mei@example.com")
    expect(customer.get_by_text("Taken from your messages.")).to_be_visible()
    customer.get_by_role("button", name="Check your answers").click()
    expect(customer.locator("[data-sheet-answers]")).to_contain_text("mei@example.com")
    customer.locator("[data-sheet-send]").click()
    expect(customer.get_by_role("heading", name="Thank you!")).to_be_focused()
    customer.reload()
    customer.locator("#form-open").click()
    expect(customer.get_by_role("heading", name="Good to see you")).to_be_focused()
    customer.locator("[data-step=again] [data-sheet-again]").click()
    expect(customer.get_by_label("Label of q1")).to_have_value("mei@example.com")
