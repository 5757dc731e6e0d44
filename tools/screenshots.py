"""Takes the pictures of docs/images from a running demo world: `python -m tools.screenshots`."""

import re
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tools.browser import MISSING, find_chromium
from tools.demo import running_demo

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
WIDE = {"width": 1440, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 780}
LEAD_AD, TALK_AD = 0, 8
"""An ad for leads and one for conversations among the ads of the demo; both lead to our own chat."""
LOOKS: dict[str, dict[str, Any]] = {
    "": {"viewport": WIDE},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "arabic": {"viewport": WIDE, "locale": "ar"},
    "phone": {"viewport": PHONE},
}
SCREENS = {
    "leads": ("/leads", ""),
    "lead": ("/leads", r"/leads/[0-9a-f-]{36}"),
    "ads": ("/ads", ""),
    "delivery": ("/ads/delivery", ""),
    "model": ("/ads/delivery/model", ""),
    "ad-group": ("/ads", r"/ads/campaigns/\d+/ad-groups/new"),
    "ad": ("/ads", r"/ads/ads/\d+/edit"),
    "form": ("/forms", r"/forms/[0-9a-f-]{36}"),
    "report": ("/reports", ""),
    "capture": ("/settings/capture", ""),
}
"""A page, or the first page that it links to by such an address."""
COLOURS = 224
"""In the palette of a picture, which makes it a third as large."""


def main() -> int:
    chromium = find_chromium()
    if not chromium:
        print(MISSING, file=sys.stderr)
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with running_demo() as world, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        take_pages(browser, world)
        browser.close()
    return 0


def take_pages(browser: Browser, world: dict[str, Any]) -> None:
    """Take the worked example: a chat after an ad for conversations, a number after one for leads."""
    customer = browser.new_context(viewport=PHONE).new_page()
    said = {TALK_AD: "Hello! What does a small kitchen cost?", LEAD_AD: "my number is +65 8123 4567"}
    for ad, text in said.items():
        customer.goto(world["ads"][ad]["chat_url"])
        customer.get_by_label("Your message").fill(text)
        customer.get_by_role("button", name="Send").click()
        customer.wait_for_timeout(800)
    take(customer, "chat")

    for look, settings in LOOKS.items():
        page = browser.new_context(base_url=world["base_url"], **settings).new_page()
        log_in(page, world["logins"][0])
        take_look(page, look)
        if not look:
            take_reports(page)
            take_parts(page)
        take_customer(browser, world, look, settings)
        page.context.close()


def take_look(page: Page, look: str) -> None:
    """Every main screen of a member in one look."""
    for name, (path, inside) in SCREENS.items():
        page.goto(path)
        if inside:
            page.goto(re.findall(f'href="({inside})"', page.content())[0])
        take(page, name, look)
    page.goto("/inbox")
    page.locator("#conversations a", has_text="my number is").first.click()
    page.locator("mark.evidence").wait_for()
    take(page, "inbox", look)


def take_reports(page: Page) -> None:
    page.goto("/reports")
    page.locator("[aria-labelledby=goals-title]").screenshot(path=IMAGES / "goals.png")
    page.goto("/reports/conversions?metric=leads")
    page.get_by_role("link", name="Why?").first.click()
    page.get_by_text("Credited").wait_for()
    take(page, "credited")


def take_parts(page: Page) -> None:
    """Take the gain from learning, the reasons of a shown ad, and the cost per qualified lead."""
    page.goto("/ads/delivery")
    take_part(page, "lift", "[aria-labelledby=lift]")
    page.locator("[aria-labelledby=latest] a").first.click()
    take_part(page, "why-this-ad", "[aria-labelledby=why]")
    page.goto("/reports/sources")
    take_part(page, "cost-per-qualified-lead", "section[aria-labelledby=part-1]")


def take_part(page: Page, name: str, where: str) -> None:
    page.evaluate("document.fonts.ready")
    path = IMAGES / f"{name}.png"
    page.locator(where).screenshot(path=path)
    shrink(path)


def take_customer(browser: Browser, world: dict[str, Any], look: str, settings: dict[str, Any]) -> None:
    """Take the form over the chat, on the customer's phone."""
    if look == "phone":
        return
    customer = browser.new_context(**(settings | {"viewport": PHONE})).new_page()
    customer.goto(world["ads"][LEAD_AD]["chat_url"])
    customer.locator("#form-open").click()
    customer.locator("#form-sheet").wait_for()
    take(customer, "sheet", look)
    customer.context.close()


def log_in(page: Page, member: dict[str, str]) -> None:
    page.goto("/login")
    page.fill("[name=email]", member["email"])
    page.fill("[name=password]", member["password"])
    page.click("main form button")
    page.wait_for_url("**/home*")


def take(page: Page, name: str, look: str = "") -> None:
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(400)  # the stream's first word changes the shell once
    path = IMAGES / f"{name}{'-' if look else ''}{look}.png"
    page.screenshot(path=path)
    shrink(path)


def shrink(path: Path) -> None:
    """Make a picture small, and say that it is there."""
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"docs/images/{path.name}")


if __name__ == "__main__":
    sys.exit(main())
