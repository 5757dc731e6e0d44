"""Who lacks what a route asks for is told so and changes nothing; and every route says what it asks for."""

import httpx2
import pytest

from contatto.accounts.model import Credential, Permission, Role
from contatto.accounts.rules import ROLE_PERMISSIONS
from contatto.app import ACCESS
from tests.security.attempts import Attempt
from tests.security.holdings import changed_tables, rows_of
from tests.security.routes import Way, every_way, ways
from tests.security.samples import attempts_of
from tests.security.test_senseless import some
from tests.security.world import World

NO_SCOPE = 40130
LEFT_OUT = {"POST /logout", "GET /live"}
"""The one ends the session that the next attempt needs, the other never ends."""


def test_every_route_says_who_may_use_it() -> None:
    undeclared = [way.name for way in every_way() if way.access is None]
    assert not undeclared, "declare these; until then they let nobody in"


def test_the_app_has_every_declared_route() -> None:
    assert set(ACCESS) <= {way.name for way in every_way()}


def test_every_private_route_asks_for_a_permission_or_is_known_to_need_none() -> None:
    free = {
        way.name
        for way in ways(Credential.MEMBER, Credential.PROGRAM, Credential.APP)
        if way.permission is None
    }
    assert free == {
        "GET /", "GET /live", "GET /login/tries", "GET /nav", "GET /settings", "GET /settings/capture",
        "GET /help", "GET /help/{folder}/{page}", "GET /start",
        "GET /typed/number", "POST /logout", "GET /settings/ad-accounts", "GET /settings/members",
        "GET /settings/profile",
        "GET /alerts/choices", "GET /settings/alerts", "POST /settings/alerts",
        "POST /settings/alerts/browsers", "POST /settings/alerts/browsers/{browser_id}/remove",
        "POST /settings/profile", "POST /settings/profile/password", "POST /settings/profile/sessions/end",
        "POST /settings/profile/sessions/{session_id}/end", "POST /switch",
        "GET /open_api/v1.3/oauth2/advertiser/get/",
    }  # fmt: skip


@pytest.mark.parametrize("way", ways(Credential.MEMBER), ids=str)
def test_a_role_without_the_permission_changes_nothing(world: World, way: Way) -> None:
    lacking = [role for role in Role if way.permission and way.permission not in ROLE_PERMISSIONS[role]]
    attempt = attempts_of(world, world.attacker, way)[0]
    before = rows_of(world, world.attacker)
    for role in lacking:
        answer = attempt.send(world, session=world.attacker.sessions[role])
        assert answer.status_code == 403, (role, attempt)
    assert changed_tables(before, rows_of(world, world.attacker)) == set()


def code_of(answer: httpx2.Response) -> int:
    """The code of the API, or the status of the one door that is none of it."""
    if answer.status_code in (401, 403):
        return NO_SCOPE
    found = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    return int(found.get("code", 0))


OF_PROGRAMS = ways(Credential.PROGRAM, Credential.APP)


def refuse(world: World, way: Way, scopes: list[Permission]) -> None:
    """Ask with a token of each scope, which none of them opens."""
    [attempt] = attempts_of(world, world.attacker, way)
    before = rows_of(world, world.attacker)
    for scope in scopes:
        assert code_of(attempt.send(world, token=world.attacker.tokens[scope])) == NO_SCOPE, (scope, attempt)
    assert changed_tables(before, rows_of(world, world.attacker)) == set()


@pytest.mark.parametrize("way", [way for way in OF_PROGRAMS if way.permission], ids=str)
def test_a_token_opens_what_its_scope_names_and_nothing_else(world: World, way: Way) -> None:
    assert way.permission
    others = [scope for scope in Permission if scope is not way.permission]
    refuse(world, way, some(tuple(others), OF_PROGRAMS.index(way), 2))
    [attempt] = attempts_of(world, world.attacker, way)
    assert code_of(attempt.send(world, token=world.attacker.tokens[way.permission])) != NO_SCOPE, attempt


@pytest.mark.parametrize("way", [way for way in OF_PROGRAMS if way.permission], ids=str)
def test_no_other_scope_opens_a_route(world: World, way: Way) -> None:
    refuse(world, way, [scope for scope in Permission if scope is not way.permission])


@pytest.mark.parametrize("credential", [Credential.PROGRAM, Credential.APP])
def test_a_session_is_no_token_and_a_token_is_no_session(world: World, credential: Credential) -> None:
    def refused(attempt: Attempt, **by: str) -> bool:
        return code_of(attempt.send(world, **by)) != 0

    for way in ways(credential):
        [attempt] = attempts_of(world, world.attacker, way)
        if credential is Credential.PROGRAM:
            assert refused(attempt, session=world.attacker.owner), way
        assert refused(attempt, token=world.attacker.owner), way
    for way in ways(Credential.MEMBER):
        attempt = attempts_of(world, world.attacker, way)[0]
        for by in ({"token": world.attacker.token}, {"session": world.attacker.token, "forgery": ""}):
            assert attempt.send(world, **by).status_code in (303, 401), way


@pytest.mark.parametrize("way", [way for way in ways(Credential.MEMBER) if way.name not in LEFT_OUT], ids=str)
def test_the_least_role_with_the_permission_is_let_in(world: World, way: Way) -> None:
    """Else the table would ask for less than the route, and prove nothing."""
    attempt = attempts_of(world, world.attacker, way)[0]
    let_in = [role for role in Role if way.permission is None or way.permission in ROLE_PERMISSIONS[role]]
    least = min(let_in, key=lambda role: len(ROLE_PERMISSIONS[role]))
    answer = attempt.send(world, session=world.attacker.sessions[least])
    assert answer.status_code != 403 or way.name in ASKS_FOR_MORE, (least, attempt)


ASKS_FOR_MORE = {
    "GET /ads",  # figures are reports too
    "POST /leads/bulk",  # a download
    "POST /inbox/{conversation_id}/block",  # as spam
    "POST /leads/views/{view_id}",  # of another member
}
"""What is sent decides whether one permission is enough."""
