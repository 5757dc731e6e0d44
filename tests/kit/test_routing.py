"""A request is compared with few routes, and comes to the same one as if it were compared with all."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from fastapi import APIRouter
from starlette.routing import Match

from contatto.app import ROUTERS
from contatto.ui.middleware import group_of, grouped


def _all_routes(routers: Any) -> Iterator[Any]:
    for router in routers:
        for route in router.routes:
            inner = getattr(route, "original_router", None)
            yield from [route] if inner is None else _all_routes([inner])


ROUTES = tuple(_all_routes(ROUTERS))
GROUPED: tuple[Any, ...] = tuple(grouped(ROUTERS))


def _addresses() -> list[str]:
    """Of each route: with a word in place of parameters, with more and less after it, and odd ones."""
    plain = [route.path_format.replace("{", "").replace("}", "") for route in ROUTES]
    literal = [route.path_format.format(**dict.fromkeys(route.param_convertors, "new")) for route in ROUTES]
    longer = [f"{path.rstrip('/')}/more" for path in plain]
    shorter = [path.rstrip("/").rpartition("/")[0] for path in plain]
    turned = [path.rstrip("/") if path.endswith("/") else f"{path}/" for path in plain]
    odd = ["", "/", "//", "*", "//leads", "/Leads", "/leads%2Fnew", "/open_api", "/settings//crm"]
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
