"""What a member's pages offer: every link and every form that can be reached, filled in as it is shown."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from tests.security.attempts import Attempt, way_to
from tests.security.world import Tenant, World

FIRST: Final = (
    "/home", "/inbox", "/leads", "/ads", "/ads/audiences", "/forms", "/reports", "/leads/import", "/settings",
    "/settings/members", "/settings/profile", "/settings/ad-accounts", "/start", "/settings/alerts",
    "/settings/channels", "/settings/capture", "/settings/ad-platforms", "/settings/subscriptions",
    "/settings/integrations", "/settings/jobs", "/settings/audit", "/reports/sources",
    "/settings/marketplaces",
)  # fmt: skip
LEFT_OUT: Final = re.compile(r"/static/|/live|/stream|/language|/docs|^/chat/|^/form/")
MOST_PAGES: Final = 100
OF_A_SHAPE: Final = 2
"""So many addresses of one route are opened; the third lead shows no other forms."""
OF_A_WAY: Final = 3
"""So many of its queries are kept."""
OF_A_FORM: Final = 8
"""So many of what its buttons send."""
OF_A_NAME: Final = 2
"""So many of a row of boxes are ticked."""


@dataclass
class FoundForm:
    method: str
    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, value and an address of their own, each of which may be empty."""
    is_usable: bool = False
    """Whether its reader can send it: by a button that is not switched off, or a script does."""

    def attempts(self) -> Iterator[Attempt]:
        """What is sent by each button."""
        for name, value, action in self.buttons or [("", "", "")]:
            pressed = [(name, value)] if name else []
            split = urlsplit(action or self.action)
            way = way_to(self.method, split.path)
            sent = [*_some(self.fields), *pressed]
            query = parse_qsl(split.query, keep_blank_values=True)
            if way is None:
                continue
            if self.method == "GET":
                yield Attempt(way, split.path, tuple(query + sent))
            else:
                yield Attempt(way, split.path, tuple(query), form=tuple(sent))


def _some(fields: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The fields without the token, and of a row of boxes the first ones."""
    seen: Counter[str] = Counter()
    for name, value in fields:
        seen[name] += 1
        if name != "csrf_token" and seen[name] <= OF_A_NAME:
            yield name, value


class _Reader(HTMLParser):
    """Reads links and forms out of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[FoundForm] = []
        self._form: FoundForm | None = None
        self._named: dict[str, FoundForm] = {}
        """Forms by their id: a field may stand elsewhere and name its form."""
        self._off: list[bool] = []
        """Of each fieldset around: whether it is switched off with all that is in it."""
        self._select: tuple[str, list[str], str] | None = None
        self._text: tuple[str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = {name: value or "" for name, value in attrs}
        self.links += [
            of[name] for name in ("href", "hx-get", "data-src") if of.get(name, "").startswith("/")
        ]
        for name in ("hx-post", "hx-put", "hx-delete"):
            if of.get(name, "").startswith("/") and tag != "form":
                self.forms.append(
                    FoundForm(
                        name[3:].upper(), of[name], is_usable="disabled" not in of and not any(self._off)
                    )
                )
        if tag == "fieldset":
            self._off.append("disabled" in of)
        if tag == "form":
            action = of.get("hx-post") or of.get("action") or ""
            method = "POST" if "hx-post" in of else of.get("method", "get").upper()
            self._form = self._named.setdefault(of.get("id", action), FoundForm(method, action))
            self._form.method, self._form.action = method, action
            self.forms.append(self._form)
        elif "disabled" not in of and not any(self._off):
            named = of.get("form", "")
            form = self._named.setdefault(named, FoundForm("", "")) if named else self._form
            if form is not None:
                self._field(tag, of, form)

    def _field(self, tag: str, of: dict[str, str], form: FoundForm) -> None:
        name, value, kind = of.get("name", ""), of.get("value", ""), of.get("type", "text")
        if tag == "button" or kind in ("submit", "image"):
            form.buttons.append((name, value, of.get("formaction", "")))
            form.is_usable |= kind != "button"
        elif tag == "select" and name:
            self._select = (name, [], "")
        elif tag == "option" and self._select:
            chosen = value if "selected" in of else self._select[2]
            self._select = (self._select[0], [*self._select[1], value], chosen)
        elif tag == "textarea" and name:
            self._text = (name, "")
        elif tag == "input" and name and kind != "file":
            form.fields.append((name, value))

    def handle_data(self, data: str) -> None:
        if self._text:
            self._text = (self._text[0], self._text[1] + data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "fieldset" and self._off:
            self._off.pop()
        if tag == "form":
            self._form = None
        elif tag == "select" and self._select and self._form:
            name, values, chosen = self._select
            named = next((each for each in values if each), "")
            self._form.fields.append((name, chosen or named))
            self._select = None
        elif tag == "textarea" and self._text and self._form:
            self._form.fields.append(self._text)
            self._text = None


def read_page(text: str) -> tuple[list[str], list[FoundForm]]:
    """The addresses that a page leads to, and its forms."""
    reader = _Reader()
    reader.feed(text)
    return reader.links, [form for form in reader.forms if form.method]


@dataclass
class _Walk:
    """Goes from page to page as a tenant's owner, and keeps what each offers."""

    world: World
    session: str
    found: dict[tuple[object, ...], Attempt] = field(default_factory=dict)
    places: list[tuple[str, Attempt]] = field(default_factory=list)
    """Everything that is offered, with the page that offers it."""
    of_way: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        waiting, pages = list(FIRST), 0
        while waiting and pages < MOST_PAGES:
            address = waiting.pop(0)
            if self.is_worth_opening(address):
                answer = self.world.ask("GET", address, session=self.session)
                if "text/html" in answer.headers.get("content-type", ""):
                    pages += 1
                    waiting += self.read(answer.text, urlsplit(address).path)

    def is_worth_opening(self, address: str) -> bool:
        """Whether pages of this route and with this query were not seen often enough; the request is kept."""
        split = urlsplit(address)
        way = way_to("GET", split.path)
        if way is None or LEFT_OUT.search(split.path):
            return False
        query = tuple(parse_qsl(split.query, keep_blank_values=True))
        self.keep(Attempt(way, split.path, query), OF_A_WAY)
        shape = f"{way.path}?{'&'.join(sorted({name for name, _ in query}))}"
        self.opened[shape] += 1
        most = 1 if query else OF_A_SHAPE
        return self.opened[shape] <= most and self.of_way[way.name] <= OF_A_WAY

    def read(self, page: str, path: str) -> list[str]:
        """Keep what the forms of a page send; give its links."""
        links, forms = read_page(page)
        for link in links:
            way = way_to("GET", urlsplit(link).path)
            if way is not None and not LEFT_OUT.search(link):
                self.places.append((path, Attempt(way, urlsplit(link).path)))
        for form in forms:
            form.action = form.action or path
            for attempt in form.attempts():
                if form.is_usable:
                    self.places.append((path, attempt))
                self.keep(attempt, OF_A_FORM)
        return links

    def keep(self, attempt: Attempt, most: int) -> None:
        if attempt.shape not in self.found and self.of_way[attempt.way.name] < most:
            self.found[attempt.shape] = attempt
            self.of_way[attempt.way.name] += 1


def offered(world: World, tenant: Tenant) -> list[Attempt]:
    """Everything that the pages of an owner lead to or send, each kind of it once or a few times."""
    walk = _Walk(world, tenant.owner)
    walk.run()
    return list(walk.found.values())


def offered_to(world: World, session: str) -> list[tuple[str, Attempt]]:
    """Everything that the pages which a member may open lead to or send, with the page that offers it."""
    walk = _Walk(world, session)
    walk.run()
    return walk.places
