"""The documents as help: every screen has its page, all links lead somewhere, and words are found."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contatto.accounts.model import Credential
from contatto.app import ACCESS
from contatto.guide.actions import load_pages
from contatto.guide.rules import SCREENS, HelpPage, page_of_screen, render_page, search_pages
from tests.journeys.running import House, running_house

PAGES = load_pages()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as house:
        house.sign_in()
        yield house


def test_every_screen_leads_to_a_document_that_is_shipped() -> None:
    assert {place for _, place in SCREENS} <= set(PAGES)
    screens = [
        name.removeprefix("GET ")
        for name, access in ACCESS.items()
        if access.credential is Credential.MEMBER and name.startswith("GET /") and name != "GET /"
    ]
    without = {path for path in screens if not page_of_screen(path, PAGES)}
    no_screens = {
        "/alerts/choices",
        "/live",
        "/login/tries",
        "/nav",
        "/leads.csv",
        "/leads.xlsx",
        "/typed/number",
    }
    assert without == {"/help", "/help/{folder}/{page}"} | no_screens


def test_every_link_of_every_document_leads_within_the_help_or_elsewhere_on_purpose() -> None:
    for page in PAGES.values():
        for href in re.findall(r'href="([^"]+)"', render_page(page, PAGES)):
            place = href.removeprefix("/help/").partition("#")[0]
            assert place in PAGES or href == "/help" or re.match(r"https?://|mailto:|#", href), (
                page.place,
                href,
            )


def test_html_and_pictures_of_a_document_are_not_taken_over() -> None:
    text = "# T\n\n<script>x()</script>\n\n![p](../images/p.png) [a](javascript:x())\n"
    shown = render_page(HelpPage("how-to/t", "T", text), PAGES)
    assert "<script" not in shown
    assert "<img" not in shown
    assert "javascript" not in re.sub(r"\[a\]\(javascript:x\(\)\)", "", shown)


def test_a_table_can_be_scrolled_by_keys() -> None:
    shown = render_page(PAGES["how-to/invite-colleagues"], PAGES)
    assert '<div class="table-wrap" tabindex="0"' in shown


def test_words_are_found_and_guides_come_first() -> None:
    hits = search_pages(PAGES.values(), "Invite COLLEAGUES")
    assert hits[0].place == "how-to/invite-colleagues"
    assert search_pages(PAGES.values(), "colleagues zzzz") == []
    assert search_pages(PAGES.values(), "  ") == []


def test_the_help_is_read_on_pages(house: House) -> None:
    asked = house.client.get("/help", params={"screen": "/leads/4711"}, follow_redirects=False)
    assert asked.headers["location"] == "/help/how-to/work-on-leads"
    assert "Work on leads" in house.client.get("/help/how-to/work-on-leads").text
    assert "Invite colleagues" in house.client.get("/help", params={"q": "invite"}).text
    listed = house.client.get("/help").text
    assert (
        0
        < listed.index('href="/help/tutorials/first-lead"')
        < listed.index('href="/help/how-to/work-on-leads"')
    )
    for wrong in ("/help/how-to/nothing", "/help/..%2f..%2fsecrets/x", "/help/images/ad.png"):
        assert house.client.get(wrong).status_code == 404


def test_every_guide_is_in_the_package_that_is_built() -> None:
    """Folders of documents are named in the build; one that is new must be named too."""
    root = Path(__file__).resolve().parents[2]
    built = (root / "pyproject.toml").read_text(encoding="utf-8")
    for place in PAGES:
        folder, _, name = place.partition("/")
        assert f'"docs/{folder}" =' in built or f'"docs/{name}.md" =' in built, place
