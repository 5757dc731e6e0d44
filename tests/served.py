"""An app behind a real socket of this machine, served by a thread of the tests."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from contatto.app import create_app
from contatto.ui.requests import Context

PATIENCE_S = 60


def listen() -> socket.socket:
    """A socket on a free port. It is kept: a port that was only looked up may be another's a moment later."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    return listening


def address_of(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def serve(context: Context, listening: socket.socket | None = None) -> Iterator[str]:
    """Serve a context; give the address, without a final slash."""
    taken = listening or listen()
    config = uvicorn.Config(
        create_app(context), log_level="error", timeout_graceful_shutdown=1, lifespan="on"
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield address_of(taken)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        taken.close()
        assert not thread.is_alive(), "the server does not end"


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Leave the signals to the test runner."""
