"""What the attacks share: the world of two tenants, a fresh copy for each file, on both engines."""

import itertools
import logging
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zlib import crc32

import psycopg
import pytest
import structlog
from psycopg import sql

from contatto.kit.db.tx import FixedClock
from tests import postgres, schema
from tests.journeys.running import House, running_house
from tests.once import made_once
from tests.security.chats import neighbour_of
from tests.security.filling import build_world
from tests.security.planting import Planting
from tests.security.servers import Served, serve_house
from tests.security.world import Built, World, running_world

type Admin = psycopg.Connection[tuple[object, ...]]
_numbers = itertools.count(1)


PICKLED: Final = "built.pickle"
ONE_IN: Final = 6
"""On PostgreSQL the default run makes so many of the attacks on every route; the long run makes all."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On SQLite every route is attacked each time. On PostgreSQL those are whose name falls to it."""
    for item in items:
        values = (
            item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        )
        if "way" in values and "postgresql" in values.values() and crc32(item.nodeid.encode()) % ONE_IN:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def quiet_logs() -> None:
    """A line for each of thousands of requests costs more than many of them do."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


@pytest.fixture(autouse=True)
def tallied(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """How many requests a test made, for the summary of the run."""
    before = World.asked
    yield
    record_property("requests", World.asked - before)


@pytest.fixture(scope="session")
def built_on_sqlite() -> Built:
    def build(folder: Path) -> Built:
        schema.copy_schema(folder / "data" / "contatto.sqlite3")
        return build_world(folder / "data", "", _earlier())

    return _once("world", build)


@pytest.fixture(scope="session")
def built_on_postgresql(
    tmp_path_factory: pytest.TempPathFactory, postgres_admin: Admin, postgres_template: str
) -> Iterator[Built]:
    with _database(postgres_admin, postgres_template) as name:
        yield build_world(tmp_path_factory.mktemp("world"), name, _earlier())


@pytest.fixture(scope="session")
def planted_on_sqlite(built_on_sqlite: Built, request: pytest.FixtureRequest) -> Built:
    def build(folder: Path) -> Built:
        with _planted(built_on_sqlite, folder, request) as built:
            return built

    return _once("planted", build)


@pytest.fixture(scope="session")
def planted_on_postgresql(
    built_on_postgresql: Built, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Built]:
    with _planted(built_on_postgresql, tmp_path_factory.mktemp("planted"), request) as built:
        yield built


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two tenants with full data, on SQLite and on PostgreSQL; its clock stands until it is moved.

    One for all tests of a file: what a test changes, the next one finds changed.
    """
    built: Built = request.getfixturevalue(f"built_on_{request.param}")
    with copied_world(built, tmp_path_factory.mktemp("copy"), request) as copied:
        yield copied


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """As ``world``, but one for each test."""
    built: Built = request.getfixturevalue(f"built_on_{request.param}")
    with copied_world(built, tmp_path, request) as copied:
        yield copied


@pytest.fixture(params=["sqlite", "postgresql"])
def planted_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """One for each test, in which contact values stand everywhere (`planting`)."""
    built: Built = request.getfixturevalue(f"planted_on_{request.param}")
    with copied_world(built, tmp_path, request) as copied:
        yield copied


@pytest.fixture(params=["sqlite", "postgresql"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """One house, served twice: two servers that know of each other through the database alone."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_copy")
    with serve_house(tmp_path, url) as running:
        yield running


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    """One business with its background work, for what has to be settled."""
    with running_house(tmp_path, database_url=database_url) as running:
        yield running


@pytest.fixture
def neighbour(house: House) -> House:
    """Another business of the same installation, with its own chat, ads and keys."""
    return neighbour_of(house)


@contextmanager
def copied_world(built: Built, folder: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """The world as it was built, in a place of its own."""
    data = built.copy_folder(folder)
    clock = FixedClock(built.moment)
    if not built.database:
        with running_world(data, clock=clock) as world:
            yield built.told(world)
        return
    with (
        _database(request.getfixturevalue("postgres_admin"), built.database) as name,
        running_world(data, postgres.url_of(name), clock) as world,
    ):
        yield built.told(world)


@contextmanager
def _planted(built: Built, folder: Path, request: pytest.FixtureRequest) -> Iterator[Built]:
    """A world as it is after the planting; nobody has it open."""
    data, clock = built.copy_folder(folder), FixedClock(built.moment)
    with ExitStack() as kept:
        name = ""
        if built.database:
            name = kept.enter_context(_database(request.getfixturevalue("postgres_admin"), built.database))
        with running_world(data, postgres.url_of(name) if name else "", clock) as world:
            Planting(built.told(world)).run()
        yield replace(built, folder=data, database=name, moment=clock.now())


def _once(name: str, build: Callable[[Path], Built]) -> Built:
    """One world for all processes of a run, which copy its folder and leave it as it is."""

    def make(folder: Path) -> None:
        built = build(folder)
        within = replace(built, folder=built.folder.relative_to(folder))
        (folder / PICKLED).write_bytes(pickle.dumps(within))

    made = made_once(name, make)
    built: Built = pickle.loads((made / PICKLED).read_bytes())  # noqa: S301 - our own
    return replace(built, folder=made / built.folder)


@contextmanager
def _database(admin: Admin, template: str) -> Iterator[str]:
    """A PostgreSQL database that is a copy of another one, which nobody uses meanwhile."""
    name = f"t_{os.getpid()}_world_{next(_numbers)}"
    make = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy")
    admin.execute(make.format(*(sql.Identifier(each) for each in (name, postgres.OWNER, template))))
    yield name
    admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _earlier() -> FixedClock:
    """A clock that stands some minutes ago, so that what happens in a test comes after."""
    return FixedClock(datetime.now(UTC) - timedelta(minutes=5))
