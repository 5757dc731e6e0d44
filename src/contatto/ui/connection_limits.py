"""Time and size limits of HTTP connections, against clients that send or read too slowly.

Clients that send nothing, or a byte now and then, would exhaust a server. So a head must arrive within
seconds, a body at a minimum pace, and the client must read the answer. If too many connections wait, the
server closes the oldest one of the network, or of all.

A reverse proxy does the same: in nginx `client_header_timeout`, `client_body_timeout`, `send_timeout`,
`large_client_header_buffers` and `limit_conn`. It also reads each request whole before it passes it on. So
these limits protect servers without a proxy, and rarely act behind one.

The classes override private parts of uvicorn. ``pyproject.toml`` therefore allows one minor version, and
``tests/security/test_half_open.py`` compares these parts with the tested ones. To move on, read the changes
of `httptools_impl.py` and `flow_control.py`, then renew the test.
"""

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from starlette.responses import Response
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from contatto.kit.rate_limits import network_of

READ_S: Final = 60.0
"""Seconds in which the client must read some bytes of an answer."""
MOST_WAITING: Final = 1_000
"""Greatest number of connections that wait for the rest of a request, or for a next one."""
MOST_WAITING_OF_ONE: Final = 250
"""The same limit for one network."""
_NETWORK_DIVISOR: Final = 4
"""One network may have the limit of all connections divided by this."""
_SWEEP_S: Final = 1.0
TOO_SLOW: Final = (408, "Request Timeout")
HEAD_S: Final = 10.0
"""Seconds for the head of a request, from its first byte, or from the connection for the first request."""
BODY_S: Final = 30.0
"""Seconds that a body may take besides those of its bytes at the least pace."""
BODY_PACE: Final = 8_192
"""Least bytes per second of a body; slow phones reach it."""
HEAD_LIMIT: Final = 32 * 1024
"""Bytes of the request line and headers."""
MOST_HEADERS: Final = 100
SLICE: Final = 2_048
"""Bytes per parse: about a hundred pipelined requests, since a request has at least 18 bytes."""
_BAD: Final = (400, "Bad Request")
_NO_ROOM: Final = (503, "Service Unavailable")
_TOO_LARGE: Final = (431, "Request Header Fields Too Large")


class _Stage(Enum):
    """State of a connection: reading a head or a body, idle, or answering a request."""

    HEAD = auto()
    BODY = auto()
    IDLE = auto()
    WORK = auto()


class _HeldFlow(FlowControl):
    """Flow control that does not resume reading while bytes wait for the parser."""

    is_held = False

    def resume_reading(self) -> None:
        if not self.is_held:
            super().resume_reading()


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits of time and size."""

    registry: "Connections"
    flow: _HeldFlow
    network = ""
    is_of_proxy = False
    _stage = _Stage.HEAD
    _since_s = 0.0
    """Start of the stage, or of the connection."""
    _has_new_stage = False
    _head_bytes = 0
    _header_bytes = 0
    _body_bytes = 0
    _fault = _BAD
    _unparsed = b""
    """Bytes after a pipelined request that waits; reading is paused meanwhile."""

    def is_late(self, now_s: float) -> bool:
        """Report whether the awaited bytes are overdue."""
        if self._unparsed:  # the client waits for us
            return False
        if self._stage is _Stage.BODY:
            if self.flow.read_paused:  # we have paused reading
                self._since_s = now_s - self._body_bytes / BODY_PACE
            return now_s - self._since_s > BODY_S + self._body_bytes / BODY_PACE
        return now_s - self._since_s > (self.timeout_keep_alive if self._stage is _Stage.IDLE else HEAD_S)

    def end(self, fault: tuple[int, str]) -> None:
        """Close the connection; answer the fault if a request has no answer yet."""
        self.registry.work(self)  # it waits no longer
        cycle = self.cycle
        is_answering = bool(cycle) and cycle.response_started and not cycle.response_complete
        if is_answering or self.transport.is_closing():
            self.transport.abort()
            return
        if self._stage is _Stage.BODY or (self._stage is _Stage.HEAD and self._head_bytes):
            self._fault = fault
            self.send_400_response("")
        self.transport.close()
        self.registry.note_unread(self, self.loop.time())

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _HeldFlow(transport)
        host = self.client[0] if self.client else ""
        self.network = network_of(host) if host else ""
        self.is_of_proxy = bool(host) and host in self.registry.proxies
        self._since_s = self.loop.time()
        if self.registry.has_room(self):
            self.registry.wait(self)
        else:
            self._fault = _NO_ROOM
            self.send_400_response("")

    def connection_lost(self, exc: Exception | None) -> None:
        self.registry.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse slice by slice, until a pipelined request must wait."""
        data, self._unparsed = self._unparsed + data, b""
        for start in range(0, len(data), SLICE):
            if self.transport.is_closing():
                return
            if self.pipeline:
                self._unparsed = data[start:]
                self.flow.pause_reading()
                break
            part = data[start : start + SLICE]
            super().data_received(part)
            if self._has_new_stage:  # once per slice: a whole request passes several stages
                self._has_new_stage = False
                if self._stage is _Stage.WORK:
                    self.registry.work(self)
                else:
                    self.registry.wait(self)
            if self._stage is not _Stage.BODY:
                self._head_bytes += len(part)
                if self._stage is _Stage.HEAD and self._head_bytes > HEAD_LIMIT:
                    self.end(_TOO_LARGE)
        self.flow.is_held = bool(self._unparsed)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin(_Stage.HEAD)
        self._head_bytes = self._header_bytes = self._body_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._stage is _Stage.HEAD:  # trailers are ignored
            self._header_bytes += len(name) + len(value)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.url) + self._header_bytes > HEAD_LIMIT or len(self.headers) > MOST_HEADERS:
            self._fault = _TOO_LARGE
            raise ValueError("the head is too large")  # the parser ends, and the fault is answered
        self._begin(_Stage.BODY)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stage = _Stage.WORK
        self._has_new_stage = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Repeat uvicorn's method without its timer: one sweep is cheaper than a timer per answer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._stage is _Stage.WORK:
            self._begin(_Stage.IDLE)
            self._has_new_stage = False
            self.registry.wait(self)
            self._head_bytes = 0
        if not self.pipeline:
            self.flow.is_held = False
            self.flow.resume_reading()
            if self._unparsed:
                self.data_received(b"")

    def pause_writing(self) -> None:
        super().pause_writing()
        self.registry.note_unread(self, self.loop.time())

    def resume_writing(self) -> None:
        super().resume_writing()
        self.registry.note_unread(self, None)

    def send_400_response(self, msg: str) -> None:
        """Answer the recorded fault, and close the connection."""
        status, says = self._fault
        lines = (
            f"HTTP/1.1 {status} {says}",
            "content-type: text/plain; charset=utf-8",
            f"content-length: {len(says)}",
            "connection: close",
            *(["retry-after: 5"] if status == _NO_ROOM[0] else []),
        )
        self.transport.write(("\r\n".join(lines) + f"\r\n\r\n{says}").encode())
        self.transport.close()

    def _begin(self, stage: _Stage) -> None:
        self._stage = stage
        self._since_s = self.loop.time()
        self._has_new_stage = True


@dataclass(eq=False, slots=True)
class _Network:
    """Connections of one network."""

    count: int = 0
    waiting: dict[GuardedProtocol, None] = field(default_factory=dict)


class Connections:
    """Registry of a server's connections, which closes those that wait for too long.

    Args:
        most: greatest number of connections.
        proxies: comma-separated addresses of reverse proxies, which represent many networks.
    """

    def __init__(self, most: int, proxies: str = "") -> None:
        self.most = most
        app: Any = Response()  # uvicorn parses lists of proxies only around an app
        self.proxies = ProxyHeadersMiddleware(app, proxies).trusted_hosts
        self._networks: dict[str, _Network] = {}
        self._count = 0
        self._waiting: dict[GuardedProtocol, None] = {}
        self._unread: dict[GuardedProtocol, float] = {}

    async def watch(self) -> None:
        """Close overdue connections every second, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.sweep(loop.time())

    def sweep(self, now_s: float) -> None:
        for connection in [waiting for waiting in self._waiting if waiting.is_late(now_s)]:
            connection.end(TOO_SLOW)
        for connection in [unread for unread, since in self._unread.items() if now_s - since > READ_S]:
            connection.transport.abort()

    def has_room(self, connection: GuardedProtocol) -> bool:
        """Count a new connection, and report whether the limits allow it."""
        own = self._networks.setdefault(connection.network, _Network())
        own.count += 1
        self._count += 1
        is_many = own.count > max(1, self.most // _NETWORK_DIVISOR) and not connection.is_of_proxy
        return self._count <= self.most and not is_many

    def leave(self, connection: GuardedProtocol) -> None:
        self.work(connection)
        self._unread.pop(connection, None)
        own = self._networks[connection.network]
        own.count -= 1
        self._count -= 1
        if not own.count:
            del self._networks[connection.network]

    def wait(self, connection: GuardedProtocol) -> None:
        """Mark a connection as waiting for bytes; close the oldest one where too many wait."""
        self.work(connection)  # dictionaries keep the order of insertion, so insert it again as the newest
        own = self._networks[connection.network].waiting
        own[connection] = self._waiting[connection] = None
        if len(own) > MOST_WAITING_OF_ONE and not connection.is_of_proxy:
            next(iter(own)).end(TOO_SLOW)
        elif len(self._waiting) > min(MOST_WAITING, self.most):
            next(iter(self._waiting)).end(TOO_SLOW)

    def work(self, connection: GuardedProtocol) -> None:
        """Mark a connection as working on a complete request."""
        self._waiting.pop(connection, None)
        self._networks[connection.network].waiting.pop(connection, None)

    def note_unread(self, connection: GuardedProtocol, since_s: float | None) -> None:
        """Record since when the client reads nothing; None when it reads again."""
        if since_s is None:
            self._unread.pop(connection, None)
        else:
            self._unread[connection] = since_s
