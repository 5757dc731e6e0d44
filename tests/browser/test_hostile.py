"""Hostile text in a real browser: no script of it runs, no dialog opens, and nothing is even tried."""

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Served
from tests.browser.test_main_job import _sign_in
from tests.hostile import crawl, send_everything

pytestmark = pytest.mark.browser


def test_no_screen_runs_what_strangers_wrote(served: Served, page: Page) -> None:
    send_everything(served.house)
    served.house.sign_in()
    pages = crawl(served.house)
    hostile = {path for path, text in pages.items() if "&lt;script id=x-" in text}
    screens = [path for path in pages if path in hostile and "<!doctype html>" in pages[path]]
    assert len(screens) > 10
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.add_init_script("window.pwned = () => { window.hacked = true; };")
    _sign_in(page, served.url)
    # the console of this page must stay empty: a script that the policy stopped would stand there
    for path in screens[:24]:
        page.goto(served.url + path, wait_until="load")
        assert page.evaluate("[window.hacked, document.querySelector('script[id^=x-], img[src=x]')]") == [
            None,
            None,
        ]
    assert dialogs == []
