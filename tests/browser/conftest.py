"""A real server on a free port for the browser tests, with one business that has an ad of each goal."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from contatto.app import create_app
from tests.journeys.running import House, open_house


@dataclass(frozen=True, slots=True)
class Served:
    """A house behind a real socket; ``url`` has no final slash."""

    house: House
    url: str
    lead_ad: dict[str, str]


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Leave the signals to the test runner."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as running:
        yield running


@contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[Served]:
    """A house behind a socket, with such settings as its own test wants."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    context, made = open_house(folder, url=url, **settings)
    config = uvicorn.Config(
        create_app(context), port=int(url.rpartition(":")[2]), log_level="error", timeout_graceful_shutdown=1
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    with httpx2.Client(base_url=url, timeout=60) as client:
        house = House(context=context, client=client, **made)
        house.make_ad("CONVERSATION")
        yield Served(house, url, house.make_ad("LEAD_GENERATION"))
    server.should_exit = True
    thread.join(10)
    context.db.close()
