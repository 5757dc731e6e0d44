"""The customer's chat and its form in a narrow window and with large text: all of it can be read."""

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, expect

from contatto.forms.model import Content, FormConsent, Option, QuestionKind
from contatto.inbox.actions.replies import keep_automatic
from tests.browser.conftest import Served
from tests.forms.edges import offer
from tests.forms.papers import content, question
from tests.inbox.test_automatic import FULL

pytestmark = pytest.mark.browser
SIZES: Final = {
    "a small phone": (320, 568, 100),
    "a screen of 1280 at 400 %": (320, 256, 100),
    "a tablet at 200 %": (384, 512, 100),
    "a small phone with text of 200 %": (320, 568, 200),
    "a phone with text of 200 %": (390, 844, 200),
}
NO_TEXT: Final = ".sheet__trap, .skip, svg, option"
OUTSIDE: Final = """(noText) => {
  const found = [];
  for (const each of document.querySelectorAll("body *")) {
    const box = each.getBoundingClientRect();
    const isShown = each.checkVisibility({ visibilityProperty: true }) && box.width > 1;
    if (!isShown || each.closest(noText)) continue;
    const name = `${each.tagName.toLowerCase()}.${each.className} "${each.textContent.trim().slice(0, 30)}"`;
    if (box.right > innerWidth + 1 || box.left < -1) {
      found.push(`${name} from ${Math.round(box.left)} to ${Math.round(box.right)} of ${innerWidth}`);
    }
    const slides = ["auto", "scroll"].includes(getComputedStyle(each).overflowX);
    if (slides && each.scrollWidth > each.clientWidth + 1) found.push(`${name} scrolls sideways`);
  }
  return found;
}"""
"""What stands outside of the window, or scrolls sideways in it."""


@pytest.fixture(params=["en-GB", "ar"])
def customer(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 320, "height": 568}, locale=request.param)
    yield context.new_page()
    context.close()


def crowded() -> Content:
    """A form with every control, whose texts have words that nothing can break in two."""
    made = content(
        question("q1", QuestionKind.PHONE, required=True, country="ID"),
        question("q2", QuestionKind.EMAIL),
        question("q3", QuestionKind.CHOICE, options=(Option("a"), Option("b"))),
        question("q4", QuestionKind.CHOICES, options=(Option("a"), Option("b"))),
        question("q5", QuestionKind.DATE),
        question("q6", QuestionKind.COUNTRY),
        question("q7", QuestionKind.LONG_TEXT),
        consents=(FormConsent("c1", required=True),),
        languages=("en", "pt-BR", "ar"),
        review=True,
        end_phone="+62 812-3456-7890",
        end_url="https://kopi.example.com",
    )
    word = "Donaudampfschifffahrtsgesellschaft"
    words = {key: f"{text} {word}" for key, text in made.words["en"].items()}
    words |= {"benefits": f"{word}\nTwo", "q1.help": word * 3, "c1.text": word * 2, "end_label": word}
    return Content(**{**_fields(made), "words": {"en": words}})  # type: ignore[arg-type]


def _fields(of: Content) -> dict[str, object]:
    return {name: getattr(of, name) for name in Content.__dataclass_fields__}


def outside(page: Page, at: str) -> list[str]:
    """What stands outside of the window or scrolls sideways, at each size."""
    found = []
    for name, (width, height, text) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("percent => { document.documentElement.style.fontSize = `${percent}%`; }", text)
        found += [f"{at}, {name}: {each}" for each in page.evaluate(OUTSIDE, NO_TEXT)]
    page.set_viewport_size({"width": 320, "height": 568})
    page.evaluate("document.documentElement.style.fontSize = ''")
    return found


def test_the_chat_can_be_read_without_scrolling_sideways(served: Served, customer: Page) -> None:
    house = served.house
    offer(house, crowded())
    house.context.db.write_now(lambda tx: keep_automatic(tx, house.business_id, house.webchat_id, FULL, 0))
    customer.goto(f"{served.url}/chat/{house.webchat_id}")
    faults = outside(customer, "the beginning")
    customer.locator("#dm-text").fill("+62 812-3456-7890 " + "a" * 200)
    customer.locator("#dm-send").click()
    expect(customer.locator(".dm-msg[data-state=delivered]")).to_have_count(1)
    customer.evaluate("document.getElementById('dm-offline').hidden = false")
    faults += outside(customer, "after a message")
    assert not faults, "\n".join(faults)


def test_the_form_can_be_read_without_scrolling_sideways(served: Served, customer: Page) -> None:
    house = served.house
    offer(house, crowded())
    customer.goto(f"{served.url}/chat/{house.webchat_id}")
    customer.locator("#form-open").click()
    expect(customer.locator("[data-step=fill]")).to_be_visible()
    faults = outside(customer, "the form")
    customer.locator("[data-sheet-next]").click()
    faults += outside(customer, "what is missing")
    customer.locator("[name=q1]").fill("0812-3456-7890")
    customer.locator("[name=c1]").check()
    customer.locator("[data-sheet-next]").click()
    expect(customer.locator("[data-step=check]")).to_be_visible()
    faults += outside(customer, "the check")
    customer.locator("[data-sheet-send]").click()
    expect(customer.locator("[data-step=done]")).to_be_visible()
    faults += outside(customer, "the end")
    assert not faults, "\n".join(faults)
