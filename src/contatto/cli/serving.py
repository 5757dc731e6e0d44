"""One way to serve the app from the command line, ended cleanly by Ctrl+C or SIGTERM."""

import asyncio
import gc
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from socket import socket
from typing import Any

import uvicorn

from contatto.kit.context import Context


class _Server(uvicorn.Server):
    """A server that leaves the signals to us: first the open event streams must end, then the rest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Serving:
    """A server and what runs beside it, until a signal comes or one of both ends.

    Args:
        context: whose live streams end first; the caller closes it afterwards.
        config: how uvicorn serves.
    """

    def __init__(self, context: Context, config: uvicorn.Config) -> None:
        self._context = context
        self._server = _Server(config)

    def run(
        self, beside: Coroutine[Any, Any, None] | None = None, sockets: list[socket] | None = None
    ) -> None:
        """Serve in an event loop of its own; what goes wrong in the server or beside it is raised here."""
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
        gc.collect()
        gc.freeze()

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
        freezing = asyncio.create_task(self._freeze())
        try:
            await asyncio.wait((serving, playing, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            freezing.cancel()
            stopping.cancel()
            playing.cancel()
            self._context.live.close()
            self._server.should_exit = True
            ended = await asyncio.gather(serving, playing, return_exceptions=True)
        for result in ended:
            if isinstance(result, Exception):
                raise result
        if not (self._server.started or stop.is_set()):
            raise SystemExit(3)  # the log says what kept it from starting
