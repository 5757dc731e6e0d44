"""Takes the pictures of docs/images from a running demo world: `python -m tools.screenshots`."""

import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tools.browser import MISSING, find_chromium
from tools.demo import running_demo

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
WIDE = {"width": 1440, "height": 860}
PHONE = {"width": 390, "height": 780}
LEAD_AD, TALK_AD = 0, 4
"""An ad for leads and one for conversations among the ads of the demo; both lead to our own chat."""
PAGES = {"leads": "/leads", "ads": "/ads", "report": "/reports"}


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
    """The worked example: a chat after an ad for conversations, a number after one for leads."""
    customer = browser.new_context(viewport=PHONE).new_page()
    said = {TALK_AD: "Hello! What does a small kitchen cost?", LEAD_AD: "my number is +65 8123 4567"}
    for ad, text in said.items():
        customer.goto(world["ads"][ad]["chat_url"])
        customer.get_by_label("Your message").fill(text)
        customer.get_by_role("button", name="Send").click()
        customer.wait_for_timeout(800)
    take(customer, "chat")

    page = browser.new_context(base_url=world["base_url"], viewport=WIDE).new_page()
    log_in(page, world["logins"][0])
    for name, path in PAGES.items():
        page.goto(path)
        take(page, name)
    page.goto("/reports")
    page.locator("[aria-labelledby=goals-title]").screenshot(path=IMAGES / "goals.png")
    page.goto("/reports/conversions?metric=leads")
    page.get_by_role("link", name="Why?").first.click()
    page.get_by_text("Winner").wait_for()
    take(page, "credited")
    page.goto("/inbox")
    page.locator("#conversations a", has_text="my number is").first.click()
    page.locator("mark.evidence").wait_for()
    take(page, "inbox")


def log_in(page: Page, member: dict[str, str]) -> None:
    page.goto("/login")
    page.fill("[name=email]", member["email"])
    page.fill("[name=password]", member["password"])
    page.click("main form button")
    page.wait_for_url("**/inbox*")


def take(page: Page, name: str) -> None:
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(400)  # the stream's first word changes the shell once
    page.screenshot(path=IMAGES / f"{name}.png")
    print(f"docs/images/{name}.png")


if __name__ == "__main__":
    sys.exit(main())
