"""`contatto serve`: the server, with the background work."""

import asyncio
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import nullcontext, suppress
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer
import uvicorn
from rich.console import Console
from starlette.types import ASGIApp

from contatto import __version__
from contatto.app import create_app, open_context
from contatto.cli.installation import bring_up_to_date, check_workers, read_settings
from contatto.guide.actions import setup_path
from contatto.kit.runtime import freeze_loaded_objects
from contatto.ui.connection_limits import Connections, GuardedProtocol
from contatto.ui.requests import Context
from contatto.wiring import install

_TURN_S: Final = 0.001
"""Thread switch interval: most seconds that the event loop waits for another thread, such as a writer."""
_OTHER_FILES: Final = 256
"""Open files of a server besides its connections: database, child processes, feeds."""


class _Server(uvicorn.Server):
    """Server without signal handlers of its own, as open event streams must end first."""

    capture_signals = staticmethod(nullcontext)  # type: ignore[assignment]  # nor does it give a generator


class Serving:
    """A server and a companion coroutine, until a signal comes or one of both ends.

    The live streams of the context end first; the caller closes it. ``options`` of uvicorn win over settings.
    """

    def __init__(self, context: Context, app: ASGIApp, **options: Any) -> None:
        settings = context.settings
        self._context = context
        self._connections = Connections(_connection_limit(settings.max_connections), settings.trusted_proxies)
        usual: dict[str, Any] = {
            "host": settings.host,
            "port": settings.port,
            "http": type("Guarded", (GuardedProtocol,), {"registry": self._connections}),
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
        self, companion: Coroutine[Any, Any, None] | None = None, sockets: list[socket.socket] | None = None
    ) -> None:
        """Serve in a new event loop; raises the errors of the server and of the companion."""
        sys.setswitchinterval(_TURN_S)
        factory = self._server.config.get_loop_factory()
        asyncio.run(self._serve(companion or asyncio.Event().wait(), sockets), loop_factory=factory)

    async def until_started(self) -> None:
        while not self._server.started:
            await asyncio.sleep(0.01)

    async def _serve(
        self, companion: Coroutine[Any, Any, object], sockets: list[socket.socket] | None
    ) -> None:
        stop = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # not on Windows, where Ctrl+C interrupts without it
                asyncio.get_running_loop().add_signal_handler(name, stop.set)
        serving = asyncio.create_task(self._server.serve(sockets))
        companion_task = asyncio.create_task(companion)
        stopping = asyncio.create_task(stop.wait())

        async def freeze_when_started() -> None:
            # Else a garbage collection delays a page by a fifth of a second, every hundred pages.
            await self.until_started()
            freeze_loaded_objects()

        helpers = [asyncio.create_task(freeze_when_started()), asyncio.create_task(self._connections.watch())]
        try:
            await asyncio.wait((serving, companion_task, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*helpers, stopping, companion_task):
                task.cancel()
            self._context.live.close()
            self._server.should_exit = True
            ended = await asyncio.gather(serving, companion_task, return_exceptions=True)
        for result in ended:
            if isinstance(result, Exception):
                raise result
        if not (self._server.started or stop.is_set()):
            raise SystemExit(3)  # the log has the error


def _connection_limit(most: int) -> int:
    """Return the setting, or less if this process may open fewer files; raise the soft limit first."""
    if sys.platform == "win32":
        return most
    import resource  # noqa: PLC0415  # there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed_files = most + _OTHER_FILES
    if soft < needed_files:
        soft = needed_files if hard == resource.RLIM_INFINITY else min(hard, needed_files)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(most, soft - _OTHER_FILES))


_out = Console(highlight=False)
LOCAL_HOSTS: Final = ("127.0.0.1", "::1", "localhost")


def serve_command(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
) -> None:
    """Serve pages, API and webhooks, and do the background work unless worker=separate is set."""
    named = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = read_settings(**named)
    sockets = None
    if settings.port == 0:  # links must have the port that was found
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        sockets = [socket.create_server((settings.host, 0), family=family)]
        named["port"] = sockets[0].getsockname()[1]
        settings = read_settings(**named)
    context = open_context(install(settings))
    if settings.worker == "separate":
        check_workers(context.db)
    bring_up_to_date(context.db)
    serving = Serving(context, create_app(context))
    _out.print(
        f"Contatto {__version__} listens on {settings.host}, port {settings.port} "
        f"(database: {context.db.engine.dialect.name})"
    )
    settings.record_address()
    _out.print(f"Links carry {settings.base_url}", soft_wrap=True)
    if urlsplit(settings.base_url).hostname in LOCAL_HOSTS and settings.host not in LOCAL_HOSTS:
        _out.print("Others cannot open them: set CONTATTO_BASE_URL to the public address.")
    link = context.db.read_now(setup_path)
    if link is not None:
        _out.print(f"Nothing is set up yet. Open this link once: {settings.base_url}{link}", soft_wrap=True)
    try:
        serving.run(sockets=sockets)
    finally:
        for listener in sockets or ():
            listener.close()
        context.db.close()
