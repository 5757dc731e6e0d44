"""A client of an app in this process that waits once for each answer, and not once for each step of it.

Starlette's own goes to the loop's thread and back nine times for a request, so that an answer can be read
while it is written: that took longer than most answers do. Tests read streams from real servers.
"""

import asyncio
from typing import Any
from urllib.parse import unquote

import httpx2
from starlette.testclient import TestClient

type Scope = dict[str, Any]
type Answer = tuple[int, list[tuple[str, str]], bytes]


class AppClient(TestClient):
    """To be opened with ``with``, as its base class."""

    __test__ = False

    def __enter__(self) -> "AppClient":
        super().__enter__()
        assert self.portal is not None
        loop = self.portal.call(asyncio.get_running_loop)
        self._transport = _Straight(self.app, self.app_state, loop)
        return self


def client_beside(client: httpx2.Client, address: str = "testclient") -> httpx2.Client:
    """Another browser at the app of an opened client, without its cookies; it follows no redirect."""
    assert isinstance(client, AppClient)
    transport = client._transport
    assert isinstance(transport, _Straight)
    named = {"User-Agent": client.headers["User-Agent"]}
    return httpx2.Client(transport=transport.at(address), base_url=client.base_url, headers=named)


class _Straight(httpx2.BaseTransport):
    def __init__(
        self, app: Any, state: dict[str, Any], loop: asyncio.AbstractEventLoop, address: str = "testclient"
    ) -> None:
        self._app = app
        self._state = state
        self._loop = loop
        self._address = address

    def at(self, address: str) -> "_Straight":
        """The same app, asked from another address."""
        return _Straight(self._app, self._state, self._loop, address)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answering = answer_of(self._app, self._scope(request), request.read())
        status, headers, body = asyncio.run_coroutine_threadsafe(answering, self._loop).result()
        stream = httpx2.ByteStream(b"" if request.method == "HEAD" else body)
        return httpx2.Response(status, headers=headers, stream=stream, request=request)

    def _scope(self, request: httpx2.Request) -> Scope:
        url = request.url
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "path": unquote(url.path),
            "raw_path": url.raw_path.split(b"?", 1)[0],
            "root_path": "",
            "scheme": url.scheme,
            "query_string": url.query,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": (self._address, 50000),
            "server": [url.host, url.port or {"http": 80, "https": 443}[url.scheme]],
            "extensions": {},
            "state": self._state.copy(),
        }


async def answer_of(app: Any, scope: Scope, sent: bytes) -> Answer:
    """Status, headers and body of what an app answers to a whole request.

    Raises:
        Exception: whatever the app raises.
    """
    coming = [{"type": "http.request", "body": sent, "more_body": False}]
    started: dict[str, Any] = {}
    parts: list[bytes] = []
    is_whole = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if coming:
            return coming.pop()
        await is_whole.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        else:
            parts.append(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                is_whole.set()

    await app(scope, receive, send)
    headers = [(name.decode(), value.decode()) for name, value in started.get("headers", ())]
    return started["status"], headers, b"".join(parts)
