"""No English is left for a reader of another language: on every page and in every refusal."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

from tests.house.test_translations import READ_ATTRIBUTES, UNREAD_ELEMENTS
from tests.security.attempts import Attempt
from tests.security.samples import own_attempts
from tests.security.world import World

ENGLISH = re.compile(r"\b[A-Za-z]{2,}(?:[ '’-]+[a-z]{2,}){2,}")
"""Three words in a row. A page in Arabic has none that are not data of the business."""
NAME = re.compile(r"name of \w+|zanzibar welcomes you")
"""Words of the business and of people in the world that is attacked."""
SENSELESS = "1.250 x"
"""A value that no field but a free text takes."""
NOT_READ = ("/open_api", "/help", "/openapi", "/docs")
"""What programs read, and the documents, which are English."""
NOT_ASKED = {"POST /logout", "GET /live"}
"""One ends the session; the other stays open and tells ids alone."""
LANGUAGE = {"Accept-Language": "ar"}


class _Shown(HTMLParser):
    """Collects the texts of a page that somebody reads; help pages and code are English."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._inside: list[str] = []
        self._other: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._inside.append(tag)
        self._other.append(given.get("dir") or given.get("lang") or "")
        if not self._is_data():
            self.texts += [value for name, value in attrs if name in READ_ATTRIBUTES and value]
        if tag in ("input", "meta", "link", "img", "br", "hr", "path", "use"):
            self._inside.pop(), self._other.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._other.pop() is not None and self._inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not UNREAD_ELEMENTS & set(self._inside) and not self._is_data():
            self.texts.append(data)

    def _is_data(self) -> bool:
        """Tell words of the business by their mark: their direction or language is not the page's."""
        return any(other in ("auto", "ltr", "en") for other in self._other)


def english_in(page: str) -> set[str]:
    """Runs of English words that a page shows outside of what is marked as data by its direction."""
    shown = _Shown()
    shown.feed(page)
    return {" ".join(text.split())[:160] for text in shown.texts if ENGLISH.search(NAME.sub("", text))}


def test_english_is_found() -> None:
    left = '<p>لا. This is left</p><p dir="auto">Words of the business</p><i title="and this one too">ا</i>'
    assert english_in(left) == {"لا. This is left", "and this one too"}


def english_of_answer(world: World, attempt: Attempt) -> set[str]:
    """English that one answer shows to an owner who reads Arabic, its message to scripts too."""
    answer = attempt.send(world, session=world.victim.owner, headers=LANGUAGE)
    message = unquote(answer.headers.get("X-Message", ""))
    texts = {message} if ENGLISH.search(message) else set()
    return texts | english_in(answer.text) if "text/html" in answer.headers.get("content-type", "") else texts


def in_order(attempts: list[Attempt]) -> Iterator[Attempt]:
    """Yield pages, then forms whose values make no sense, and what changes something last."""
    forms = [attempt for attempt in attempts if attempt.form]
    yield from (attempt for attempt in attempts if attempt.way.method == "GET")
    yield from (replace(one, form=tuple((name, SENSELESS) for name, _ in one.form or ())) for one in forms)
    yield from forms


def test_an_owner_who_reads_arabic_meets_no_english(world: World) -> None:
    attempts = [
        attempt
        for attempt in own_attempts(world, world.victim)
        if not attempt.path.startswith(NOT_READ) and attempt.way.name not in NOT_ASKED
    ]
    assert len(attempts) > 100, "too few pages were seen to prove anything"
    left: dict[str, set[str]] = {}
    for attempt in in_order(attempts):
        for text in english_of_answer(world, attempt):
            left.setdefault(text, set()).add(attempt.way.name)
    assert left == {}
