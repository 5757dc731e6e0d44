"""Sessions, CSRF tokens, the visitor's cookie, capped bodies and security headers, over a small app."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from contatto.kit import errors
from contatto.kit.api_types import api_refusal, read_body, refusal_answer
from contatto.kit.errors import Refused
from contatto.kit.log import set_up_logs
from contatto.kit.vault import Vault
from contatto.ui.render import (
    CSRF_FIELD,
    CSRF_HEADER,
    GUEST_COOKIE,
    SESSION_COOKIE,
    Carrier,
    CookieRules,
    check_csrf,
    cookie_name,
    csrf_token,
    keep_guest,
    new_visitor,
    open_visitor,
    public_id,
    read_visitor,
    set_session,
    set_visitor,
    sign_visitor,
)
from contatto.ui.requests import BODY_LIMIT, HEADERS, SecurityLayer

VAULT = Vault({"k": bytes(32)})
SIGNER, OTHER_SIGNER = VAULT.signer("test"), Vault({"k": bytes(range(32))}).signer("test")
KEY = VAULT.derivation_key("test")
PLAIN, SECURE = CookieRules(secure=False, days=14), CookieRules(secure=True, days=14)


def request_with(headers: dict[str, str] | None = None, body: bytes = b"") -> Request:
    sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": sent, "state": {}}, receive)


async def show_form(request: Request) -> Response:
    response = PlainTextResponse(csrf_token(request, SIGNER))
    keep_guest(request, response, PLAIN)
    return response


async def take_form(request: Request) -> Response:
    await check_csrf(request, SIGNER)
    return PlainTextResponse("done")


async def log_in(_request: Request) -> Response:
    response = PlainTextResponse("in")
    set_session(response, "session_abc", PLAIN)
    return response


async def log_out(_request: Request) -> Response:
    response = PlainTextResponse("out")
    response.delete_cookie(SESSION_COOKIE)
    return response


async def size_of(request: Request) -> Response:
    return PlainTextResponse(str(len(await read_body(request, 100))))


async def drink_all(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal_answer(error, request.state.request_id)


APP = SecurityLayer(
    Starlette(
        routes=[
            Route("/form", show_form),
            Route("/form", take_form, methods=["POST"]),
            Route("/log-in", log_in, methods=["POST"]),
            Route("/log-out", log_out, methods=["POST"]),
            Route("/size", size_of, methods=["POST"]),
            Route("/all", drink_all, methods=["POST"]),
        ],
        exception_handlers={Refused: refused},
    ),
    broken=refused,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(anyio_backend: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(APP), base_url="http://test") as client:
        yield client


pytestmark = pytest.mark.anyio


async def test_a_form_of_ours_is_taken_before_and_after_signing_in(client: httpx2.AsyncClient) -> None:
    for _ in range(2):
        token = (await client.get("/form")).text
        assert (await client.post("/form", data={CSRF_FIELD: token})).text == "done"
        assert (await client.post("/form", headers={CSRF_HEADER: token})).text == "done"
        await client.post("/log-in")
    assert GUEST_COOKIE not in client.cookies


async def test_the_token_of_a_guest_is_worth_nothing_after_signing_in(client: httpx2.AsyncClient) -> None:
    token = (await client.get("/form")).text
    await client.post("/log-in")
    assert (await client.post("/form", data={CSRF_FIELD: token})).status_code == 403


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"data": {CSRF_FIELD: ""}},
        {"data": {CSRF_FIELD: "0" * 64}},
        {"data": {CSRF_FIELD: "é"}},
        {"headers": {CSRF_HEADER: "0" * 64}},
        {"files": {CSRF_FIELD: b"a file"}},
        {"content": b"\xff\xfe", "headers": {"content-type": "application/x-www-form-urlencoded"}},
        {"content": b"broken", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"json": {CSRF_FIELD: "0"}},
    ],
)
async def test_a_form_without_its_token_is_refused(client: httpx2.AsyncClient, sent: dict[str, Any]) -> None:
    await client.get("/form")
    assert (await client.post("/form", **sent)).status_code in (400, 403)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
async def test_a_request_from_another_site_is_refused_even_with_the_token(
    client: httpx2.AsyncClient, site: str
) -> None:
    token = (await client.get("/form")).text
    answer = await client.post("/form", data={CSRF_FIELD: token}, headers={"sec-fetch-site": site})
    assert answer.status_code == 403
    assert answer.json()["code"] == "forged"


async def test_the_token_of_another_browser_is_refused(client: httpx2.AsyncClient) -> None:
    await client.get("/form")
    stolen = csrf_token(request_with({"cookie": f"{SESSION_COOKIE}=other"}), SIGNER)
    assert (await client.post("/form", data={CSRF_FIELD: stolen})).status_code == 403


async def test_cookies_are_out_of_reach_for_scripts_and_other_sites(client: httpx2.AsyncClient) -> None:
    set_cookie = (await client.post("/log-in")).headers.get_list("set-cookie")[0]
    for word in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=1209600"):
        assert word in set_cookie
    assert "Secure" not in set_cookie
    await client.post("/log-out")
    assert SESSION_COOKIE not in client.cookies


def test_behind_https_every_cookie_is_secure() -> None:
    for setter in (
        lambda response: set_session(response, "t", SECURE),
        lambda response: set_visitor(response, "v", "chat-1", SIGNER, SECURE),
    ):
        response = Response()
        setter(response)
        assert "Secure" in response.headers.getlist("set-cookie")[0]


def cookie_of(place: str, value: str) -> Request:
    return request_with({"cookie": f"{cookie_name(place)}={value}"})


def test_a_visitor_is_known_again_at_their_place_and_nowhere_else() -> None:
    secret = new_visitor()
    response = Response()
    set_visitor(response, secret, "chat-1", SIGNER, PLAIN)
    cookie = response.headers["set-cookie"].partition(";")[0]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(response.headers["set-cookie"].split("; "))
    assert read_visitor(request_with({"cookie": cookie}), "chat-1", SIGNER) == secret
    assert read_visitor(request_with({"cookie": cookie}), "chat-1", OTHER_SIGNER) is None
    assert read_visitor(request_with({"cookie": cookie}), "chat-2", SIGNER) is None
    assert read_visitor(cookie_of("chat-2", cookie.partition("=")[2]), "chat-2", SIGNER) is None


def test_what_a_frame_carries_is_no_cookie_and_a_cookie_is_nothing_for_a_frame() -> None:
    secret = new_visitor()
    framed = sign_visitor(secret, "chat-1", Carrier.FRAME, SIGNER)
    assert open_visitor(framed, "chat-1", Carrier.FRAME, SIGNER) == secret
    assert open_visitor(framed, "chat-1", Carrier.COOKIE, SIGNER) is None
    assert open_visitor(framed, "chat-2", Carrier.FRAME, SIGNER) is None
    cookie = sign_visitor(secret, "chat-1", Carrier.COOKIE, SIGNER)
    assert open_visitor(cookie, "chat-1", Carrier.FRAME, SIGNER) is None


def test_the_public_id_of_a_visitor_opens_nothing_and_is_another_one_at_each_place() -> None:
    secrets = {new_visitor() for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(secret) == 22 for secret in secrets)  # 128 bits
    for secret in secrets:
        shown = public_id(secret, "chat-1", KEY)
        assert shown == public_id(secret, "chat-1", KEY) != public_id(secret, "chat-2", KEY)
        assert secret not in shown
        for carrier in Carrier:
            assert open_visitor(shown, "chat-1", carrier, SIGNER) is None
            signature = sign_visitor(secret, "chat-1", carrier, SIGNER).partition(".")[2]
            assert open_visitor(f"{shown}.{signature}", "chat-1", carrier, SIGNER) is None


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_a_forged_visitor_is_nobody(value: str) -> None:
    assert read_visitor(cookie_of("chat-1", value), "chat-1", SIGNER) is None


@given(st.text(max_size=60))
def test_a_forged_token_is_nobody(value: str) -> None:
    assert open_visitor(value, "chat-1", Carrier.FRAME, SIGNER) is None


def test_a_visitor_without_a_cookie_is_nobody() -> None:
    assert read_visitor(request_with(), "chat-1", SIGNER) is None


async def test_every_answer_carries_the_headers_and_a_request_id(client: httpx2.AsyncClient) -> None:
    for path, status in (("/form", 200), ("/nothing-here", 404)):
        answer = await client.get(path)
        assert answer.status_code == status
        assert HEADERS.items() <= {name.title(): value for name, value in answer.headers.items()}.items()
        assert len(answer.headers["x-request-id"]) == 36
    csp = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in csp
    assert "unsafe" not in csp


async def test_request_ids_of_refusals_are_in_the_body_too(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/form")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_body_over_the_doors_own_limit_is_refused(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/size", content=b"x" * 100)).text == "100"
    answer = await client.post("/size", content=b"x" * 101)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1_000 + 1):
        yield b"x" * 1_000


async def test_a_body_without_a_length_is_read_no_further_than_the_limit(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/size", content=chunks(5_000))).status_code == 413
    answer = await client.post("/all", content=chunks(BODY_LIMIT))
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["²", "9" * 5_000, "-1", "x"])
async def test_a_body_counts_and_not_the_length_that_is_claimed(length: str) -> None:
    assert await read_body(request_with({"content-length": length}, b"body")) == b"body"
    with pytest.raises(Refused):
        await read_body(request_with({"content-length": "1"}, b"body"), 3)


def test_a_refusal_names_the_code_the_remedy_and_the_wait() -> None:
    answer = refusal_answer(Refused(errors.TOO_MANY, "Slow down.", 7), "r1")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert b'"code":"too_many"' in answer.body
    assert b'"remedy"' in answer.body


def test_the_api_answers_refusals_with_status_200_and_their_number() -> None:
    answer = api_refusal(Refused(errors.NOT_FOUND), "r1")
    assert answer.status_code == 200
    assert b'"code":40007' in answer.body
    assert b'"data":{}' in answer.body


def test_every_refusal_has_a_code_of_its_own_a_number_and_a_remedy() -> None:
    assert len({code.name for code in errors.ALL}) == len(errors.ALL) > 10
    assert all(code.says and code.remedy for code in errors.ALL)
    assert all(400 <= code.http_status < 600 and 40_000 <= code.api_code < 60_000 for code in errors.ALL)


async def test_a_path_with_a_token_is_not_logged(
    client: httpx2.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logs("debug", "json")
    await client.get("/t/secret-token")
    await client.get("/form?q=secret-token")
    shown = capsys.readouterr()
    assert "http.request" in shown.out + shown.err
    assert "secret-token" not in shown.out + shown.err
