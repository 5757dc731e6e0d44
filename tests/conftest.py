"""What all tests share: the databases that they run on, and the browser."""

import asyncio
import gc
import itertools
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from hypothesis import settings
from jinja2 import FileSystemBytecodeCache
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from xdist.scheduler import LoadFileScheduling

from contatto.accounts import actions as accounts
from contatto.kit.db.database import Database, open_database
from contatto.kit.db.tx import FixedClock
from contatto.kit.log import _Current
from contatto.kit.vault import Vault
from contatto.ui import render
from contatto.wiring import PORTS
from tests import passwords, postgres, schema, tally
from tests.compiled import compiled_once, kernels_compiled_once, read_own_share
from tests.emptied import EmptiedDatabases
from tests.examples import examples
from tests.left_open import LEFT_OPEN, lines_of_left_open, note_connections
from tests.mailbox import Mailbox, running_mailbox
from tests.once import MADE_DIR
from tests.wide import further_values, is_wide
from tools.browser import MISSING, find_chromium

LONG = {"browser", "cli", "conformance", "journeys", "security", "simulator"}
"""Folders whose tests start browsers, servers and whole houses."""
BROWSER = "tests/browser/"
IN_MEMORY = Path("/dev/shm")  # noqa: S108  # pytest makes folders there that are ours alone
PYTEST_ROOT = "PYTEST_DEBUG_TEMPROOT"
ROOM = 4 * 1024**3
"""Bytes. A run needs a tenth of it, since the folder of a test that passed goes at once."""
_numbers = itertools.count(1)
_left_open: list[str] = []
gc.disable()  # until all is collected: what is imported and collected stays, and need not be looked through
expect.set_options(timeout=60_000)  # a busy machine needs time; who waits for a state loses none
settings.register_profile(
    "house", max_examples=examples(100), deadline=None
)  # for the same reason; speed is a matter of bench/
settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        _work_in_memory()
        # The path of a socket has to be short.
        folder = tempfile.gettempdir() if len(tempfile.gettempdir()) < 60 else "/tmp"  # noqa: S108
        os.environ[postgres.RUN_DIR] = tempfile.mkdtemp(prefix="contatto-test-", dir=folder)
        os.environ[MADE_DIR] = tempfile.mkdtemp(prefix="contatto-made-", dir=os.environ.get(PYTEST_ROOT))
        os.environ.setdefault(tally.SEED, str(secrets.randbelow(10**9)))


def _work_in_memory() -> None:
    """Have pytest make its folders where a commit waits for no disk, if the machine has such a place."""
    if IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM and os.access(IN_MEMORY, os.W_OK):
        os.environ.setdefault(PYTEST_ROOT, str(IN_MEMORY))


def pytest_sessionstart(session: pytest.Session) -> None:
    note_connections()
    process: dict[str, Any] | None = getattr(session.config, "workerinput", None)
    if process is not None:
        root = session.config.rootpath
        files = sorted(path.relative_to(root) for path in root.glob("tests/*/test_*.py"))
        read_own_share(files, int(process["workerid"].removeprefix("gw")), process["workercount"])


@pytest.hookimpl(tryfirst=True)  # -m chooses by what it marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `tests/wide.py` names.

    Begin with the files that take long, so that at the end no process waits for the other's last one.
    """
    further = further_values(item.nodeid for item in items)
    for item in items:
        if item.nodeid in further or is_wide(item.nodeid, getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.wide)
    items.sort(key=lambda item: item.path.parent.name not in LONG)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "OneBrowser | None":
    return OneBrowser(config, log) if config.getoption("dist") == "loadfile" else None


class OneBrowser(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """A file goes to a process as a whole, and all files with a browser to the same: one Chromium is enough.

    They wait more than they compute, so meanwhile the others have the machine.
    """

    def _split_scope(self, test: str) -> str:
        return BROWSER if test.startswith(BROWSER) else str(super()._split_scope(test))


def pytest_sessionfinish(session: pytest.Session) -> None:
    lines = lines_of_left_open()
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[LEFT_OPEN] = lines
    else:
        _left_open.extend(lines)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _left_open.extend(getattr(node, "workeroutput", {}).get(LEFT_OPEN, ()))  # a process that broke has none


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how often each class of attack was tried, and by which seed; and what was left open."""
    for line in _left_open:
        terminalreporter.write_line(line)
    reports = [each for found in terminalreporter.stats.values() for each in found]
    for line in tally.summary(reports):
        terminalreporter.write_line(line)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # a machine that runs tests has the memory, and looks less often
    gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and postgres.RUN_DIR in os.environ:
        postgres.stop_server(Path(os.environ.pop(postgres.RUN_DIR)))
        shutil.rmtree(os.environ.pop(MADE_DIR), ignore_errors=True)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server of this machine."""
    with running_mailbox() as box:
        yield box


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Take back what a test did to the process's logs: they would go to a stream that is closed by then."""
    current, settings, handlers = _Current.log, structlog.get_config(), logging.root.handlers[:]
    yield
    if _Current.log is not current:
        structlog.configure(**settings)
        _Current.log, logging.root.handlers[:] = current, handlers


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Real hashes of argon2id, but quick ones: those of the product take their time on purpose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "_hasher", passwords.QUICK)
        patch.setattr(accounts, "_DUMMY_HASH", passwords.QUICK.hash("nobody's"))
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_statements() -> Iterator[None]:
    with compiled_once():
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_kernels() -> Iterator[None]:
    with kernels_compiled_once(postgres.run_dir() / "kernels.lock"):
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_templates() -> None:
    """Templates are compiled once in a run, not once in each of its processes."""
    folder = postgres.run_dir() / "templates"
    folder.mkdir(exist_ok=True)
    render._templates().bytecode_cache = FileSystemBytecodeCache(str(folder))


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
    postgres_admin.execute(f"CREATE DATABASE {name} OWNER {postgres.OWNER} STRATEGY file_copy")
    yield postgres.url_of(name)
    postgres_admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def engine_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    url: str = request.getfixturevalue("postgres_database")
    return url


@pytest.fixture(scope="session")
def sqlite_template() -> Path:
    """A SQLite file that holds every table and no row; tests copy it."""
    return schema.sqlite_template()


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> str:
    """The name of a PostgreSQL database that holds every table and no row; tests copy it."""
    del postgres_url  # the server is running
    return schema.postgres_template()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path, clock: FixedClock) -> Iterator[Database]:
    """Our storage with its tables and no rows: the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "test.db")
        url = f"sqlite:///{tmp_path / 'test.db'}"
    else:
        url = request.getfixturevalue("postgres_copy")
    opened = open_database(url, clock, Vault({"test": bytes(32)}), PORTS)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def emptied_databases(
    postgres_admin: psycopg.Connection[tuple[object, ...]], postgres_template: str
) -> Iterator[EmptiedDatabases]:
    databases = EmptiedDatabases(postgres_admin, postgres_template)
    yield databases
    databases.drop_all()


@pytest.fixture
def postgres_copy(emptied_databases: EmptiedDatabases) -> Iterator[str]:
    """The URL of a PostgreSQL database with every table and no row, which no other test uses meanwhile."""
    taken = emptied_databases.take()
    yield postgres.url_of(taken.name)
    emptied_databases.give_back(taken)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Of a whole house: empty for SQLite in its data folder, else a PostgreSQL database without rows."""
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_copy"))


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands still at a Thursday noon until the test moves it."""
    return FixedClock(datetime(2026, 1, 1, 12, tzinfo=UTC))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium; without one the test is left out, except in CI, where that would hide much."""
    path: str = find_chromium()
    if not path and os.environ.get("CI"):
        pytest.fail(MISSING, pytrace=False)
    if not path:
        pytest.skip(MISSING)
    return path


ACTS = ("check", "clear", "click", "dblclick", "drag_to", "fill", "focus", "hover", "press",
        "press_sequentially", "select_option", "set_input_files", "uncheck")  # fmt: skip
"""What a test does with its hands."""


@contextmanager
def acting_on_whole_pages() -> Iterator[None]:
    """Have each act wait until its page is loaded: what is typed before its scripts are there is lost."""

    def waiting(act: Callable[..., None]) -> Callable[..., None]:
        def wait_and_act(locator: Locator, *given: Any, **named: Any) -> None:
            locator.page.wait_for_load_state("load")
            act(locator, *given, **named)

        return wait_and_act

    keys = Page.keyboard.fget  # type: ignore[attr-defined]

    def keyboard_of_whole_page(page: Page) -> Any:
        page.wait_for_load_state("load")
        return keys(page)

    with pytest.MonkeyPatch.context() as patch:
        for name in ACTS:
            patch.setattr(Locator, name, waiting(getattr(Locator, name)))
        patch.setattr(Page, "keyboard", property(keyboard_of_whole_page))
        yield


@pytest.fixture(scope="session")
def started_browser(chromium: str) -> Iterator[tuple[Browser, asyncio.AbstractEventLoop]]:
    """One browser for all files of a process, and the loop that drives it, out of sight between them."""
    with sync_playwright() as playwright:
        loop = asyncio.get_running_loop()
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        asyncio._set_running_loop(None)
        yield started, loop
        asyncio._set_running_loop(loop)
        started.close()


@pytest.fixture(scope="module")
def browser(started_browser: tuple[Browser, asyncio.AbstractEventLoop]) -> Iterator[Browser]:
    # In sight no longer than a module: meanwhile no other test of this process can run an event loop.
    started, loop = started_browser
    asyncio._set_running_loop(loop)
    with acting_on_whole_pages():
        yield started
    asyncio._set_running_loop(None)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty tab with its own cookies; any error in its console, a blocked script too, fails the test."""
    context = browser.new_context(locale="en-GB", timezone_id="UTC", accept_downloads=True)
    context.set_default_timeout(60_000)  # as above
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    yield page
    context.close()
    assert errors == []
