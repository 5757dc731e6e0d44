"""What all tests share: the databases that they run on, and the browser."""

import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests import postgres
from tools.browser import MISSING, find_chromium

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[postgres.RUN_DIR] = tempfile.mkdtemp(prefix="contatto-test-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and postgres.RUN_DIR in os.environ:
        postgres.stop_server(Path(os.environ.pop(postgres.RUN_DIR)))


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The URL of a running PostgreSQL; its first database is empty and shared, so leave it as it is."""
    return postgres.start_server()


@pytest.fixture(scope="session")
def postgres_admin(postgres_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with postgres.admin() as connection:
        yield connection


@pytest.fixture
def postgres_database(postgres_admin: psycopg.Connection[tuple[object, ...]]) -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database that only this test sees."""
    name = f"t_{os.getpid()}_{next(_numbers)}"
    postgres_admin.execute(f"CREATE DATABASE {name} STRATEGY file_copy")  # type: ignore[call-overload]
    yield postgres.url_of(name)
    postgres_admin.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    url: str = request.getfixturevalue("postgres_database")
    return url


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium; without one the test is left out, except in CI, where that would hide much."""
    path: str = find_chromium()
    if not path and os.environ.get("CI"):
        pytest.fail(MISSING, pytrace=False)
    if not path:
        pytest.skip(MISSING)
    return path


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    # No longer than a module: while it lives, no other test of this process can run an event loop.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty tab with its own cookies; any error in its console, a blocked script too, fails the test."""
    context = browser.new_context(locale="en-GB", timezone_id="UTC", accept_downloads=True)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    yield page
    context.close()
    assert errors == []
