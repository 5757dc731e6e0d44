"""Who has no session, no token and no secret is asked to sign in, whatever they hold instead."""

from collections.abc import Iterator
from typing import Any

import pytest

from contatto.accounts.model import Credential
from contatto.kit.errors import NO_SCOPE
from tests.journeys.running import API
from tests.security.attempts import Attempt
from tests.security.holdings import all_ids, changed_tables, rows_of, told_of
from tests.security.routes import Way, every_way, private_ways, ways
from tests.security.samples import attempts_of
from tests.security.world import ALL_SCOPES, World

NOT_LET_IN = {40104, 40105, 40001, 40100}
"""Sign in; a bad token; a wrong secret; too many of them from one address."""
PUBLIC = {
    "GET /docs", "GET /language", "GET /metrics", "GET /login", "GET /openapi.json", "POST /login",
    "GET /static/ad_platforms", "GET /static/ads", "GET /static/alerts", "GET /static/crm",
    "GET /static/delivery", "GET /static/forms", "GET /static/inbox",
    "GET /static/leads", "GET /static/operators", "GET /static/reports",
    "GET /static/guide", "GET /static/home", "GET /static/people", "GET /static/ui",
    "GET /password/forgotten", "POST /password/forgotten",
    "GET /chat/{account_id}", "GET /chat/{account_id}/embed", "POST /open_api/v1.3/oauth2/access_token/",
}  # fmt: skip
"""What anybody may open: a new route that is to be one of them is named here, on purpose."""


def strangers(world: World, number: int) -> Iterator[dict[str, str]]:
    """What somebody may hold who has no session: nothing, and by turns something else that opens nothing."""
    of = world.attacker
    sessions = ("session_made_up", of.token, "a" * 5_000, of.visitor, of.app_secret, f"{of.owner}x")
    tokens = ("contatto_made_up", of.owner, of.visitor, of.app_secret, f"{of.token}x")
    yield {}
    yield {"session": sessions[number % len(sessions)], "forgery": world.csrf(of.owner)}
    yield {"token": tokens[number % len(tokens)]}
    yield {"visitor": of.visitor}


def without_secret(attempt: Attempt) -> Attempt:
    """The same with another secret of an app, and without any token."""
    query = tuple((name, "guessed" if name == "secret" else value) for name, value in attempt.query)
    body = attempt.body
    if isinstance(body, dict) and "secret" in body:
        body = body | {"secret": "guessed"}
    if isinstance(body, dict) and "subscription_detail" in body:
        body = body | {"subscription_detail": body["subscription_detail"] | {"access_token": "guessed"}}
    return Attempt(attempt.way, attempt.path, query, attempt.form, body, attempt.file, attempt.raw)


@pytest.mark.parametrize("way", private_ways(), ids=str)
def test_a_stranger_is_asked_to_sign_in_and_changes_nothing(world: World, way: Way) -> None:
    ids = all_ids(world.attacker)
    attempt = without_secret(attempts_of(world, world.attacker, way)[0])
    before = rows_of(world, world.attacker)
    for held in strangers(world, private_ways().index(way)):
        answer = attempt.send(world, **held)
        assert not told_of(world.attacker, ids, answer.text, repr(attempt)), held
        if way.path.startswith(API):
            assert answer.json()["code"] in NOT_LET_IN, held
        elif answer.status_code == 303:
            assert answer.headers["location"].startswith("/login?next=/")
        else:
            assert answer.status_code == 401, (held, answer.text[:300])
    assert changed_tables(before, rows_of(world, world.attacker)) == set()


UNREADABLE = (
    (b"", "application/json"),
    (b"not json", "application/json"),
    (b'{"advertiser_id": [[]]}', "application/json"),
    (b"no part", "multipart/form-data; boundary=x"),
    (b"no part", "multipart/form-data"),
)


@pytest.mark.parametrize("way", [way for way in ways(Credential.PROGRAM) if way.permission], ids=str)
def test_a_program_is_authorised_before_its_body_is_read(world: World, way: Way) -> None:
    without_scope = next(
        token
        for scope, token in world.attacker.tokens.items()
        if scope not in (ALL_SCOPES, str(way.permission))
    )
    for content, content_type in UNREADABLE:
        for token in ("", "contatto_made_up", without_scope):
            headers = {"Content-Type": content_type}
            sent: dict[str, Any] = {"content": content, "headers": headers} if way.changes else {}
            answer = world.ask(way.method, way.path, token=token, params={"page": "x"}, **sent)
            if way.path.startswith(API):
                expected = {NO_SCOPE.api_code} if token == without_scope else NOT_LET_IN
                assert answer.json()["code"] in expected, (content, answer.text)
            else:
                assert answer.status_code == (403 if token == without_scope else 401), (content, answer.text)


def test_nothing_is_public_but_what_is_named() -> None:
    assert {way.name for way in every_way() if way.credential is Credential.ANYBODY} == PUBLIC
