"""Values that no page of ours would send, in each place of each request: refused, and nothing breaks.

Numbers beyond every column, days before and after all calendars, texts that a database or an encoding cannot
hold, JSON without an end: whoever is let in sends them, member, program, app, visitor or nobody. `make
test-all` sends every value to every place, the usual run a part.
"""

import json
import math
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated, Any, Final
from urllib.parse import quote

import httpx2
import pytest
from pydantic import TypeAdapter

from contatto.accounts.model import Credential
from tests.security.attempts import Attempt, _changed, _leaves
from tests.security.routes import Way, every_way
from tests.security.samples import LINKS, _declared_form, _operations, _resolved, attempts_of, own_attempts
from tests.security.world import Tenant, World

NUMBERS = (
    "-1", "0", "1000000000000000000", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "9" * 400, "9" * 5_000, "1e400", "1e-400", "NaN", "-Infinity", "0.1", "²", "١٢٣", "1_000", " 1", "+1",
)  # fmt: skip
TIMES = (
    "9999-12-31", "9999-12-31T23:59", "9999-12-31 23:59:59", "9999-12-31T23:59:59.999999-14:00", "0001-01-01",
    "0001-01-01T00:00", "0001-01-01 00:00:00", "0001-01-01T00:00:00+14:00", "2026-02-30", "2026-01-01T25:61",
    "10000-01-01", "253402300800", "-62135596801",
)  # fmt: skip
TEXTS = (
    "", "\0", "a\0b", "null", "[", "{}", '[{"a":[' * 2_000, '["\\ud800"]', '["\\u0000"]', "[1e999]", "[null]",
    '{"\\ud800":1}', "%", "%s%(x)s{0}", "😀" * 300, "\u202e\u0085\u2028", "\ufffe", "' OR 1=1 --",
    "../../../../etc/passwd", "javascript:alert(1)", "x" * 9_000, "a=1&" * 600, "a;b;c\r\nSet-Cookie: x=y",
)  # fmt: skip
WORDS = (*NUMBERS, *TIMES, *TEXTS)
LEAVES: tuple[Any, ...] = (
    "\ud800", "\udfff\ud800", None, True, [], {}, [[]], {"a": {"b": []}}, [None], -1, 0, 10**18, 2**63,
    -(2**63) - 1, 10**400, 0.1, -0.0, math.inf, -math.inf, math.nan, 1e308, 5e-324, ["\ud800"], {"\ud800": 1},
    {"\0": "\0"}, "x" * 200_000, ["x"] * 5_000,
)  # fmt: skip
COUNTED = re.compile(
    r"page|size|limit|offset|after|before|since|until|from|to|at|on|time|date|days?|seq|count|n|number|budget|bid"
    r"|price|amount|minutes|revision|window|seen|start|end|low|high|length"
)
"""Words in the names of places that are numbers or times."""
PAGED = ("page", "page_size", "after", "before", "from", "to", "since", "until", "sort", "q", "days")
"""Asked of every page, whatever it declares: some read their addresses themselves."""
ENDLESS = ("GET /live", "GET /chat/{account_id}/stream")
ENDS_SESSION = "POST /logout"
WAYS = [way for way in every_way() if way.path != "/static" and way.name not in (*ENDLESS, ENDS_SESSION)]


def public_attempts(tenant: Tenant) -> Iterator[Attempt]:
    """Requests to the doors that are open to all, to visitors, and to who has an address that we signed."""
    form = {"page_id": tenant.ids["page_id"][0], "opening": "x", "submission_id": "submission-1",
            "language": "en", "answers": {"q1": "mei@push.example.com"}, "consents": ["c1"],
            "website": ""}  # fmt: skip
    bodies: dict[str, Any] = {
        "POST /chat/{account_id}/form": form,
        "POST /form/{token}": form,
        "POST /chat/{account_id}/messages": {"client_message_id": "hostile-message", "text": "Hi"},
        "POST /open_api/v1.3/oauth2/access_token/": {
            "app_id": tenant.app_id,
            "secret": "x",
            "auth_code": "x",
        },
    }
    challenge = (("hub.mode", "subscribe"), ("hub.verify_token", "x"), ("hub.challenge", "1"))
    queries = {
        "GET /chat/{account_id}/messages": (("after", "0"), ("unsent", "a,b"), ("v", "x")),
        "GET /media": (("m", "x"),),
        "GET /webhooks/{platform}/{app_id}": challenge,
        "POST /chat/{account_id}/photos": (("client_message_id", "hostile-photo"),),
    }
    named = (("email", "a@example.com"), ("display_name", "x"), ("password", "x"))
    placed = (("business", "x"), ("country", "SG"), ("currency", "SGD"), ("timezone", "UTC"))
    forms = {
        "POST /login": (("email", "a@example.com"), ("password", "x"), ("next", "/")),
        "POST /invitations/{token}": named,
        "POST /password/forgotten": (("email", "a@example.com"),),
        "POST /password/reset/{token}": (("password", "x"),),
        "POST /setup/{token}": (*named, *placed),
    }
    for way in every_way():
        if way.credential not in (Credential.MEMBER, Credential.PROGRAM, Credential.APP):
            path = address_of(way, tenant)
            yield Attempt(way, path, queries.get(way.name, ()), forms.get(way.name), bodies.get(way.name))


def address_of(way: Way, tenant: Tenant) -> str:
    known = {
        "account_id": tenant.webchat_id, "page_id": tenant.ids["page_id"][0], "platform": "tiktok",
        "app_id": tenant.app_id, "business_id": tenant.business_id, "digest": "0" * 64,
        "message_id": tenant.ids["message_id"][0], "target_id": tenant.ids["target_id"][0],
    }  # fmt: skip
    kind = LINKS.get(way.path[:5], "form")
    return way.path.format_map(known | {"token": tenant.links[kind].rpartition("/")[2]})


def declared(way: Way) -> list[str]:
    """The names of a route's query, also those that no page of ours uses."""
    names = [each.alias for each in way.dependant.query_params] if way.dependant else []
    parameters = _operations().get(way.name, {}).get("parameters", ())
    return list(dict.fromkeys([*names, *(each["name"] for each in parameters if each["in"] == "query")]))


type Place = tuple[str, Any]


def places(attempt: Attempt, tenant: Tenant) -> Iterator[tuple[Place, str]]:
    """Where a request can hold a hostile value, and the name of each place."""
    for number, step in enumerate(attempt.way.path.split("/")):
        if "{" in step:
            yield ("path", number), step.strip("{}")
    yield from _places_in_query(attempt)
    if attempt.form is not None:
        sent = [name for name, _ in attempt.form]
        yield from ((("form", number), name) for number, name in enumerate(sent))
        known = [name for name, _ in _declared_form(attempt.way, tenant)]
        yield from ((("field", name), name) for name in known if name not in sent)
    for keys, _ in _leaves(attempt.body):
        yield ("body", keys), ".".join(str(key) for key in keys)


def _places_in_query(attempt: Attempt) -> Iterator[tuple[Place, str]]:
    sent = [name for name, _ in attempt.query]
    more = [name for name in declared(attempt.way) if name not in sent]
    guessed = () if attempt.way.changes else PAGED
    yield from ((("query", number), name) for number, name in enumerate(sent))
    yield from ((("more", name), name) for name in more)
    yield from ((("guess", name), name) for name in guessed if name not in (*sent, *more))


def planted(attempt: Attempt, place: Place, value: Any) -> Attempt:
    kind, at = place
    if kind == "path":
        parts = attempt.path.split("/")
        parts[at] = quote(str(value)[:900], safe="") or "%00"
        return replace(attempt, path="/".join(parts))
    if kind == "query":
        return replace(attempt, query=_put(attempt.query, at, value))
    if kind in ("more", "guess"):
        return replace(attempt, query=(*attempt.query, (at, value)))
    if kind == "form":
        return replace(attempt, form=_put(attempt.form or (), at, value))
    if kind == "field":
        return replace(attempt, form=(*(attempt.form or ()), (at, value)))
    return replace(attempt, body=_changed(attempt.body, (), lambda keys, old: value if keys == at else old))


def _put(pairs: tuple[tuple[str, str], ...], at: int, value: str) -> tuple[tuple[str, str], ...]:
    return (*pairs[:at], (pairs[at][0], value), *pairs[at + 1 :])


def values_for(place: Place, name: str) -> list[Any]:
    """What is sent to a place of that kind and name."""
    if place[0] == "guess":
        return ["9223372036854775808", "9999-12-31", "\0"]
    return [*WORDS, *(LEAVES if place[0] == "body" else ())]


def breaks_most(place: Place, name: str) -> list[Any]:
    """Of these the ones that most doors once fell to."""
    is_counted = any(COUNTED.fullmatch(word) for word in re.split(r"[._\W]", name.lower()))
    counted = ("1000000000000000000", "9999-12-31T23:59:59.999999-14:00", "0001-01-01")
    half = ("\ud800",) if place[0] == "body" else ()
    return ["\0", "9223372036854775808", *half, *(counted if is_counted else ())]


def send(world: World, attempt: Attempt, tenant: Tenant, **by: Any) -> httpx2.Response:
    credential = attempt.way.credential
    if credential is Credential.MEMBER:
        by["session"] = tenant.owner
    elif credential in (Credential.PROGRAM, Credential.APP):
        by["token"] = tenant.token
    else:
        by["visitor"] = tenant.visitor
    if attempt.body is None:
        return attempt.send(world, **by)
    by["headers"] = {"Content-Type": "application/json"}
    if attempt.query:
        by["params"] = list(attempt.query)
    return world.ask(attempt.way.method, attempt.path, content=json.dumps(attempt.body).encode(), **by)


def attempts(world: World, way: Way) -> list[Attempt]:
    if way.credential in (Credential.MEMBER, Credential.PROGRAM, Credential.APP):
        return attempts_of(world, world.attacker, way)
    return [each for each in public_attempts(world.attacker) if each.way == way]


def is_broken(answer: httpx2.Response) -> bool:
    return answer.status_code >= 500 or '"code":50000' in answer.text[:200]


def plantings(world: World, way: Way) -> Iterator[tuple[Attempt, Place, str]]:
    """Each place of a way once, in a request that has it."""
    seen = set[tuple[str, str]]()
    for attempt in attempts(world, way):
        for place, name in places(attempt, world.attacker):
            if (place[0], name) not in seen:
                seen.add((place[0], name))
                yield attempt, place, name


def drawn(world: World, way: Way, most: int) -> Iterator[tuple[Attempt, Place, str, Any]]:
    """A part of all plantings of a way, always the same: other places first, each with another value."""
    chance = random.Random(way.name)  # noqa: S311 - only a choice
    found = list(plantings(world, way))
    chance.shuffle(found)
    for number in range(most if found else 0):
        attempt, place, name = found[number % len(found)]
        of = breaks_most if chance.random() < 0.5 else values_for
        yield attempt, place, name, chance.choice(of(place, name))


def attack(world: World, sent: Iterable[tuple[Attempt, Place, str, Any]]) -> list[str]:
    """Send the values; give what broke."""
    broken = []
    for attempt, place, name, value in sent:
        answer = send(world, planted(attempt, place, value), world.attacker)
        if is_broken(answer):
            broken.append(f"{place[0]} {name} = {str(value)[:60]!r}: {answer.status_code}")
    return broken


@pytest.mark.parametrize("most", [1, 3])
def test_no_value_in_any_place_breaks_it(world: World, most: int) -> None:
    broken = {way.name: found for way in WAYS if (found := attack(world, drawn(world, way, most)))}
    assert not broken


def unbounded(schema: Any, path: str = "") -> Iterator[str]:
    """Whole numbers of a schema that say nothing of their largest value."""
    if isinstance(schema, list):
        schema = dict(enumerate(schema))
    if isinstance(schema, dict):
        is_free = not {"maximum", "exclusiveMaximum", "enum", "const"} & set(schema)
        if schema.get("type") == "integer" and is_free:
            yield path
        for name, inner in schema.items():
            yield from unbounded(inner, f"{path}.{name}")


def _schema_of(field: Any) -> dict[str, Any]:
    declared: Any = Annotated[field.field_info.annotation, field.field_info]
    return TypeAdapter[Any](declared).json_schema()


@pytest.mark.parametrize("way", [way for way in WAYS if way.dependant], ids=str)
def test_every_whole_number_that_a_route_takes_has_bounds(way: Way) -> None:
    of = way.dependant
    found = [
        f"{field.alias}{path}"
        for field in (*of.query_params, *of.path_params, *of.body_params)
        for schema in [_schema_of(field)]
        for path in unbounded(_resolved(schema, schema))
    ]
    assert not found


FORM, JSON = "application/x-www-form-urlencoded", "application/json"
MULTIPART = "multipart/form-data; boundary=x"


def part(head: str, body: bytes = b"x", boundary: str = "x") -> bytes:
    return f"--{boundary}\r\n{head}\r\n\r\n".encode() + body + f"\r\n--{boundary}--\r\n".encode()


NAMED = 'Content-Disposition: form-data; name="text"'
BODIES: list[tuple[str, bytes]] = [
    (f"{JSON}; charset=utf-7", b"{}"), ("", b"{}"), ("x", b"\0" * 100), ("application/x-ndjson", b"{}\n{}"),
    (JSON, b"\xef\xbb\xbf{}"), (JSON, '{"a": 1}'.encode("utf-16")), (JSON, b'{"a": NaN, "a": [1e999]}'),
    (FORM, b"&" * 200_000), (FORM, b"a&" * 100_000), (FORM, b"%"), (FORM, b"%00=%00&%zz=%"),
    (FORM, b"=" * 1_000), (FORM, b"\xff=\xff&text=%ff%fe&q=%ED%A0%80"), (FORM, b"csrf_token=%00"),
    ("multipart/form-data", part(NAMED)), (MULTIPART, b""), (MULTIPART, b"--x"),
    (MULTIPART, part(NAMED)[:-4]), (MULTIPART, part("x")),
    (MULTIPART, part("Content-Disposition: form-data")),
    (MULTIPART, b"--x\r\n" * 20_000), (MULTIPART, part(f'{NAMED}; filename="a\0b"')),
    (MULTIPART, part(NAMED, b"\0\xff\xed\xa0\x80")), (MULTIPART, part("X: " + "y" * 100_000)),
    (MULTIPART, part(f"{NAMED}; filename*=utf-7''%2B2AA-")), (f"{MULTIPART}; charset=zlib", part(NAMED)),
    (f"{MULTIPART}; charset=utf-7", part(NAMED, b"+2AA-")), (f"{MULTIPART}; charset=undefined", part(NAMED)),
    (f"{MULTIPART}; charset=idna", part(NAMED, b"xn--a")),
    (f"{MULTIPART}; charset=unicode_escape", part(NAMED, b"\\ud800")),
    ("multipart/form-data; boundary=" + "x" * 5_000, part(NAMED)),
    (MULTIPART, b"".join(part(NAMED)[:-9] for _ in range(3_000)) + b"--x--"),
]  # fmt: skip
"""Bodies that are none, or of another kind than they say."""


def attack_with_bodies(world: World, way: Way, bodies: Iterable[tuple[str, bytes]]) -> list[str]:
    """Send them; give which broke it."""
    broken = []
    bare = replace(attempts(world, way)[0], form=None, body=None, raw=None, file=None)
    for kind, body in bodies:
        answer = send(world, bare, world.attacker, headers={"Content-Type": kind}, content=body)
        if is_broken(answer):
            broken.append(f"{kind[:60]} {body[:40]!r}: {answer.status_code}")
    return broken


CHANGING = [way for way in WAYS if way.changes]


@pytest.mark.parametrize("most", [1, 2])
def test_no_body_breaks_it(world: World, most: int) -> None:
    chance = random.Random(0)  # noqa: S311 - only a choice
    broken = {
        way.name: found
        for way in CHANGING
        if (found := attack_with_bodies(world, way, chance.sample(BODIES, most)))
    }
    assert not broken


@pytest.mark.slow
@pytest.mark.parametrize("way", CHANGING, ids=str)
def test_none_of_all_bodies_breaks_it(world: World, way: Way) -> None:
    assert attack_with_bodies(world, way, BODIES) == []


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_none_of_all_values_in_any_place_breaks_it(world: World, way: Way) -> None:
    sent = [
        (attempt, place, name, value)
        for attempt, place, name in plantings(world, way)
        for value in values_for(place, name)
    ]
    assert sent or not list(plantings(world, way))
    assert attack(world, sent) == []


SCRIPT: Final = re.compile(
    r"""(?:href|src|action|formaction|data-href|hx-get|hx-post|hx-put|hx-delete)\s*=\s*["']?[\x00-\x20]*"""
    r"""(?!https?:|mailto:|tel:|data:image/)[a-z][\x00-\x20a-z+.-]*:""",
    re.IGNORECASE,
)


@pytest.mark.slow
def test_no_page_has_a_link_that_runs_a_script_by_now(world: World) -> None:
    """Runs after all values were sent, which are addresses with scripts too."""
    pages = {each.path for each in own_attempts(world, world.attacker) if each.way.method == "GET"}
    looked = 0
    for path in sorted(pages):
        if path.startswith(("/open_api", "/live")):
            continue
        answer = world.ask("GET", path, session=world.attacker.owner)
        looked += "text/html" in answer.headers.get("content-type", "")
        assert not SCRIPT.search(answer.text), path
    assert looked > 30
