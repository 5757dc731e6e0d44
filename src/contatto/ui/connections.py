"""Connections of a server: those that wait have little time, and the oldest of them make room for newer ones.

A server is held up by whoever opens connections and sends nothing, or a byte now and then. So the head of a
request must be there within seconds, its body must come at a least pace, and what was answered must be read.
Where too many wait, of one network or in all, the one that waits longest ends: who means it has sent the
request long before.
"""

import asyncio
from abc import abstractmethod
from typing import Final, Protocol

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

READ_S: Final = 60.0
"""Seconds in which the other side must read something of an answer."""
MOST_WAITING: Final = 1_000
"""Connections in all that wait for the rest of a request, or for a next one."""
MOST_WAITING_OF_ONE: Final = 250
_SHARE_OF_ONE: Final = 4
"""The part of all connections that one network may have."""
_SWEEP_S: Final = 1.0
TOO_SLOW: Final = (408, "Request Timeout")


class Connection(Protocol):
    """What is known here of a connection."""

    network: str
    client: tuple[str, int] | None

    @abstractmethod
    def is_late(self, now_s: float) -> bool:
        """Return whether what it waits for should be there by now."""

    @abstractmethod
    def end(self, fault: tuple[int, str]) -> None:
        """End it, with an answer if it began a request that has none yet."""

    @abstractmethod
    def abort(self) -> None:
        """End it at once."""


class _Network:
    """The connections of one network."""

    def __init__(self) -> None:
        self.count = 0
        self.waiting: dict[Connection, None] = {}


async def _nothing(*_: object) -> None:
    """An app that is never called: uvicorn reads lists of proxies only for one."""


class Connections:
    """Knows all connections of a server, and ends those that wait for too long.

    Args:
        most: how many there may be in all.
        proxies: addresses of reverse proxies, with commas between them: they stand for many networks.
    """

    def __init__(self, most: int, proxies: str = "") -> None:
        self.most = most
        self._proxies = ProxyHeadersMiddleware(_nothing, proxies).trusted_hosts
        self._networks: dict[str, _Network] = {}
        self._count = 0
        self._waiting: dict[Connection, None] = {}
        self._unread: dict[Connection, float] = {}

    async def watch(self) -> None:
        """Look for connections whose time is over, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.sweep(loop.time())

    def sweep(self, now_s: float) -> None:
        """End the connections whose time is over."""
        for connection in [each for each in self._waiting if each.is_late(now_s)]:
            connection.end(TOO_SLOW)
        for connection in [each for each, since in self._unread.items() if now_s - since > READ_S]:
            connection.abort()

    def has_room(self, connection: Connection) -> bool:
        """Count a new connection; say whether there is room for it."""
        own = self._networks.setdefault(connection.network, _Network())
        own.count += 1
        self._count += 1
        is_many = own.count > max(1, self.most // _SHARE_OF_ONE) and not self._is_proxy(connection)
        return self._count <= self.most and not is_many

    def leave(self, connection: Connection) -> None:
        self.work(connection)
        self._unread.pop(connection, None)
        own = self._networks[connection.network]
        own.count -= 1
        self._count -= 1
        if not own.count:
            del self._networks[connection.network]

    def wait(self, connection: Connection) -> None:
        """A connection waits for bytes from now on; where too many do, the oldest ends."""
        self.work(connection)  # it takes the last place again
        own = self._networks[connection.network].waiting
        own[connection] = self._waiting[connection] = None
        if len(own) > MOST_WAITING_OF_ONE and not self._is_proxy(connection):
            next(iter(own)).end(TOO_SLOW)
        elif len(self._waiting) > min(MOST_WAITING, self.most):
            next(iter(self._waiting)).end(TOO_SLOW)

    def work(self, connection: Connection) -> None:
        """A connection has sent its request, and waits no more."""
        self._waiting.pop(connection, None)
        self._networks[connection.network].waiting.pop(connection, None)

    def note_unread(self, connection: Connection, since_s: float | None) -> None:
        """The other side reads nothing since then; None when it reads again."""
        if since_s is None:
            self._unread.pop(connection, None)
        else:
            self._unread[connection] = since_s

    def _is_proxy(self, connection: Connection) -> bool:
        return connection.client is not None and connection.client[0] in self._proxies
