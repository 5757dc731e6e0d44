"""Routes by their first segments, and headers and limits of the outermost layer."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Match, Route
from starlette.testclient import TestClient

from contatto.app import ROUTES, create_app
from contatto.ui.requests import group_of, grouped
from tests.journeys.running import open_house
from tests.quoting import quotes

GROUPED: tuple[Any, ...] = tuple(grouped(ROUTES))


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
    with pytest.raises(ValueError, match="parameter"):
        grouped([Route(path, lambda: None)])


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    context, _ = open_house(tmp_path)
    app = create_app(context)

    async def break_down(request: object) -> None:
        raise RuntimeError("call +65 8123 4567")

    app.router.routes.insert(0, Route("/t/broken", break_down))
    app.router.routes.insert(0, Route("/open_api/v1.3/broken/", break_down))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client
    context.db.close()


@pytest.mark.parametrize(("path", "status"), [("/t/broken", 500), ("/open_api/v1.3/broken/", 200)])
def test_an_unforeseen_error_has_a_code_a_request_id_and_the_headers(
    client: TestClient, path: str, status: int
) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.json()["code"] in ("broken", 50000)
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not quotes(answer.text, "81234567")


def test_a_form_beyond_the_limit_is_called_too_large(client: TestClient) -> None:
    answer = client.post("/login", data={"email": "a" * 2_000_000})
    assert answer.status_code == 413


def test_a_direct_route_is_refused_with_the_same_headers_and_limits(client: TestClient) -> None:
    unsigned = client.post("/webhooks/tiktok/nobody", content=b"{}")
    large = client.post("/webhooks/tiktok/nobody", content=b"x" * 70_000)
    slash = client.post("/webhooks/tiktok/nobody/", content=b"{}", follow_redirects=False)
    assert (unsigned.status_code, large.status_code, slash.status_code) == (401, 413, 307)
    for answer in (unsigned, large):
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
