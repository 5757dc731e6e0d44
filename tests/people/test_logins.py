"""Logging in under attack: strangers use up their own tries, known members keep a way in and are told."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from contatto.accounts import actions as accounts
from contatto.accounts import store
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Role
from contatto.app import create_app
from contatto.kit.concurrency import KEPT_FOR_KNOWN, OF_ONE_NETWORK, PLACES, HashPool
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from contatto.kit.rate_limits import purge_limits
from contatto.people import actions as logins
from contatto.people.actions import TRIES, TRIES_OF_EMAIL, TRIES_OF_NETWORK, WINDOW
from contatto.people.store import FAILED_TRIES_DAYS, purge_failed_logins, purge_known_logins
from contatto.ui.render import DEVICE_COOKIE, SESSION_COOKIE
from tests.journeys.running import EMAIL, PASSWORD, csrf_of, open_house, weak_hash
from tests.unchanged import nothing_changes

WRONG = "another long password"


class Street:
    """One server, and browsers at many addresses."""

    def __init__(self, folder: Path, database_url: str, opened: ExitStack) -> None:
        self.clock = FixedClock(datetime(2026, 1, 1, 12, tzinfo=UTC))
        context, made = open_house(folder, database_url=database_url)
        opened.callback(context.db.close)
        self.context = replace(context, clock=self.clock)
        self.context.db.clock = self.clock
        self.business_id = made["business_id"]
        self.app = create_app(self.context)
        self._opened = opened

    def browser(self, address: str) -> httpx2.Client:
        """A browser without cookies; it does not start the app's background work."""
        return TestClient(self.app, base_url="http://127.0.0.1:8000", client=(address, 50_000))

    def add_member(self, email: str) -> None:
        new = NewMember(email, "Second", Role.OWNER)
        hashed = weak_hash(PASSWORD)
        self.context.db.write_now(lambda tx: accounts.add_member(tx, self.business_id, new, hashed))  # type: ignore[arg-type]


def try_in(browser: httpx2.Client, email: str = EMAIL, password: str = WRONG) -> int:
    return post(browser, email, password).status_code


def post(browser: httpx2.Client, email: str = EMAIL, password: str = WRONG) -> httpx2.Response:
    form = {"email": email, "password": password, "csrf_token": csrf_of(browser.get("/login").text)}
    return browser.post("/login", data=form, follow_redirects=False)


def sign_in(browser: httpx2.Client, email: str = EMAIL) -> httpx2.Response:
    answer = post(browser, email, PASSWORD)
    assert answer.status_code == 303, answer.text
    return answer


@pytest.fixture(params=["sqlite", "postgresql"])
def street(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Street]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_copy")
    with ExitStack() as opened:
        yield Street(tmp_path, url, opened)


def test_a_strangers_wrong_tries_lock_no_known_member_out(street: Street) -> None:
    own = street.browser("198.51.100.1")
    sign_in(own)
    stranger = street.browser("203.0.113.9")
    assert [try_in(stranger) for _ in range(TRIES + 2)] == [401] * TRIES + [429] * 2
    own.cookies.delete(SESSION_COOKIE)
    sign_in(own)
    elsewhere = street.browser("198.51.100.77")  # nor does it lock out who comes from a new place
    sign_in(elsewhere)


def test_who_signed_in_with_this_browser_gets_in_from_the_very_address_of_the_attack(street: Street) -> None:
    own = street.browser("203.0.113.9")
    sign_in(own)
    stranger = street.browser("203.0.113.9")
    while try_in(stranger) == 401:
        pass
    assert try_in(stranger, password=PASSWORD) == 429
    own.cookies.delete(SESSION_COOKIE)
    sign_in(own)


def test_a_known_browser_has_ten_tries_too(street: Street) -> None:
    own = street.browser("198.51.100.1")
    sign_in(own)
    own.cookies.delete(SESSION_COOKIE)
    assert [try_in(own) for _ in range(TRIES + 1)] == [401] * TRIES + [429]
    with nothing_changes(street.context.db):
        assert try_in(own, password=PASSWORD) == 429
    street.clock.advance(seconds=WINDOW.total_seconds())
    sign_in(own)


def test_a_browser_is_known_for_the_member_who_used_it_and_for_nobody_else(street: Street) -> None:
    street.add_member("second@example.com")
    shared = street.browser("203.0.113.9")
    sign_in(shared, "second@example.com")
    shared.cookies.delete(SESSION_COOKIE)
    assert [try_in(shared) for _ in range(TRIES + 1)][-1] == 429
    assert try_in(street.browser("203.0.113.9")) == 429  # it counted as any browser of that address
    sign_in(shared, "second@example.com")


@pytest.mark.parametrize("cookie", ["", "x", "device_x.", "device_x." + "0" * 64, "é.é"])
def test_a_forged_device_is_none(street: Street, cookie: str) -> None:
    sign_in(street.browser("198.51.100.1"))
    forged = street.browser("203.0.113.9")
    page = csrf_of(forged.get("/login").text)
    form = {"email": EMAIL, "password": WRONG, "csrf_token": page}
    guest = forged.cookies["contatto_guest"]
    headers = {"cookie": f"contatto_guest={guest}; {DEVICE_COOKIE}={cookie}".encode()}
    forged.cookies.clear()
    got = [forged.post("/login", data=form, headers=headers).status_code for _ in range(TRIES + 1)]  # type: ignore[arg-type]
    assert got == [401] * TRIES + [429]
    assert try_in(street.browser("203.0.113.9")) == 429


def test_tries_for_many_members_from_one_address_end_soon(street: Street) -> None:
    stranger = street.browser("203.0.113.9")
    got = [try_in(stranger, f"member{n}@example.com") for n in range(TRIES_OF_NETWORK + 3)]
    assert got == [401] * TRIES_OF_NETWORK + [429] * 3


def test_all_addresses_of_one_ipv6_network_count_as_one(street: Street) -> None:
    got = [try_in(street.browser(f"2001:db8:1:2:{n:x}::1")) for n in range(1, TRIES + 2)]
    assert got == [401] * TRIES + [429]
    assert try_in(street.browser("2001:db8:1:3::1")) == 401


def test_tries_from_ever_new_addresses_end_too_and_members_still_get_in(street: Street) -> None:
    own, home = street.browser("198.51.100.1"), street.browser("198.51.100.2")
    sign_in(own)
    sign_in(home)
    for number in range(TRIES_OF_EMAIL):
        assert try_in(street.browser(f"203.0.113.{number}")) == 401
    assert try_in(street.browser("203.0.113.200"), password=PASSWORD) == 429
    own.cookies.delete(SESSION_COOKIE)
    sign_in(own)
    sign_in(street.browser("198.51.100.2"))  # a browser without cookies, where the member signed in before


def test_good_log_ins_use_up_nothing(street: Street) -> None:
    browser = street.browser("198.51.100.1")
    for _ in range(TRIES_OF_NETWORK + 1):
        browser.cookies.clear()
        sign_in(browser)


def test_the_member_is_told_how_often_others_tried_and_since_when(street: Street) -> None:
    own = street.browser("198.51.100.1")
    sign_in(own)
    street.clock.advance(hours=1)
    for address in ("203.0.113.9", "203.0.113.10"):
        assert [try_in(street.browser(address)) for _ in range(2)] == [401, 401]
        street.clock.advance(hours=1)
    own.cookies.delete(SESSION_COOKIE)
    assert try_in(own) == 401  # one's own slip is no news
    answer = sign_in(own)
    assert answer.headers["location"] == "/login/tries?next=/home"
    page = own.get(answer.headers["location"]).text
    assert "4 failed log-ins" in page
    assert "2026-01-01T13:00:00" in page
    assert re.search(r'href="/home"', page)
    own.cookies.delete(SESSION_COOKIE)
    assert sign_in(own).headers["location"] == "/home"  # once is enough
    assert own.get("/login/tries?next=//evil.example", follow_redirects=False).headers["location"] == "/home"


def test_nobody_else_reads_of_the_tries(street: Street) -> None:
    assert street.browser("198.51.100.1").get("/login/tries", follow_redirects=False).status_code == 303
    street.add_member("second@example.com")
    try_in(street.browser("203.0.113.9"))
    browser = street.browser("198.51.100.1")
    assert sign_in(browser, "second@example.com").headers["location"] == "/home"


def test_an_unknown_address_and_a_wrong_password_cost_the_same_statements(street: Street) -> None:
    said: list[str] = []
    event.listen(street.context.db.engine, "before_cursor_execute", lambda *args: said.append(args[2]))

    def asked(email: str, address: str) -> tuple[list[str], str]:
        browser = street.browser(address)
        browser.get("/login")
        said.clear()
        page = post(browser, email).text
        return [re.sub(r"\bsp_\d+|SAVEPOINT \S+", "", each) for each in said], page.replace(email, "")

    sign_in(street.browser("198.51.100.1"))
    known, unknown = asked(EMAIL, "203.0.113.1"), asked("nobody@example.com", "203.0.113.2")
    assert known[0] == unknown[0]
    strip = re.compile(r'(?<=")[\w-]{43}(?=")|data-last-event="\d+"')
    assert strip.sub("", known[1]) == strip.sub("", unknown[1])


def test_a_password_that_changes_while_it_is_checked_opens_no_session(street: Street) -> None:
    db = street.context.db
    attempt = db.write_now(lambda tx: logins.count_login(tx, EMAIL, "198.51.100.1", ""))

    def change(tx: Tx) -> None:
        tx.connection.exec_driver_sql("UPDATE users SET password_hash = 'new'")

    db.write_now(change)
    with nothing_changes(db), pytest.raises(Refused, match="wrong"):
        db.write_now(lambda tx: logins.start_session(tx, attempt, attempt.candidates[0], 14, "device_1"))


def test_what_was_counted_is_swept_away(street: Street) -> None:
    try_in(street.browser("203.0.113.9"))
    db = street.context.db
    street.clock.advance(days=1)
    assert db.write_now(purge_limits) == 3
    street.clock.advance(days=FAILED_TRIES_DAYS)
    assert db.write_now(purge_failed_logins) == 1
    assert db.write_now(purge_known_logins) == 0


def test_the_queue_is_short_and_keeps_places_for_those_who_were_here(street: Street) -> None:
    pool = street.app.state.resources[HashPool]
    own = street.browser("198.51.100.1")
    sign_in(own)
    own.cookies.delete(SESSION_COOKIE)
    stranger = street.browser("203.0.113.9")
    with ExitStack() as taken:
        for number in range(PLACES - KEPT_FOR_KNOWN):
            taken.enter_context(pool.place(f"203.0.113.{number % 100 + 100}"))
        with nothing_changes(street.context.db):
            answer = post(stranger)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
        sign_in(own)
    assert try_in(stranger) == 401
    with ExitStack() as taken:
        for _ in range(OF_ONE_NETWORK):
            taken.enter_context(pool.place("203.0.113.9"))
        assert try_in(stranger) == 429
        assert try_in(street.browser("203.0.113.10")) == 401


def test_a_new_password_makes_every_browser_a_stranger(street: Street) -> None:
    """Who had found the old one out, and signed in with it, has no tries of their own any more."""
    thief = street.browser("203.0.113.9")
    sign_in(thief)
    db, hashed = street.context.db, weak_hash("a new long password")

    def change(tx: Tx) -> None:
        [member] = store.list_members_by_email(tx, EMAIL)
        accounts.change_password(tx, member, hashed)

    db.write_now(change)
    thief.cookies.delete(SESSION_COOKIE)
    assert [try_in(thief) for _ in range(TRIES + 1)] == [401] * TRIES + [429]
    assert try_in(street.browser("203.0.113.9")) == 429  # they were those of any browser there
