"""Database access: opening, transactions, row-level security, change notices, cached counts."""

import asyncio
import re
import stat
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import Connection, Engine, Table, event, text

from contatto.kit.concurrency import TenantSlots, slot_released
from contatto.kit.db.tx import NO_PARTS, Clock, ContactReads, MadeLater, Parts, Row, Tx, in_time, metadata
from contatto.kit.log import logger
from contatto.kit.settings import Settings
from contatto.kit.vault import KEY_FILE, Vault, load_keys, vault_of

_acting_for: ContextVar[str] = ContextVar("acting_for", default="")
POLICY: Final = "own_business"
_OLD_POLICY: Final = "one_business"
"""Predecessor, which read the setting for each row and was slow."""
_SETTING: Final = "contatto.business_id"
_ACT: Final = text(f"SELECT set_config('{_SETTING}', :business_id, true)")
_PROTECTED: Final = text("SELECT tablename FROM pg_policies WHERE policyname = :policy")
_ABOVE_POLICIES: Final = text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")


def act_for(business_id: str) -> None:
    """Restrict later transactions of this request to one tenant."""
    _acting_for.set(business_id)


@contextmanager
def acting(business_id: str) -> Iterator[None]:
    """Restrict transactions and tasks within to another tenant; an empty id means all tenants."""
    before = _acting_for.set(business_id)
    try:
        yield
    finally:
        _acting_for.reset(before)


def acting_for() -> str:
    """Return the tenant of this request; empty outside of requests."""
    return _acting_for.get()


def narrow(connection: Connection, business_id: str) -> None:
    """Restrict the open transaction to the rows of one tenant; an empty id means all tenants."""
    if business_id:
        connection.execute(_ACT, {"business_id": business_id})


def tenant_column(table: Table) -> str | None:
    """Return the column that names the tenant of a row."""
    return "id" if table.name == "businesses" else "business_id" if "business_id" in table.c else None


def tenant_columns(table: Table) -> tuple[str, ...]:
    """Return the columns that name a row's owners: an operator and a tenant may share a row."""
    column = tenant_column(table)
    shared = ("operator_id",) if column and "operator_id" in table.c else ()
    return (*shared, column) if column else ()


def protect_tables(connection: Connection) -> None:
    """Create the missing row-security policies of the tenants' tables.

    Log a warning where the role bypasses policies: a superuser, or one with BYPASSRLS.

    Source: https://www.postgresql.org/docs/current/ddl-rowsecurity.html
    """
    if connection.dialect.name != "postgresql":
        return
    if connection.execute(_ABOVE_POLICIES).scalar():
        logger().warning("database.above_policies")
    protected = set(connection.execute(_PROTECTED, {"policy": POLICY}).scalars())
    for table in metadata.sorted_tables:
        columns = tenant_columns(table)
        if not columns or table.name in protected:
            continue
        # As a sub-select the setting is read once for a statement, not once for each row.
        allowed = f"(SELECT coalesce(current_setting('{_SETTING}', true), '')) IN ('', {', '.join(columns)})"
        for statement in (
            f"DROP POLICY IF EXISTS {_OLD_POLICY} ON {table.name}",
            f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY {POLICY} ON {table.name} USING ({allowed}) WITH CHECK ({allowed})",
        ):
            connection.execute(text(statement))


type Listener = Callable[[], None]
type Tables = Collection[str] | None
"""Names of tables; None means any table."""

_ANY: Final = "*"
_NO_TABLE: Final = ""
"""Marker of a change without listeners, so that the set of changes is not empty."""
_CHANGES: Final = "changed_tables"
_WRITES_WITHIN: Final = re.compile(
    r"\b(?:INSERT(?: OR \w+)?\s+INTO|DELETE\s+FROM|MERGE\s+INTO|(?<!FOR )(?<!KEY )UPDATE)\b"
)
"""Writes inside of a ``WITH``; row locks do not count."""
_WRITES: Final = re.compile(r'\s*(?:INSERT(?: OR \w+)? INTO|UPDATE(?: OR \w+)?|DELETE FROM|(WITH))\s+"?(\w+)')


@lru_cache(maxsize=2_048)
def table_of(sql: str) -> str:
    """Return the table that a statement writes to, ``*`` for an unclear one, empty for a query."""
    match = _WRITES.match(sql)
    if match is None:
        return ""
    if match[1]:
        return _ANY if _WRITES_WITHIN.search(sql) else ""
    return match[2]


def note_changes(source: Engine | Connection) -> None:
    """Record the tables that later statements of an engine or a connection write to."""

    def note(connection: Connection, _cursor: object, sql: str, *_rest: Any) -> None:
        note_change(connection, sql)

    event.listen(source, "before_cursor_execute", note)


def note_change(connection: Connection, sql: str) -> None:
    """Record the table of a statement that bypasses SQLAlchemy."""
    table = table_of(sql)
    if table:
        connection.info.setdefault(_CHANGES, set()).add(table)


def take_changes(connection: Connection) -> Tables:
    """Return the tables written to since the last call; None when unknown."""
    changed: set[str] = connection.info.pop(_CHANGES, set())
    return None if not changed or _ANY in changed else changed


def has_changes(connection: Connection) -> bool:
    """Return whether a recorded statement wrote since the last `take_changes`."""
    return bool(connection.info.get(_CHANGES))


def keep_to_ourselves(connection: Connection, table: str) -> None:
    """Suppress notices of the changes to a table so far, as the caller has handled them."""
    changed: set[str] = connection.info.get(_CHANGES, set())
    if table in changed:
        changed.remove(table)
        changed.add(_NO_TABLE)


def names_of(tables: Tables) -> str:
    """Return changed tables as one line for other processes; empty when unknown.

    Changes that this process suppressed for itself count as unknown.
    """
    return "" if tables is None or _NO_TABLE in tables else ",".join(sorted(tables))


def tables_of(names: str) -> Tables:
    """Parse the line of `names_of`."""
    return names.split(",") if names else None


def concerns(tables: Tables, changed: Tables) -> bool:
    """Return whether a listener of some tables is affected by changes of others."""
    return tables is None or changed is None or not set(tables).isdisjoint(changed)


type Work[T] = Callable[[Tx], T]

LONG_AT_ONCE: Final = 2
"""Concurrent long reads of a process, at most one per tenant, so that short work stays fast."""

STATEMENTS_KEPT: Final = 2_000
"""Size of the cache of compiled statements, some 25 kB each; compiling one takes a millisecond."""


class Database(ABC):
    """Storage of one installation.

    ``read`` and ``write`` are for the event loop, ``read_now`` and ``write_now`` for plain code. A write
    returns after a durable commit; an exception rolls it back. Long reads use ``read_long`` or ``run_aside``.
    Long work writes in batches, ``in_background``, which yield to requests. A request that may change many
    rows uses ``write_each``, so that other writes come in between.
    """

    def __init__(self, engine: Engine, clock: Clock, vault: Vault, ports: Parts) -> None:
        self.engine = engine
        self.clock = clock
        self.vault = vault
        self.ports = ports
        self._listeners: list[tuple[Listener, Tables]] = []
        self._long = TenantSlots(LONG_AT_ONCE, 1)
        self._aside = ThreadPoolExecutor(LONG_AT_ONCE, thread_name_prefix="aside")

    parallel_batches: int
    """Useful concurrency of batches of one kind of work, or of requests of one tenant."""

    @abstractmethod
    async def read[T](self, work: Work[T]) -> T: ...

    @abstractmethod
    async def write[T](self, work: Work[T], *, in_background: bool = False) -> T: ...

    async def write_each[I, R](self, items: Sequence[I], work: Callable[[Tx, I], R]) -> list[R]:
        """Run a write for each item, with as many per transaction as fit into the time of a batch.

        Writes of other tenants come in between. When an item raises, earlier transactions remain committed.
        """
        results: list[R] = []

        def write_batch(tx: Tx) -> list[R]:
            return [work(tx, item) for item in in_time(items[len(results) :])]

        while len(results) < len(items):
            results += await (self.write_more(write_batch) if results else self.write(write_batch))
        return results

    async def write_more[T](self, work: Work[T]) -> T:
        """Write for a request that has its audit entry already."""
        return await self.write(work)

    @abstractmethod
    def read_now[T](self, work: Work[T]) -> T: ...

    @abstractmethod
    def write_now[T](self, work: Work[T], *, in_background: bool = False) -> T: ...

    async def read_long[T](self, work: Work[T], business_id: str = "") -> T:
        """Read in a thread beside the event loop; few run at once, in turn by tenant."""
        return await self.run_aside(lambda: self.read_now(work), business_id)

    async def run_aside[T](self, work: Callable[[], T], business_id: str = "") -> T:
        """Run plain code with long reads in a thread; few run at once, in turn by tenant.

        The default tenant is that of the request.
        """
        async with slot_released(), self._long.of(business_id or acting_for()):
            run = copy_context().run
            return await asyncio.get_running_loop().run_in_executor(self._aside, run, work)

    @abstractmethod
    async def append(self, statement: Any, row: Row | MadeLater) -> None:
        """Run one insert of a hot path, in a commit group with others.

        A row may be a function, which runs in the writer's thread; its exception is raised here.
        """

    def close(self) -> None:
        """Stop the threads of `run_aside`; subclasses close the rest."""
        self._aside.shutdown(wait=True, cancel_futures=True)

    @abstractmethod
    async def watch(self) -> None:
        """Notify listeners of commits by other processes, until cancelled; SQLite notifies of none."""

    def on_commit(self, listener: Listener, tables: Tables = None) -> None:
        """Call ``listener`` after every commit that changed something, in the committing thread.

        It must return at once. Commits without a change do not count, else the worker would wake itself
        forever. With ``tables`` it is called for changes of these tables, and for unknown changes, such as
        commits of other processes.
        """
        self._listeners.append((listener, tables))

    def _committed(self, changed: Tables = None) -> None:
        for listener, tables in self._listeners:
            if concerns(tables, changed):
                with suppress(RuntimeError):  # its event loop is closed
                    listener()


class CommitSignal:
    """Signal to one coroutine that a commit changed some tables."""

    def __init__(self, db: Database, tables: Tables) -> None:
        self._loop, self._poked = asyncio.get_running_loop(), asyncio.Event()
        db.on_commit(self._poke, tables)

    def _poke(self) -> None:
        if not (self._poked.is_set() or self._loop.is_closed()):
            self._loop.call_soon_threadsafe(self._poked.set)

    async def wait(self, most_s: float, gather_s: float) -> None:
        """Wait for a commit, and a little longer for others; at most ``most_s`` seconds without one."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._poked.wait(), most_s)
            await asyncio.sleep(gather_s)
        self._poked.clear()


class RequestDatabase(Database):
    """Database of one request: it records reads of contact data, and each `write` has an audit entry.

    Args:
        db: database of the installation.
        reads: records of the request.
        follow: appends the entry, in the transaction of a write and with its result; None for a request that
            changes nothing.
    """

    def __init__(self, db: Database, reads: ContactReads, follow: Callable[[Tx, Any], None] | None) -> None:
        self._db, self._reads, self._follow = db, reads, follow
        self.engine, self.clock, self.vault, self.ports = db.engine, db.clock, db.vault, db.ports
        self.parallel_batches = db.parallel_batches

    def _recorded[T](self, work: Work[T]) -> Work[T]:
        return lambda tx: work(replace(tx, contact_reads=self._reads))

    async def read[T](self, work: Work[T]) -> T:
        return await self._db.read(self._recorded(work))

    async def write[T](self, work: Work[T], *, in_background: bool = False) -> T:
        follow, recorded = self._follow, self._recorded(work)
        if follow is None:
            return await self._db.write(recorded, in_background=in_background)

        def both(tx: Tx) -> T:
            result = recorded(tx)
            follow(tx, result)
            return result

        return await self._db.write(both, in_background=in_background)

    async def write_more[T](self, work: Work[T]) -> T:
        return await self._db.write(self._recorded(work))

    def read_now[T](self, work: Work[T]) -> T:
        return self._db.read_now(self._recorded(work))

    def write_now[T](self, work: Work[T], *, in_background: bool = False) -> T:
        return self._db.write_now(self._recorded(work), in_background=in_background)

    async def run_aside[T](self, work: Callable[[], T], business_id: str = "") -> T:
        return await self._db.run_aside(work, business_id)

    async def append(self, statement: Any, row: Row | MadeLater) -> None:
        await self._db.append(statement, row)

    async def watch(self) -> None:
        await self._db.watch()

    def on_commit(self, listener: Listener, tables: Tables = None) -> None:
        self._db.on_commit(listener, tables)


LEAST: Final = 2_000
"""Fewest rows that are cached."""
PER_ROW: Final = timedelta(microseconds=5)
"""Greatest age per counted row after a change: 50 times as long as counting takes."""
MOST_CHANGED: Final = timedelta(seconds=1)
"""Upper bound of that age, as the reader may have made the change."""
MOST_AGE: Final = timedelta(seconds=10)
"""Greatest age without a change, as tasks become overdue without one."""
_MOST_CACHED: Final = 2_000

type Counts[K] = Mapping[K, int]


@dataclass(frozen=True, slots=True)
class _CachedCount:
    counts: Counts[Any]
    rows: int
    state: object
    at: datetime


class CachedCounts:
    """Cache of counts.

    A count costs as much as it counts. While no commit changes the tables, the last one is right. Where
    commits never end, it is reused for a time in proportion to its size, so that counting takes a constant
    share of a process. Few rows are counted each time, so that small tenants see each change at once.

    Args:
        db: database to count in.
        tables: changes of these invalidate the counts.
        least: fewest rows that are cached.
        per_row: greatest age per counted row after a change.
    """

    def __init__(
        self, db: Database, tables: Collection[str], least: int = LEAST, per_row: timedelta = PER_ROW
    ) -> None:
        self._clock = db.clock
        self._least, self._per_row = least, per_row
        self._cached: OrderedDict[Hashable, _CachedCount] = OrderedDict()
        self._state = object()
        db.on_commit(self._invalidate, tables)

    def _invalidate(self) -> None:
        self._state = object()

    def begin(self) -> "CountReader":
        """Return a reader; call this before the transaction that may count."""
        return CountReader(self, self._state)

    def find[K](self, key: Hashable, state: object, count: Callable[[], Counts[K]]) -> Counts[K]:
        """Return the cached count of this key, or the result of ``count``.

        ``state`` is that of before the transaction that counts.
        """
        at, cached = self._clock.now(), self._cached.get(key)
        if cached is not None:
            is_current = cached.state is self._state
            most = MOST_AGE if is_current else min(MOST_CHANGED, cached.rows * self._per_row)
            if timedelta() <= at - cached.at < most:
                return cast("Counts[K]", cached.counts)
        counts = count()
        rows = sum(counts.values())
        if rows >= self._least:
            self._cached[key] = _CachedCount(counts, rows, state, at)
            self._cached.move_to_end(key)
            if len(self._cached) > _MOST_CACHED:
                self._cached.popitem(last=False)
        else:
            self._cached.pop(key, None)
        return counts


@dataclass(frozen=True, slots=True)
class CountReader:
    """Counts for one transaction, from the cache or the tables."""

    cache: CachedCounts
    state: object

    def find[K](self, key: Hashable, count: Callable[[], Counts[K]]) -> Counts[K]:
        """Return the count of this key, which identifies all that is counted."""
        return self.cache.find(key, self.state, count)


_OTHER_USERS: Final = stat.S_IRWXG | stat.S_IRWXO
_FILE_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")
"""Suffixes of SQLite's files, which inherit the rights of the database."""


def take_from_others(paths: Iterable[Path]) -> None:
    """Remove the rights of other users from existing files, such as a restored backup."""
    for path in paths:
        if path.is_file() and (mode := path.stat().st_mode) & _OTHER_USERS:
            path.chmod(stat.S_IMODE(mode) & ~_OTHER_USERS)


def files_of_sqlite(url: str) -> list[Path]:
    """Return the files of a SQLite URL; none for another engine."""
    path = url.removeprefix("sqlite:///").partition("?")[0]
    return [Path(f"{path}{end}") for end in _FILE_SUFFIXES] if path != url else []


def open_database(url: str, clock: Clock, vault: Vault, ports: Parts = NO_PARTS) -> Database:
    """Open the storage of a SQLAlchemy URL.

    Raises:
        ValueError: the scheme is neither sqlite nor postgresql.
    """
    # Loaded lazily: the driver of PostgreSQL takes 10 MiB of memory.
    opened: Database
    if url.startswith("sqlite:"):
        opened = import_module("contatto.kit.db.sqlite").SqliteDatabase(url, clock, vault, ports)
        return opened
    if url.startswith("postgresql"):
        postgres_url = url.replace("postgresql://", "postgresql+psycopg://", 1)
        opened = import_module("contatto.kit.db.postgres").PostgresDatabase(postgres_url, clock, vault, ports)
        return opened
    raise ValueError("database_url must start with sqlite: or postgresql:")


def open_storage(settings: Settings, clock: Clock, ports: Parts) -> Database:
    """Open the storage of an installation with its keys, readable by its owner only."""
    vault = vault_of(load_keys(settings.secret_keys, settings.data_dir))
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    take_from_others([settings.data_dir / KEY_FILE, *files_of_sqlite(settings.url)])
    return open_database(settings.url, clock, vault, ports)
