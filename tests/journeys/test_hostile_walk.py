"""Hostile text through every field, then every screen: nothing of it is ever more than text."""

from collections.abc import Iterator

import pytest

from tests.hostile import crawl, evil, is_raw, send_everything, shows
from tests.journeys.running import running_house


@pytest.fixture(scope="module")
def screens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[set[str], dict[str, str]]]:
    """The fields that were filled in, and every screen afterwards."""
    with running_house(tmp_path_factory.mktemp("house")) as house:
        fields = send_everything(house)
        house.sign_in()
        yield fields, crawl(house)


def test_no_screen_shows_a_text_as_markup(screens: tuple[set[str], dict[str, str]]) -> None:
    _, pages = screens
    assert len(pages) > 40, sorted(pages)
    assert [path for path, page in pages.items() if is_raw(page)] == []


def test_every_field_is_seen_on_some_screen(screens: tuple[set[str], dict[str, str]]) -> None:
    fields, pages = screens
    whole = "\n".join(pages.values())
    assert {field for field in fields if not shows(whole, field)} == set()


def test_markup_that_got_through_would_be_found() -> None:
    assert is_raw(f"<p>{evil('chat')}</p>")
    assert not shows(evil("chat"), "chat")
