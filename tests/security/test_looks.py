"""Whoever is shown contact values is in the audit log with whose they were, before the first byte of them.

Every route is asked for what it shows, so a new one that shows contact values and is not declared fails here.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from html import unescape
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from contatto.accounts.model import Credential, ReadAudit, Role
from contatto.app import SHOWS_CONTACTS
from contatto.audit import (
    FOLDED,
    LONGEST,
    AuditEntry,
    chain_holds,
    count_audit_entries,
    list_audit_entries,
    read_seen,
)
from contatto.kit.db.tx import Tx, metadata
from contatto.kit.vault import Vault
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_contact_points, list_leads
from tests.security.attempts import Attempt
from tests.security.conftest import copied_world
from tests.security.planting import MAIL, NAME, VALUES, Planting
from tests.security.routes import Way, private_ways
from tests.security.samples import collect_attempts
from tests.security.test_other_tenant import is_refused, send
from tests.security.world import World

API = "/open_api/v1.3"
NOT_ASKED = {"POST /logout", "GET /live"}
"""One ends the session; the other stays open and tells ids alone."""
OF_THE_BUSINESS = {
    "GET /ads", "GET /ads/ad-groups/{number}/ads/new", "GET /ads/{kind}/{number}/edit",
    "GET /ads/{number}/preview", "GET /open_api/v1.3/ad/get/", "GET /open_api/v1.3/smart_plus/ad/get/",
    "GET /reports/sources", "GET /settings/replies", "POST /delivery/decide",
}  # fmt: skip
"""They show texts of the business itself, into which `planting` puts a number too."""
SHOWS_NONE = {"GET /leads/jobs", "GET /leads/jobs/{job_id}"}
"""They open the plan of long work, in which the rows of an import stand, and show how far it is."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world in which contact values stand everywhere."""
    built = request.getfixturevalue(f"planted_on_{request.param}")
    with copied_world(built, tmp_path_factory.mktemp("looks"), request) as world:
        yield world


@pytest.fixture(scope="module")
def attempts(planted: World) -> dict[str, list[Attempt]]:
    """What the victim may ask for, by way; those that only look come before those that change something."""
    found: dict[str, list[Attempt]] = {}
    for each in collect_attempts(planted, planted.victim):
        found.setdefault(each.way.name, []).append(each)
    asked = {way.name: [*found.get(way.name, ()), *more_of(way)] for way in looking_first()}
    return {name: tried for name, tried in asked.items() if name not in NOT_ASKED}


def values_of(world: World) -> set[str]:
    """The contact values of people of the victim, as they may be shown."""
    return {*world.victim.phones, *VALUES, f"mei@{world.victim.word}.example.com"}


def shows(world: World, text: str) -> bool:
    plain = unescape(re.sub(r"<[^>]*>", "", text))
    return any(value in plain or value in plain.replace(" ", "") for value in values_of(world))


def entries(world: World, count: int = 5_000) -> list[AuditEntry]:
    """Latest first."""
    of = world.victim.business_id
    return world.context.db.read_now(lambda tx: list_audit_entries(tx, of, (0, count)))


def entries_of(world: World, answer: httpx2.Response) -> list[AuditEntry]:
    request_id = answer.headers["x-request-id"]
    return [entry for entry in entries(world, 20) if entry.request_id == request_id]


def seen_by(world: World, answer: httpx2.Response) -> set[str]:
    """Everything that the entries of a request name."""
    found: set[str] = set()
    for entry in entries_of(world, answer):
        found |= {word.partition("=")[2] for word in entry.object.split()}
        found |= {each for _, ids in read_seen(entry.seen).values() for each in ids}
    return found


@contextmanager
def opened_values() -> Iterator[list[str]]:
    """What the vault opens meanwhile, for whom the answers are."""
    opened: list[str] = []
    listening: ContextVar[bool] = ContextVar("listening", default=True)
    real = Vault.open_bytes

    def open_bytes(self: Vault, sealed: bytes, *place: str) -> bytes:
        raw = real(self, sealed, *place)
        if listening.get():
            opened.append(raw.decode("utf-8", "replace"))
        return raw

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Vault, "open_bytes", open_bytes)
        yield opened


def more_of(way: Way) -> list[Attempt]:
    """What shows something only if it is asked for."""
    if way.name in ("GET /inbox/search", "GET /inbox", "GET /leads"):
        return [Attempt(way, way.path, (("q", word),)) for word in (NAME, MAIL)]
    return []


def looking_first() -> list[Way]:
    return sorted(private_ways(), key=lambda way: (way.changes, way.path))


def test_every_route_that_shows_contact_values_is_declared_and_each_look_is_in_the_log(
    planted: World, attempts: dict[str, list[Attempt]]
) -> None:
    undeclared, unlogged, shown = set(), set(), set()
    logged_acts = {entry.act for entry in entries(planted)}
    for attempt in (each for tried in attempts.values() for each in tried):
        way = attempt.way
        act = f"{way.method} {way.path.removeprefix(API)}"
        may_be_folded = SHOWS_CONTACTS.get(way.name) is not ReadAudit.EACH and act in logged_acts
        answer = send(planted, attempt, planted.victim)
        logged = entries_of(planted, answer)
        logged_acts |= {entry.act for entry in logged}
        if way.name in OF_THE_BUSINESS or not shows_values(planted, answer):
            continue
        shown.add(way.name)
        if way.name not in SHOWS_CONTACTS and not way.changes:
            undeclared.add(way.name)
        if not may_be_folded and not logged:
            unlogged.add((way.name, attempt.path))
    assert not undeclared, "declare these with a read audit"
    assert not unlogged
    assert len(shown) > 15, "the world shows too little to prove anything"


def shows_values(world: World, answer: httpx2.Response) -> bool:
    is_text = "spreadsheet" not in answer.headers.get("content-type", "")
    return is_text and not answer.is_redirect and not is_refused(answer) and shows(world, answer.text)


def test_no_route_opens_contact_values_without_being_declared(
    planted: World, attempts: dict[str, list[Attempt]]
) -> None:
    """What the samples above happen not to show, a route may still show another time."""
    undeclared = set()
    for attempt in (each for tried in attempts.values() for each in tried):
        name = attempt.way.name
        if attempt.way.changes or name in {*SHOWS_CONTACTS, *OF_THE_BUSINESS, *SHOWS_NONE}:
            continue
        with opened_values() as opened:
            send(planted, attempt, planted.victim)
        if shows(planted, "\n".join(opened)):
            undeclared.add(name)
    assert not undeclared, "declare these with a read audit"


def test_every_declared_route_is_one_of_the_app() -> None:
    assert set(SHOWS_CONTACTS) <= {way.name for way in private_ways()}


LISTS = ("/leads", "/leads/rows", "/leads?q=markworth", "/leads/rows?status=raw", "/inbox", "/inbox/list",
         f"/inbox/search?q={NAME}")  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
def test_a_list_names_everybody_whom_it_shows(planted_world: World, path: str) -> None:
    answer = planted_world.ask("GET", path, session=planted_world.victim.sessions[Role.MANAGER])
    assert answer.status_code == 200
    linked = set(re.findall(r"/(?:leads|inbox)/([0-9a-f-]{36})", answer.text))
    assert linked
    (entry,) = entries_of(planted_world, answer)
    assert seen_by(planted_world, answer) == linked
    ((_, (count, ids)),) = read_seen(entry.seen).items()
    assert count == len(ids) == len(linked)
    assert entry.actor_id == planted_world.victim.members[Role.MANAGER]
    assert entry.at == planted_world.context.clock.now()


def test_what_is_seen_again_within_minutes_is_in_the_log_once_for_each_caller_and_door(
    planted_world: World,
) -> None:
    world, of = planted_world, planted_world.victim
    clock: Any = world.context.clock
    looks = [world.ask("GET", "/leads/rows", session=of.owner) for _ in range(3)]
    assert [len(entries_of(world, look)) for look in looks] == [1, 0, 0]
    for other in (
        world.ask("GET", "/leads/rows", session=of.sessions[Role.AGENT]),
        world.ask("GET", "/leads", session=of.owner),
    ):
        assert len(entries_of(world, other)) == 1
    almost = (FOLDED - timedelta(seconds=1)).total_seconds()
    for _ in range(3):  # an open page: the look goes on
        clock.advance(seconds=almost)
        assert entries_of(world, world.ask("GET", "/leads/rows", session=of.owner)) == []
    clock.advance(seconds=FOLDED.total_seconds())
    later = world.ask("GET", "/leads/rows", session=of.owner)
    assert seen_by(world, later) == seen_by(world, looks[0])


def test_a_look_that_goes_on_is_in_the_log_each_hour(fresh_world: World) -> None:
    world, of = fresh_world, fresh_world.victim
    clock: Any = world.context.clock
    logged = []
    for _ in range(27):  # a little more than two hours
        logged += entries_of(world, world.ask("GET", "/leads/rows", session=of.owner))
        clock.advance(seconds=299)
    began = [entry.at for entry in logged]
    assert len(began) == 3
    assert all(LONGEST <= later - earlier < LONGEST + FOLDED for earlier, later in pairwise(began))


def test_who_is_new_in_a_list_is_named_though_the_others_were_seen(fresh_world: World) -> None:
    world, of = fresh_world, fresh_world.victim
    first = seen_by(world, world.ask("GET", "/leads/rows", session=of.owner))
    Planting(world).run()
    answer = world.ask("GET", "/leads/rows", session=of.owner)
    linked = set(re.findall(r"/leads/([0-9a-f-]{36})", answer.text))
    (entry,) = entries_of(world, answer)
    assert first < linked
    assert seen_by(world, answer) == linked - first
    assert read_seen(entry.seen)["lead_id"][0] == len(linked)


def test_each_look_at_one_person_and_each_file_is_an_entry_of_its_own(fresh_world: World) -> None:
    world, of = fresh_world, fresh_world.victim
    lead = of.ids["lead_id"][0]
    for path in (f"/leads/{lead}", f"/leads/{lead}/answers", "/leads.csv", "/leads.xlsx"):
        for _ in range(2):
            answer = world.ask("GET", path, session=of.owner)
            assert answer.status_code == 200
            (entry,) = entries_of(world, answer)
            assert path.startswith("/leads.") or entry.object == f"lead_id={lead}"
    number = world.context.db.read_now(
        lambda tx: len(list_leads(tx, of.business_id, LeadFilter(), limit=500))
    )
    assert read_seen(entry.seen) == {"lead_id": (number, [])}
    chosen = list(of.ids["lead_id"][:2])
    answer = world.ask("POST", "/leads/bulk", session=of.owner, data={"do": "csv", "ids": chosen})
    assert set(chosen) <= seen_by(world, answer)


def test_a_program_that_reads_messages_is_in_the_log(fresh_world: World) -> None:
    world, of = fresh_world, fresh_world.victim
    chat = {"business_id": of.open_id, "conversation_id": f"conversation of {of.word}1"}
    path = f"{API}/business/message/content/list/"
    answer = world.ask("GET", path, token=of.token, params=chat)
    assert answer.json()["code"] == 0
    (entry,) = entries_of(world, answer)
    assert entry.act == "GET /business/message/content/list/"
    rows = metadata.tables["conversations"]
    wanted = select(rows.c.id).where(rows.c.external_id == chat["conversation_id"])
    assert seen_by(world, answer) == {world.context.db.read_now(lambda tx: tx.scalar(wanted))}


def test_who_is_refused_has_looked_at_nothing(fresh_world: World) -> None:
    world, of = fresh_world, fresh_world.victim
    foreign = world.attacker.ids["lead_id"][0]
    before = len(entries(world))
    for path, session in (
        (f"/leads/{foreign}", of.owner),
        ("/leads", of.sessions[Role.ANALYST]),
        ("/leads", ""),
        (f"/inbox/{foreign}", of.owner),
    ):
        assert world.ask("GET", path, session=session).status_code in (303, 401, 403, 404)
    read_only = of.tokens["ads.read"]
    assert world.api("GET", "/lead/get/", read_only, advertiser_id=of.advertiser_id)["code"] != 0
    assert len(entries(world)) == before
    foreign_log = world.attacker.business_id
    assert world.context.db.read_now(lambda tx: count_audit_entries(tx, foreign_log)) >= 0


def test_the_log_of_looks_is_chained_and_holds_no_contact_value_and_no_name(planted: World) -> None:
    found = entries(planted)
    assert chain_holds(found[::-1])
    text = repr([(entry.act, entry.object, entry.seen) for entry in found])
    assert not shows(planted, text)
    assert NAME.split()[1].lower() not in text.lower()


def test_a_value_that_is_asked_for_does_not_get_into_the_log(fresh_world: World) -> None:
    world, of = fresh_world, fresh_world.victim
    asked = {"q": MAIL, "lead_id": "97776655", "account_id": "+6597776655", "conversation_id": MAIL}
    for path in ("/leads", "/leads.csv", "/inbox"):
        assert world.ask("GET", path, session=of.owner, params=asked).status_code == 200
    told = repr([(entry.object, entry.seen) for entry in entries(world, 10)])
    assert "97776655" not in told
    assert MAIL not in told


def test_the_page_and_the_api_tell_whom_a_look_has_shown(fresh_world: World) -> None:
    world, of = fresh_world, fresh_world.victim
    seen = seen_by(world, world.ask("GET", "/leads", session=of.owner))
    page = world.ask("GET", "/settings/audit", session=of.owner).text
    assert all(each in page for each in seen)
    told = world.api("GET", "/contatto/audit/list/", of.token, page_size=5)["data"]
    look = next(entry for entry in told["list"] if entry["act"] == "GET /leads")
    ((kind, count, ids),) = [(each["kind"], each["count"], set(each["ids"])) for each in look["seen"]]
    assert (kind, count, ids) == ("lead_id", len(seen), seen)
    assert told["chain_holds"] is True


def test_the_answer_waits_until_its_look_is_in_the_log(
    fresh_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that cannot be written down shows nothing."""
    world, of = fresh_world, fresh_world.victim

    def fail(*_: Any) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("contatto.audit.entry_digest", fail)
    for path in ("/leads", f"/leads/{of.ids['lead_id'][0]}", "/leads.csv"):
        answer = world.ask("GET", path, session=of.owner)
        assert answer.status_code == 500
        assert not shows(world, answer.text)


def test_the_values_that_the_tests_look_for_are_there(planted: World) -> None:
    of = planted.victim.business_id

    def look(tx: Tx) -> set[str]:
        leads = list_leads(tx, of, LeadFilter(), limit=500)
        points = list_contact_points(tx, of, {lead.id for lead in leads})
        return {point.value for found in points.values() for point in found}

    kept = planted.context.db.read_now(look)
    assert MAIL in kept
    assert len(kept & {f"+65{phone}" for phone in planted.victim.phones}) > 2
    assert {way.credential for way in private_ways()} == {
        Credential.MEMBER,
        Credential.PROGRAM,
        Credential.APP,
    }
