"""Values that no page of ours would send, in each place of each request: they are refused, and nothing breaks.

Numbers beyond every column, days before and after all calendars, texts that a database or an encoding cannot hold,
JSON without an end: whoever is let in sends them, member, program, visitor or nobody.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from contatto.accounts.model import Door
from tests.security.attempts import Attempt, _changed, _leaves
from tests.security.routes import Way, every_way
from tests.security.samples import Sampler, _operations, own_attempts
from tests.security.world import Tenant, World

TEXTS = (
    "", "\0", "a\0b", "-1", "0", "1000000000000000000", "9223372036854775807", "9223372036854775808",
    "-9223372036854775809", "9" * 400, "9" * 5_000, "1e400", "NaN", "-Infinity", "1e-400", "0.1", "²", "١٢٣", "1_000",
    "9999-12-31", "9999-12-31T23:59", "9999-12-31 23:59:59", "0001-01-01", "0001-01-01T00:00",
    "0001-01-01 00:00:00", "9999-12-31T23:59:59.999999+14:00", "2026-02-30", "null", "[", "{}", '[{"a":[' * 2_000,
    '["\\ud800"]', '["\\u0000"]', "[1e999]", "%", "%s%(x)s{0}", "😀" * 300, "\u202e\u0085\u2028", "\ufffe",
    "' OR 1=1 --", "../../../../etc/passwd", "javascript:alert(1)", "x" * 9_000,
)  # fmt: skip
LEAVES: tuple[Any, ...] = (
    *TEXTS, "\ud800", "\udfff\ud800", None, True, [], {}, [[]], {"a": {"b": []}}, [None], -1, 0, 10**18, 2**63, -(2**63) - 1,
    10**400, 0.1, -0.0, math.inf, -math.inf, math.nan, 1e308, 5e-324, ["\ud800"], {"\ud800": 1}, {"\0": "\0"},
)  # fmt: skip
ENDLESS = {"GET /live", "GET /chat/{account_id}/stream"}
"""Streams are asked with values that end them at once alone."""
ENDS_SESSION = "POST /logout"


def public_attempts(tenant: Tenant) -> Iterator[Attempt]:
    """Requests to the doors that are open to all, to visitors, and to who has an address that we signed."""
    page, opening = tenant.ids["page_id"][0], "x"
    form = {"page_id": page, "opening": opening, "submission_id": "submission-1", "language": "en",
            "answers": {"q1": "mei@push.example.com"}, "consents": ["c1"], "website": ""}  # fmt: skip
    said = {"client_message_id": "hostile-message", "text": "Hi"}
    bodies: dict[str, Any] = {
        "POST /chat/{account_id}/form": form, "POST /form/{token}": form,
        "POST /chat/{account_id}/messages": said,
        "POST /open_api/v1.3/oauth2/access_token/": {"app_id": tenant.app_id, "secret": "x", "auth_code": "x"},
    }  # fmt: skip
    queries = {
        "GET /chat/{account_id}/messages": (("after", "0"), ("unsent", "a,b"), ("v", "x")),
        "GET /chat/{account_id}/stream": (("after", "0"), ("v", "x")),
        "GET /media": (("m", "x"),),
        "GET /webhooks/{platform}/{app_id}": (
            ("hub.mode", "subscribe"), ("hub.verify_token", "x"), ("hub.challenge", "1")),
        "POST /chat/{account_id}/photos": (("client_message_id", "hostile-photo"),),
        "GET /t/v/{token}": (), "GET /t/c/{token}": (),
    }  # fmt: skip
    forms = {"POST /login": (("email", "a@example.com"), ("password", "x"), ("next", "/"))}
    for way in every_way():
        if way.door in (Door.MEMBER, Door.PROGRAM, Door.APP) or way.path == "/static":
            continue
        path = address_of(way, tenant)
        yield Attempt(way, path, queries.get(way.name, ()), forms.get(way.name), bodies.get(way.name))


def address_of(way: Way, tenant: Tenant) -> str:
    known = {
        "account_id": tenant.webchat_id, "page_id": tenant.ids["page_id"][0], "platform": "tiktok",
        "app_id": tenant.app_id, "business_id": tenant.business_id, "digest": "0" * 64,
        "message_id": tenant.ids["message_id"][0],
    }  # fmt: skip
    kind = {"/t/v/": "view", "/t/c/": "tap"}.get(way.path[:5], "form")
    known["token"] = tenant.links[kind].rpartition("/")[2]
    return way.path.format_map(known)


def declared(way: Way) -> list[str]:
    """The names of a route's query, also those that no page of ours uses."""
    names = [each.alias for each in way.dependant.query_params] if way.dependant else []
    operation = _operations().get(way.name, {})
    names += [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
    return [*dict.fromkeys([*names, *PAGED])] if not way.changes else names


PAGED = ("page", "page_size", "after", "before", "from", "to", "since", "until", "sort", "order", "days", "day", "q", "limit", "offset")


def hostile(attempt: Attempt) -> Iterator[Attempt]:
    """The same request with a hostile value in each of its places, one at a time."""
    known = {name for name, _ in attempt.query}
    more = [(name, "") for name in declared(attempt.way) if name not in known]
    query = (*attempt.query, *more)
    for number, (name, _) in enumerate(query):
        kept = query[: len(attempt.query)] if number < len(attempt.query) else (*attempt.query, query[number])
        place = number if number < len(attempt.query) else len(kept) - 1
        for text in TEXTS:
            yield replace(attempt, query=(*kept[:place], (name, text), *kept[place + 1 :]))
    for number, (name, _) in enumerate(attempt.form or ()):
        for text in TEXTS:
            form = attempt.form or ()
            yield replace(attempt, form=(*form[:number], (name, text), *form[number + 1 :]))
    parts, pattern = attempt.path.split("/"), attempt.way.path.split("/")
    for number, part in enumerate(pattern):
        if "{" in part:
            for text in TEXTS:
                if len(text) < 1_000 and text:
                    changed = [*parts[:number], quote(text, safe=""), *parts[number + 1 :]]
                    yield replace(attempt, path="/".join(changed))
    for keys, _ in _leaves(attempt.body):
        for leaf in LEAVES:
            yield replace(attempt, body=_changed(attempt.body, (), lambda at, old: leaf if at == keys else old))


def send(world: World, attempt: Attempt, tenant: Tenant) -> httpx2.Response:
    door = attempt.way.door
    by: dict[str, Any] = {}
    if door is Door.MEMBER:
        by["session"] = tenant.owner
    elif door in (Door.PROGRAM, Door.APP):
        by["token"] = tenant.token
    else:
        by["visitor"] = tenant.visitor
    if attempt.body is None or attempt.form is not None or attempt.raw is not None:
        return attempt.send(world, **by)
    content = json.dumps(attempt.body).encode()
    headers = {"Content-Type": "application/json"}
    query = {"params": list(attempt.query)} if attempt.query else {}
    return world.ask(attempt.way.method, attempt.path, content=content, headers=headers, **query, **by)


def attempts_of(world: World, way: Way) -> list[Attempt]:
    if way.door in (Door.MEMBER, Door.PROGRAM, Door.APP):
        return [each for each in own_attempts(world, world.attacker) if each.way == way]
    return [each for each in public_attempts(world.attacker) if each.way == way]


WAYS = [way for way in every_way() if way.path != "/static" and way.name != ENDS_SESSION]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_no_value_in_any_place_breaks_it(world: World, way: Way) -> None:
    count = 0
    broken = {}
    for attempt in attempts_of(world, way):
        for changed in hostile(attempt):
            if way.name in ENDLESS:
                continue
            count += 1
            answer = send(world, changed, world.attacker)
            if answer.status_code >= 500 or ('"code":50000' in answer.text[:200]):
                broken[str((changed.path, changed.query, changed.form, changed.body))[:300]] = answer.status_code
    print("COUNT", count, way.name, len(broken))
    assert not broken
