"""An error that nothing has caught is answered like any other refusal, with all headers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from contatto.app import create_app
from tests.journeys.running import open_house
from tests.quoting import quotes


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
