"""The browser of the browser tests starts, runs scripts, and reports what goes wrong in a page."""

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_a_script_changes_the_page(page: Page) -> None:
    page.set_content("<p>before</p><script>document.querySelector('p').textContent = 'after'</script>")
    assert page.inner_text("p") == "after"
