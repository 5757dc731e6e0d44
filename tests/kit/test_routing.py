"""A request is compared with few routes, and comes to the same one as if it were compared with all."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.routing import Match, Mount, Route
from starlette.testclient import TestClient

from contatto.app import HOT_ROUTES, ROUTERS, create_app
from contatto.kit.routing import ByGroup, group_of, grouped
from tests.journeys.running import open_house


def _all_routes(routers: Any) -> Iterator[Any]:
    for router in routers:
        for route in router.routes:
            inner = getattr(route, "original_router", None)
            yield from [route] if inner is None else _all_routes([inner])


ROUTES = tuple(_all_routes(ROUTERS))
GROUPED: tuple[Any, ...] = tuple(grouped(ROUTERS))


def _addresses() -> list[str]:
    """Of each route: with a word in place of parameters, with more and less after it, and odd ones."""
    routes = (*HOT_ROUTES, *ROUTES)
    plain = [route.path_format.replace("{", "").replace("}", "") for route in routes]
    literal = [route.path_format.format(**dict.fromkeys(route.param_convertors, "new")) for route in routes]
    longer = [f"{path.rstrip('/')}/more" for path in plain]
    shorter = [path.rstrip("/").rpartition("/")[0] for path in plain]
    turned = [path.rstrip("/") if path.endswith("/") else f"{path}/" for path in plain]
    odd = ["", "/", "//", "*", "//leads", "/Leads", "/leads%2Fnew", "/open_api", "/settings//crm"]
    odd += ["/docs", "/docs/", "/static", "/static/ui", "/static/ui/ui.css", "/static/nobody/ui.css"]
    return sorted({*plain, *literal, *longer, *shorter, *turned, *odd})


def _that_match(routes: Iterable[Any], address: str) -> list[tuple[Any, Any]]:
    """The routes that match, in their order, by any method, and the parameters that each finds."""
    scope = {"type": "http", "path": address, "method": "GET", "headers": []}
    matches = [(route, *route.matches(dict(scope))) for route in routes]
    return [(route, told["path_params"]) for route, match, told in matches if match is not Match.NONE]


def _that_match_in_groups(address: str) -> list[tuple[Any, Any]]:
    scope = {"type": "http", "path": address, "method": "GET", "headers": []}
    groups = [group for group in GROUPED if group.matches(dict(scope))[0] is not Match.NONE]
    return [found for group in groups for found in _that_match(group.original_router.routes, address)]


def test_every_address_comes_to_the_routes_that_a_walk_through_all_finds() -> None:
    addresses = _addresses()
    wanted = {address: _that_match(ROUTES, address) for address in addresses}
    assert {address: _that_match_in_groups(address) for address in addresses} == wanted
    assert sum(map(bool, wanted.values())) > len({route.path for route in ROUTES})


def _walked(router: Any, address: str, method: str) -> list[tuple[Any, Match]]:
    """The routes of an app that match, in their order."""
    scope = {"type": "http", "path": address, "method": method, "headers": []}
    found = [(route, route.matches(dict(scope))[0]) for route in router.routes]
    return [(route, match) for route, match in found if match is not Match.NONE]


def test_a_walk_through_the_routes_of_a_group_finds_what_one_through_the_whole_app_does(
    tmp_path: Path,
) -> None:
    context, _ = open_house(tmp_path)
    router = create_app(context).router
    context.db.close()
    few = ByGroup(router)
    longest = 0
    for address in _addresses():
        some = few.few_for(address)
        assert _walked(some, address, "GET") == _walked(router, address, "GET"), address
        longest = max(longest, len(some.routes))
    assert longest < len(router.routes) / 4


def test_what_may_be_of_several_groups_is_looked_at_for_each_of_them() -> None:
    async def say(request: Any) -> None: ...

    below, anything = Mount("/settings", routes=[Route("/crm", say)]), Route("/{anything:path}", say)
    router = APIRouter(routes=[Route("/leads", say), below, Route("/settings/crm", say), anything])
    few = ByGroup(router)
    for address in ("/settings/crm", "/settings", "/settings/crm/x", "/leads", "/nothing", "/"):
        assert _walked(few.few_for(address), address, "GET") == _walked(router, address, "GET")


def test_wrong_methods_slashes_and_names_are_answered_as_by_the_whole_app() -> None:
    inner = APIRouter()
    for path in ("/leads", "/leads/{lead_id}"):
        inner.add_api_route(path, lambda: "leads", name=path)
    answers = []
    for is_narrowed in (False, True):
        app = FastAPI(redirect_slashes=False)
        app.router.routes.extend(grouped([inner]))
        if is_narrowed:
            app.router.middleware_stack = ByGroup(app.router)
        client = TestClient(app)
        asked = ["GET /leads", "POST /leads", "GET /leads/7", "GET /leads/", "GET /x"]
        told = [client.request(*each.split()) for each in asked]
        named = app.url_path_for("/leads/{lead_id}", lead_id="7")
        answers.append(([(answer.status_code, answer.text) for answer in told], named))
    assert answers[0] == answers[1]
    assert [status for status, _ in answers[1][0]] == [200, 405, 200, 404, 404]


def test_a_group_is_told_by_the_first_segments() -> None:
    assert group_of("/leads/{lead_id}/notes") == group_of("/leads") == group_of("/leads/") == "leads"
    assert group_of("/settings/crm/mapping") == group_of("/settings/crm") == "settings/crm"
    assert group_of("/open_api/v1.3/ad/get/") == "open_api/v1.3/ad"
    assert group_of("/") == ""


@pytest.mark.parametrize("path", ["/{anything}", "/settings/{part}", "/open_api/v1.3/{family}/get/"])
def test_a_pattern_that_is_of_no_group_is_refused_at_the_start(path: str) -> None:
    router = APIRouter()
    router.add_api_route(path, lambda: None)
    with pytest.raises(ValueError, match="parameter"):
        grouped([router])
