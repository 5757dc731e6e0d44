"""What makes no sense is refused in words at every route: ids, queries and bodies that we never send."""

import re
from typing import Any, Final

import pytest

from contatto.accounts.model import Credential
from tests.journeys.running import API
from tests.security.routes import Way, every_way, ways
from tests.security.world import World
from tests.unchanged import nothing_changes

IDS: Final = (
    "%00", "x", "9" * 30, "9" * 5_000, "²", "a%0Ab", "%FF%FE", "-1", "x" * 2_000, "..%2F..", "%25", "None",
    "0190a5a1-7c2e-7aaa-8000-00000000000f", "{id}",
)  # fmt: skip
BODIES: Final = (
    b"", b"not json", b"[]", b"[" * 60_000, b'{"advertiser_id":' * 5_000, b"\xff\xfe", b"null", b"1",
    b'{"advertiser_id":1e999}', b'{"advertiser_id":"\\ud800"}', b'{"advertiser_id":"1\\u0000"}',
    b'{"advertiser_id":' + b"9" * 5_000 + b"}",
)  # fmt: skip
VALUES: Final = (
    "\0", "²", "9" * 40, "-1", "<script>alert(1)</script>", "[" * 300, "%", "\ufffd", "🙂" * 20, "1e999",
    "10" + "0" * 17, "9999-12-31T23:59:59", "{}", '{"a":' * 40, "true", "nan", "a\nb",
)  # fmt: skip
NAMES: Final = (
    "q", "status", "source", "sort", "page", "before", "tab", "selected", "next", "from", "to", "level",
    "advertiser_id", "advertiser_ids", "filtering", "fields", "page_size", "section", "by", "columns", "goal",
    "start_date", "end_date", "dimensions", "metrics", "location_ids", "account", "key", "metric", "token",
    "click", "view", "policy", "since", "until", "period", "column", "lang", "limit", "cursor", "after", "v",
)  # fmt: skip
STREAMS: Final = {"GET /live", "GET /chat/{account_id}/stream"}
"""They stay open where they let in; what they are asked with, others ask too."""


def some(values: tuple[Any, ...], number: int, most: int) -> list[Any]:
    """A few of the values, others for each route, so that all are sent somewhere in every run."""
    return [values[(number * most + step) % len(values)] for step in range(most)]


def by(world: World, way: Way) -> dict[str, str]:
    if way.credential in (Credential.PROGRAM, Credential.APP):
        return {"token": world.attacker.token}
    return {"session": world.attacker.owner, "visitor": world.attacker.visitor}


WITH_IDS: Final = [way for way in every_way() if way.parameters]
WITHOUT_IDS: Final = [way for way in every_way() if not way.parameters and way.name not in STREAMS]


def ask_with_ids(world: World, way: Way, values: list[str]) -> None:
    with nothing_changes(world.context.db):
        for value in values:
            address = re.sub(r"{\w+}", value, way.path)
            sent = {} if way.method == "GET" else {"data": {"text": "Hi", "name": "X", "status": "raw"}}
            answer = world.ask(way.method, address, **by(world, way), **sent)
            assert 400 <= answer.status_code < 500 or answer.status_code == 307, (address, answer.status_code)


@pytest.mark.parametrize("way", WITH_IDS, ids=str)
def test_a_senseless_id_is_not_there_and_breaks_nothing(world: World, way: Way) -> None:
    ask_with_ids(world, way, some(IDS, WITH_IDS.index(way), 2))


@pytest.mark.slow
@pytest.mark.parametrize("way", WITH_IDS, ids=str)
def test_no_senseless_id_breaks_anything(world: World, way: Way) -> None:
    ask_with_ids(world, way, list(IDS))


@pytest.mark.parametrize(
    "way", [way for way in ways(Credential.PROGRAM, Credential.APP) if way.changes], ids=str
)
def test_a_body_that_makes_no_sense_has_a_coded_answer(world: World, way: Way) -> None:
    number = ways(Credential.PROGRAM, Credential.APP).index(way)
    with nothing_changes(world.context.db):
        for raw in some(BODIES, number, 3):
            headers = {"Content-Type": "application/json"}
            answer = world.ask("POST", way.path, token=world.attacker.token, content=raw, headers=headers)
            if way.path.startswith(API):
                assert answer.status_code == 200, raw[:40]
                assert 40_000 <= answer.json()["code"] < 50_000, raw[:40]
                assert answer.json()["message"]
            else:
                assert 400 <= answer.status_code < 500, raw[:40]


def ask_with_query(world: World, way: Way, values: list[str]) -> None:
    for value in values:
        answer = world.ask("GET", way.path, params=dict.fromkeys(NAMES, value), **by(world, way))
        assert answer.status_code < 500, (way, value)
        assert "<script>alert(1)" not in answer.text
        if way.path.startswith(API):
            assert answer.json()["code"] < 50_000, value


@pytest.mark.parametrize("way", [way for way in WITHOUT_IDS if not way.changes], ids=str)
def test_a_hostile_query_breaks_no_page(world: World, way: Way) -> None:
    ask_with_query(world, way, some(VALUES, WITHOUT_IDS.index(way), 2))


@pytest.mark.slow
@pytest.mark.parametrize("way", [way for way in WITHOUT_IDS if not way.changes], ids=str)
def test_no_hostile_query_breaks_a_page(world: World, way: Way) -> None:
    ask_with_query(world, way, list(VALUES))
