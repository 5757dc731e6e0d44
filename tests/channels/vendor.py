"""A platform's API on a real socket: it plays what platforms do to senders, and keeps what it was told."""

import asyncio
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from contatto.channels.model import Platform
from contatto.kit.db.database import Database
from contatto.kit.outbound.client import Client
from contatto.kit.settings import Settings
from contatto.wiring import install
from tests import background


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Vendor:
    """What to play next, one for each request; after the last one everything is taken."""

    url: str = ""
    plays: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    taken: list[Asked] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)
    """What is slow waits for it."""

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def take_due(self, db: Database, answer_s: float = 5.0) -> int:
        """Send here what is due at platforms, as the worker does, once; say how many requests that were."""
        settings = Settings(platform_urls=dict.fromkeys(Platform, self.url))

        async def go() -> int:
            client = Client([self.host], answer_s)
            try:
                return await background.send_all_due(db, install(settings), client)
            finally:
                await client.close()

        return asyncio.run(go())


class _Handler(BaseHTTPRequestHandler):
    vendor: Vendor

    def do_GET(self) -> None:
        """What an account is called."""
        self._play({})

    def do_POST(self) -> None:
        self._play(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _play(self, body: dict[str, Any]) -> None:
        asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        vendor = self.vendor
        vendor.asked.append(asked)
        play = vendor.plays.pop(0) if vendor.plays else "take"
        if play in ("take", "slow", "lose the answer"):
            vendor.taken.append(asked)
        if play == "slow":
            vendor.may_answer.wait(60)
        if play in ("reset", "lose the answer"):
            self.close_connection = True
            self.connection.close()
            return
        status, headers, answer = _answer(play, self.path, len(vendor.taken))
        data = _RAW.get(play) or json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):  # who asked did not wait
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""


_TIKTOK: dict[str, Any] = {
    "take": (
        200,
        {},
        {
            "code": 0,
            "message": "OK",
            "data": {
                "message": {"message_id": "sent-{n}"},
                "display_name": "Kopi & Cake",
                "username": "kopi.cake",
            },
        },
    ),
    "401": (200, {}, {"code": 40105, "message": "Access token is incorrect"}),
    "too fast": (200, {}, {"code": 40064, "message": "sending messages too fast"}),
}
_META: dict[str, Any] = {
    "take": (
        200,
        {},
        {
            "messages": [{"id": "sent-{n}"}],
            "message_id": "sent-{n}",
            "verified_name": "Kopi & Cake",
            "username": "kopi.cake",
        },
    ),
    "401": (401, {}, {"error": {"code": 190, "message": "Invalid OAuth access token"}}),
    "too fast": (400, {}, {"error": {"code": 130429}}),
}
_ANY = {
    "429": (429, {"Retry-After": "90"}, {"error": {"code": 4}}),
    "500": (500, {}, {"error": {"code": 2}}),
    "redirect": (302, {"Location": "http://127.0.0.1:1/"}, {}),
    "bomb": (200, {"Content-Encoding": "gzip"}, {}),
    "long": (200, {}, {}),
}
BOMB = gzip.compress(bytes(50_000_000))
"""50 MB in 49 kB."""
_RAW = {"bomb": BOMB, "long": bytes(3_000_000)}


def _answer(play: str, path: str, number: int) -> tuple[int, dict[str, str], dict[str, Any]]:
    known = _ANY | (_TIKTOK if path.startswith("/open_api/") else _META)
    status, headers, body = known["take" if play == "slow" else play]
    return status, headers, json.loads(json.dumps(body).replace("{n}", str(number)))


@contextmanager
def running_vendor() -> Iterator[Vendor]:
    vendor = Vendor()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"vendor": vendor}))
    server.daemon_threads = True
    vendor.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield vendor
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
