"""One house behind two servers, each with its own context: what one caches the other knows nothing of."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from contatto.app import create_app, open_context
from contatto.kit.context import Context
from tests.journeys.running import House, csrf_of, open_house


@dataclass(frozen=True, slots=True)
class Served:
    """A house of the first server; ``urls`` are those of both, without a final slash."""

    house: House
    urls: tuple[str, str]

    @property
    def context(self) -> Context:
        return self.house.context


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Leave the signals to the test runner."""


@contextmanager
def serve(context: Context) -> Iterator[str]:
    """Serve a context on a free port of this machine; give the address."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    app = create_app(context)
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, lifespan="on")
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        context.live.close()
        server.should_exit = True
        thread.join(10)
        listening.close()


@contextmanager
def serve_house(folder: Path, database_url: str = "", **settings: Any) -> Iterator[Served]:
    context, made = open_house(folder, database_url=database_url, **settings)
    with ExitStack() as opened:
        opened.callback(context.db.close)
        second = open_context(context.settings.model_copy(update={"worker": "separate"}))
        opened.callback(second.db.close)
        urls = opened.enter_context(serve(context)), opened.enter_context(serve(second))
        client = opened.enter_context(httpx2.Client(base_url=urls[0]))
        yield Served(House(context=context, client=client, **made), urls)


def login_form(client: httpx2.Client, email: str, password: str) -> dict[str, str]:
    """What the form of the log-in page sends."""
    page = client.get("/login").text
    return {"email": email, "password": password, "csrf_token": csrf_of(page)}
