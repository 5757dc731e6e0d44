"""A receiver of pushes as a client writes it: its own server, and its own check of each signature."""

import hashlib
import hmac
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """What to answer next, one status for each push; after the last one everything is 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def entries(self, path: str) -> list[dict[str, Any]]:
        return [entry for each in self.received if each.path == path for entry in each.content["entry"]]


def is_signed_lead(push: Received, secret: str) -> bool:
    """As the platform's documents say it: over the payload in which non-ASCII is written as escapes."""
    payload = push.body.decode()
    escaped = re.sub(r"[^\x00-\x7f]", lambda found: f"\\u{ord(found.group()):04x}", payload)
    wanted = hmac.new(secret.encode(), escaped.encode(), hashlib.sha256).hexdigest()
    return push.headers.get("x-open-signature") == wanted


def is_signed_message(push: Received, secret: str) -> bool:
    """As Chatwoot checks it: time and body, joined by a dot."""
    parts = dict(part.split("=", 1) for part in push.headers["tiktok-signature"].split(","))
    signed = f"{parts['t']}.".encode() + push.body
    return parts["s"] == hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.receiver.received.append(Received(self.path, headers, body))
        self.send_response(self.receiver.statuses.pop(0) if self.receiver.statuses else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"receiver": receiver}))
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
