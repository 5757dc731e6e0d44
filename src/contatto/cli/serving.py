"""One way to serve the app from the command line, ended cleanly by Ctrl+C or SIGTERM."""

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from socket import socket
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from contatto.kit.gc_freeze import freeze_loaded_objects
from contatto.ui.connection_limits import Connections, guarded_by
from contatto.ui.context import Context

_TURN_S: Final = 0.001
"""How long another thread, such as one that writes or reads anew, may keep answers waiting for its turn."""
_OTHER_FILES: Final = 256
"""Files that a server has open besides its connections: the database, the children, the feeds."""


class _Server(uvicorn.Server):
    """A server that leaves the signals to us: first the open event streams must end, then the rest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Serving:
    """A server and what runs beside it, until a signal comes or one of both ends.

    Args:
        context: whose live streams end first; the caller closes it afterwards.
        app: what is served.
        options: how uvicorn serves it, where it does so otherwise than by the settings.
    """

    def __init__(self, context: Context, app: ASGIApp, **options: Any) -> None:
        settings = context.settings
        self._context = context
        self._connections = Connections(_room_for(settings.max_connections), settings.trusted_proxies)
        usual: dict[str, Any] = {
            "host": settings.host,
            "port": settings.port,
            "http": guarded_by(self._connections),
            "ws": "none",
            "access_log": False,
            "log_config": None,
            "proxy_headers": bool(settings.trusted_proxies),
            "forwarded_allow_ips": settings.trusted_proxies or None,
            "server_header": False,
            "timeout_graceful_shutdown": 3,
        }
        self._server = _Server(uvicorn.Config(app, **usual | options))

    def run(
        self, beside: Coroutine[Any, Any, None] | None = None, sockets: list[socket] | None = None
    ) -> None:
        """Serve in an event loop of its own; what goes wrong in the server or beside it is raised here."""
        sys.setswitchinterval(_TURN_S)
        factory = self._server.config.get_loop_factory()
        asyncio.run(self._serve(beside or self._rest(), sockets), loop_factory=factory)

    async def until_started(self) -> None:
        while not self._server.started:
            await asyncio.sleep(0.01)

    async def _freeze(self) -> None:
        """Tell the garbage collector that what is here after the start stays.

        Else it goes through all of it again after some hundred pages, while the next one waits a fifth of a
        second.
        """
        await self.until_started()
        freeze_loaded_objects()

    async def _rest(self) -> None:
        await asyncio.Event().wait()

    async def _serve(self, beside: Coroutine[Any, Any, None], sockets: list[socket] | None) -> None:
        stop = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # not on Windows, where Ctrl+C interrupts by itself
                asyncio.get_running_loop().add_signal_handler(name, stop.set)
        serving = asyncio.create_task(self._server.serve(sockets))
        playing = asyncio.create_task(beside)
        stopping = asyncio.create_task(stop.wait())
        beside_all = [asyncio.create_task(self._freeze()), asyncio.create_task(self._connections.watch())]
        try:
            await asyncio.wait((serving, playing, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*beside_all, stopping, playing):
                task.cancel()
            self._context.live.close()
            self._server.should_exit = True
            ended = await asyncio.gather(serving, playing, return_exceptions=True)
        for result in ended:
            if isinstance(result, Exception):
                raise result
        if not (self._server.started or stop.is_set()):
            raise SystemExit(3)  # the log says what kept it from starting


def _room_for(most: int) -> int:
    """How many connections there may be: as many as wanted, if this process may have so many files open."""
    if sys.platform == "win32":
        return most
    import resource  # noqa: PLC0415  # there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(most, soft - _OTHER_FILES))
