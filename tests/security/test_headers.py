"""What every answer says in its headers: nothing of it is stored, redirects stay here, https stays https."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from contatto.app import PUBLIC_PATHS, create_app
from tests.journeys.running import House, message, open_house, running_house
from tests.security.routes import every_way

EVIL = "evil.example"
SPOOFED = {"Host": EVIL, "X-Forwarded-Host": EVIL, "X-Forwarded-Proto": "https", "Forwarded": f"host={EVIL}"}
ID = "0190a5a1-7c2e-7aaa-8000-00000000000f"
UNLISTED = ("/docs", "/openapi.json", "/static/css/base.css", "/nowhere", "/nowhere/")
STREAMS = {"/live", "/chat/{account_id}/stream"}
"""They stay open; their first answer has the headers of all others."""
STAYS = re.compile(r"/(?![/\\])")
type AppOf = Callable[[str], FastAPI]
ASKED = [
    *((way.method, way.path) for way in every_way() if way.path not in STREAMS),
    *(("GET", path) for path in UNLISTED),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        running.sign_in()
        running.webhook("im_receive_msg", message("+65 8123 4567", "mei", 1_790_000_000_000))
        yield running


def address(house: House, path: str) -> str:
    known = {"account_id": house.webchat_id, "business_id": house.business_id}
    return re.sub(r"{(\w+)}", lambda found: known.get(found.group(1), ID), path)


def ask(house: House, method: str, path: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    sent = {"Access-Token": house.token} | (headers or {})
    return house.client.request(method, path, headers=sent, follow_redirects=False)


def test_no_answer_is_stored_but_what_is_declared_public(house: House) -> None:
    wrong = []
    for method, path in ASKED:
        answer = ask(house, method, address(house, path))
        kept = answer.headers.get("cache-control", "")
        is_public = path.startswith(PUBLIC_PATHS) and answer.status_code == 200
        if not (kept.startswith(("public", "no-cache")) if is_public else kept == "no-store"):
            wrong.append((method, path, answer.status_code, kept))
    assert not wrong


def test_no_answer_is_built_from_the_host_that_a_request_names(house: House) -> None:
    wrong = []
    for method, path in ASKED:
        right = address(house, path)
        for wanted in (right, right.rstrip("/") if right.endswith("/") else f"{right}/"):
            answer = ask(house, method, f"{wanted or '/'}?next=/leads", SPOOFED)
            location = answer.headers.get("location", "/")
            if EVIL in str(answer.headers) or EVIL in answer.text or not STAYS.match(location):
                wrong.append((method, wanted, answer.status_code, location))
    assert not wrong


@pytest.mark.parametrize("path", ["/leads/", "/inbox/", "/open_api/v1.3/lead/get"])
def test_an_address_with_a_slash_too_many_or_too_few_leads_to_the_right_one(house: House, path: str) -> None:
    answer = ask(house, "GET", f"{path}?tab=all&q=a%20b")
    right = path.removesuffix("/") if path.endswith("/") else f"{path}/"
    assert (answer.status_code, answer.headers["location"]) == (307, f"{right}?tab=all&q=a%20b")


@pytest.mark.parametrize(
    "path",
    ["//evil.example/", "//evil.example/leads/", "/\\evil.example/", "//", "/%2F/evil.example/", "//leads/"],
)
def test_no_slash_leads_to_another_host(house: House, path: str) -> None:
    assert STAYS.match(ask(house, "GET", path).headers.get("location", "/"))


def test_photos_and_files_of_people_are_not_stored_by_browsers(house: House) -> None:
    """They are private, so what a browser keeps of them would outlive the session."""
    for path in ("/leads.csv", "/leads.xlsx", "/inbox/search?q=mei", f"/chat/{house.webchat_id}/messages"):
        answer = ask(house, "GET", path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


@pytest.fixture
def app_of(tmp_path: Path) -> Iterator[AppOf]:
    with ExitStack() as stack:

        def make(url: str) -> FastAPI:
            context, _ = open_house(tmp_path / str(len(url)), url=url)
            stack.callback(context.db.close)
            return create_app(context)

        yield make


HSTS = "strict-transport-security"


def test_who_came_by_https_is_told_to_stay_with_it(app_of: AppOf) -> None:
    app = app_of("http://127.0.0.1:8000")
    client = TestClient(app, base_url="https://127.0.0.1:8000")
    for path in ("/login", "/nowhere", "/static/css/base.css", "/open_api/v1.3/lead/get/"):
        assert client.get(path).headers[HSTS] == "max-age=31536000"
    assert HSTS not in TestClient(app, base_url="http://127.0.0.1:8000").get("/login").headers


def test_behind_a_trusted_proxy_https_counts_and_behind_another_it_does_not(app_of: AppOf) -> None:
    app = app_of("http://127.0.0.1:8000")
    by_https = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    for trusted, told in (("10.0.0.1", True), ("10.0.0.2", False)):
        behind = ProxyHeadersMiddleware(app, trusted_hosts=trusted)
        client = TestClient(behind, base_url="http://127.0.0.1:8000", client=("10.0.0.1", 5000))
        assert (HSTS in client.get("/login", headers=by_https).headers) is told


def test_a_public_address_of_https_counts_even_if_the_proxy_says_nothing(app_of: AppOf) -> None:
    client = TestClient(app_of("https://leads.example.com"), base_url="http://127.0.0.1:8000")
    assert client.get("/login").headers[HSTS] == "max-age=31536000"
