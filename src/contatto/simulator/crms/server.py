"""A CRM in memory behind real HTTP, with faults that it is told to have."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec

from contatto.simulator.crms.memory import MemoryCrm

SLOW_S: Final = 30.0
"""Longer than anybody waits for an answer."""
PATIENCE_S: Final = 20.0
"""How long an answer is waited for that is on its way, however busy the machine is."""
NO_PATIENCE_S: Final = 0.1
"""How long one is waited for that will not come: nothing is learned while one waits."""


class Fault(StrEnum):
    """What goes wrong with one request; ``LOST`` does what was asked and loses the answer."""

    EXPIRED = "expired"
    THROTTLED = "throttled"
    DOWN = "down"
    SLOW = "slow"
    RESET = "reset"
    LOST = "lost"
    HTML = "html"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a CRM sees it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body) if self.body else {}


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer; a body of None is an empty one."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Vendor(Protocol):
    """One CRM's way to speak about the records in memory."""

    @property
    def crm(self) -> MemoryCrm: ...

    def answer(self, asked: Asked) -> Answered: ...

    def expired(self) -> Answered:
        """What it says when an access token or session is over."""
        ...

    def throttled(self, after_s: int) -> Answered: ...


class CrmServer:
    """A vendor on a port of this machine; ``faults`` are those of the requests to come, one each."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.faults: deque[Fault | None] = deque()
        self.requests = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["CrmServer"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._server.shutdown()
            self._server.server_close()

    def take(self, asked: Asked) -> tuple[Fault | None, Answered]:
        """The answer to a request, and what is wrong with it."""
        with self._lock:
            self.requests += 1
            fault = self.faults.popleft() if self.faults else None
            plain: dict[Fault | None, Answered] = {
                Fault.EXPIRED: self.vendor.expired(),
                Fault.THROTTLED: self.vendor.throttled(1),
                Fault.DOWN: Answered(503),
                Fault.HTML: Answered(200, "<!doctype html><title>Sign in</title>"),
                Fault.RESET: Answered(0),
            }
            return fault, plain.get(fault) or self.vendor.answer(asked)

    def patience_s(self) -> float:
        """Return how long the next answer is worth waiting for."""
        return NO_PATIENCE_S if self.faults and self.faults[0] is Fault.SLOW else PATIENCE_S

    def wait_slowly(self) -> None:
        self._over.wait(SLOW_S)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer: a second one would wait 40 ms for the first

            def handle_any(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, parts.path, query, headers, self.rfile.read(size))
                fault, answered = server.take(asked)
                if fault is Fault.SLOW:
                    server.wait_slowly()
                if fault in (Fault.RESET, Fault.LOST, Fault.SLOW):
                    self.close_connection = True
                    return
                self._write(answered)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815 - the library's names

            def _write(self, answered: Answered) -> None:
                is_text = isinstance(answered.body, str)
                body = b""
                if answered.body is not None:
                    body = answered.body.encode() if is_text else msgspec.json.encode(answered.body)
                self.send_response(answered.status)
                self.send_header("content-type", "text/html" if is_text else "application/json")
                self.send_header("content-length", str(len(body)))
                for name, value in answered.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Requests hold what people wrote: they stand in no log."""

        return Handler


def stamp(at: Any, form: str = "%Y-%m-%dT%H:%M:%S.000Z") -> str:
    """A time as vendors write it."""
    return str(at.strftime(form))
