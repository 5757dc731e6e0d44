"""A real server on a free port for the browser tests, with one business that has an ad of each goal."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.journeys.running import House, open_house
from tests.served import address_of, listen, serve


@dataclass(frozen=True, slots=True)
class Served:
    """A house behind a real socket; ``url`` has no final slash."""

    house: House
    url: str
    lead_ad: dict[str, str]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as running:
        yield running


@contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[Served]:
    """A house behind a socket, with such settings as its own test wants."""
    listening = listen()
    url = address_of(listening)
    context, made = open_house(folder, url=url, **settings)
    with (
        closing(context.db),
        serve(context, listening),
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        house = House(context=context, client=client, **made)
        house.make_ad("CONVERSATION")
        yield Served(house, url, house.make_ad("LEAD_GENERATION"))
