"""Two tenants in one installation, both with rows in every table, and whoever may knock at its doors.

It is built through the real doors, once for each engine and process; a test module works on a copy.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx2

from contatto.accounts.model import Role
from contatto.app import create_app, open_context
from contatto.kit.db.tx import Clock
from contatto.kit.settings import Settings
from contatto.ui.render import GUEST_COOKIE, SESSION_COOKIE, cookie_name
from contatto.ui.requests import Context
from contatto.wiring import install
from tests.client import AppClient
from tests.journeys.running import API, csrf_of
from tests.unchanged import Rows, watched

URL: Final = "http://127.0.0.1:8000"
ALL_SCOPES: Final = "all"
KEYS: Final = ("test:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",)
"""So that a copy of the database can be read by whoever opens it."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One business, with all that it takes to be one of its people or programs."""

    word: str
    """Stands in every name and text of this business, and nowhere else: an answer that has it tells of it."""
    business_id: str
    advertiser_id: str
    webchat_id: str
    open_id: str
    app_id: str
    app_secret: str
    phones: tuple[str, ...]
    members: Mapping[str, str]
    """Ids by role."""
    sessions: Mapping[str, str]
    """The value of a session's cookie, by role."""
    tokens: Mapping[str, str]
    """Access tokens by their one scope, and one with all under ``all``."""
    visitor: str
    """The value of the cookie of a visitor who wrote to the chat page."""
    links: dict[str, str]
    """Addresses that we signed: ``form``, ``view``, ``tap``, ``media``."""
    ids: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Ids of this business by the names that routes, queries and bodies give them."""

    @property
    def owner(self) -> str:
        return self.sessions[Role.OWNER]

    @property
    def token(self) -> str:
        return self.tokens[ALL_SCOPES]

    def tells_of(self, text: str) -> str:
        """What an answer tells of this business: a word of its texts or a number; nothing is empty."""
        lower = text.lower()
        told = (self.word.lower(), *self.phones)
        found = next((lower.find(each) for each in told if each in lower), None)
        return "" if found is None else lower[max(0, found - 60) : found + 80]


@dataclass
class World:
    """The running installation. ``victim`` is attacked, ``attacker`` has all that a tenant can have."""

    context: Context
    client: httpx2.Client
    victim: Tenant
    attacker: Tenant
    places: list[str] = field(default_factory=list)
    """The accounts of the chats that were opened."""
    version: Callable[[], object] = object
    """What stays the same while nobody commits a change."""
    seen: dict[str, tuple[object, Rows]] = field(default_factory=dict)
    """The rows of each business as they were last read, and the version that they were of."""
    asked: ClassVar[int] = 0
    """Requests so far, of all worlds of this process."""
    _tokens: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, *, session: str = "", token: str = "", visitor: str = "",
            forgery: str | None = None, **sent: Any) -> httpx2.Response:  # fmt: skip
        """Ask as whoever holds the session, the access token or the visitor's cookie, or nothing.

        The cookie is sent under the names of all chats, since a thief would try that.
        What a session changes carries its CSRF token, or the ``forgery`` in its place (empty: none).
        """
        headers = dict(sent.pop("headers", {}))
        cookies = [f"{SESSION_COOKIE}={session}"] if session else []
        cookies += [f"{cookie_name(place)}={visitor}" for place in self.places] if visitor else []
        if cookies:
            headers["Cookie"] = "; ".join(cookies)
        if token:
            headers["Access-Token"] = token
        if forgery is None and session and method != "GET":
            headers["X-CSRF-Token"] = self.csrf(session)
        elif forgery:
            headers["X-CSRF-Token"] = forgery
        World.asked += 1
        self.client.cookies.clear()
        answer = self.client.request(method, path, headers=headers, follow_redirects=False, **sent)
        self.client.cookies.clear()
        return answer

    def api(self, method: str, path: str, token: str, **values: Any) -> dict[str, Any]:
        """Call the API v1.3 and give the whole envelope."""
        if method == "GET":
            query = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
            answer = self.ask(method, API + path, token=token, params=query)
        else:
            answer = self.ask(method, API + path, token=token, json=values)
        assert answer.status_code == 200, answer.text
        envelope: dict[str, Any] = answer.json()
        return envelope

    def csrf(self, session: str) -> str:
        """The CSRF token of a session, as its pages carry it."""
        if session not in self._tokens:
            page = self.ask("GET", "/settings", session=session)
            self._tokens[session] = csrf_of(page.text)
        return self._tokens[session]

    def log_in(self, email: str, password: str) -> str:
        """The cookie of a new session."""
        page = self.ask("GET", "/login")
        guest = page.cookies[GUEST_COOKIE]
        form = {"email": email, "password": password, "csrf_token": csrf_of(page.text)}
        headers = {"Cookie": f"{GUEST_COOKIE}={guest}"}
        answer = self.ask("POST", "/login", data=form, headers=headers)
        assert answer.status_code == 303, answer.text
        return str(answer.cookies[SESSION_COOKIE])

    def open_chat(self, account_id: str) -> str:
        """The cookie of a new visitor of a chat page."""
        self.places.append(account_id)
        return str(self.ask("GET", f"/chat/{account_id}").cookies[cookie_name(account_id)])


@contextmanager
def running_world(
    folder: Path, database_url: str = "", clock: Clock | None = None, **settings: Any
) -> Iterator[World]:
    """An installation in this process, without its background work; its tenants are still to be told."""
    chosen = Settings(data_dir=folder, database_url=database_url, base_url=URL, worker="separate",
                      secret_keys=KEYS, smtp_url="smtp://127.0.0.1:9", mail_from="contatto@example.com",
                      **settings)  # fmt: skip
    context = open_context(install(chosen), clock)
    try:
        with AppClient(create_app(context), base_url=URL) as client, watched(context.db) as version:
            # Its tenants are told by who builds or copies it.
            yield World(context, client, None, None, version=version)  # type: ignore[arg-type]
    finally:
        context.db.close()


@dataclass(frozen=True, slots=True)
class Built:
    """What a finished world left: its tenants, when it was finished, and where its rows are."""

    victim: Tenant
    attacker: Tenant
    moment: datetime
    folder: Path
    database: str
    """The name of the database on PostgreSQL; on SQLite, where it is empty, the file is in the folder."""

    def copy_folder(self, to: Path) -> Path:
        """The data folder anew, as it was when the world was finished."""
        return Path(shutil.copytree(self.folder, to / "data"))

    def told(self, world: World) -> World:
        """A running copy, with its tenants."""
        world.victim, world.attacker = self.victim, self.attacker
        world.places += [self.victim.webchat_id, self.attacker.webchat_id]
        return world
