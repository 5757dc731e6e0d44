"""A house of its own for each journey, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.running import House, running_house


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    with running_house(tmp_path, database_url=database_url) as running:
        yield running


@pytest.fixture
def house_without_capture(tmp_path: Path, database_url: str) -> Iterator[House]:
    with running_house(tmp_path, database_url=database_url, capture_on=False) as running:
        yield running
