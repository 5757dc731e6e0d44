"""A real server on a free port, and the official SDK pointed at it by its one changed line."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from contatto.app import create_app
from contatto.ui.context import Context
from tests.conformance.sdk import Sdk
from tests.journeys.running import House, open_house


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Leave the signals to the test runner."""


@contextmanager
def _served(context: Context, url: str) -> Iterator[None]:
    config = uvicorn.Config(
        create_app(context), port=int(url.rpartition(":")[2]), log_level="error", timeout_graceful_shutdown=1
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield
    server.should_exit = True
    thread.join(10)


def _free_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def running_server_house(folder: Path, *, capture_on: bool = True, **settings: Any) -> Iterator[House]:
    """A house behind a real socket."""
    url = _free_url()
    context, made = open_house(folder, capture_on=capture_on, url=url, **settings)
    try:
        with _served(context, url), httpx2.Client(base_url=url, timeout=60) as client:
            yield House(context=context, client=client, **made)
    finally:
        context.db.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_server_house(tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.fixture(scope="module")
def house_without_capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_server_house(tmp_path_factory.mktemp("house"), capture_on=False) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(house: House) -> Iterator[Sdk]:
    with Sdk.opened(house) as opened:
        yield opened


@pytest.fixture(scope="module")
def sdk_without_capture(house_without_capture: House) -> Iterator[Sdk]:
    with Sdk.opened(house_without_capture) as opened:
        yield opened
