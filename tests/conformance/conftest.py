"""A real server on a free port, and the official SDK pointed at it by its one changed line."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conformance.sdk import Sdk
from tests.journeys.running import House, open_house
from tests.served import address_of, listen, serve


@contextmanager
def running_server_house(folder: Path, *, capture_on: bool = True, **settings: Any) -> Iterator[House]:
    """A house behind a real socket."""
    listening = listen()
    url = address_of(listening)
    context, made = open_house(folder, capture_on=capture_on, url=url, **settings)
    with (
        closing(context.db),
        serve(context, listening),
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        yield House(context=context, client=client, **made)


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
