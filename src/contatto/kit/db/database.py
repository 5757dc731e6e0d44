"""Database access: transactions, row-level security, change notices and cached counts."""

import asyncio
import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Final, cast

from sqlalchemy import Connection, Engine, Table, event, text

from contatto.kit.clock import Clock, in_time
from contatto.kit.concurrency import Places, turn_given_up
from contatto.kit.db.tx import MadeLater, Parts, Row, Tx
from contatto.kit.db.types import metadata
from contatto.kit.log import logger
from contatto.kit.vault import Vault

_acting_for: ContextVar[str] = ContextVar("acting_for", default="")
POLICY: Final = "own_business"
_EARLIER: Final = "one_business"
"""It read the setting for each row that it let through: of a hundred thousand, that took most of the time."""
_SETTING: Final = "contatto.business_id"
_ACT: Final = text(f"SELECT set_config('{_SETTING}', :business_id, true)")
_PROTECTED: Final = text("SELECT tablename FROM pg_policies WHERE policyname = :policy")
_ABOVE_POLICIES: Final = text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")


def act_for(business_id: str) -> None:
    """From here on, transactions of this request concern this business alone."""
    _acting_for.set(business_id)


@contextmanager
def acting(business_id: str) -> Iterator[None]:
    """For a while, transactions and tasks that begin here concern another business; with an empty id, all."""
    before = _acting_for.set(business_id)
    try:
        yield
    finally:
        _acting_for.reset(before)


def acting_for() -> str:
    """The business that this request acts for; empty where there is none."""
    return _acting_for.get()


def narrow(connection: Connection, business_id: str) -> None:
    """Let the open transaction see the rows of one business; with an empty id, all."""
    if business_id:
        connection.execute(_ACT, {"business_id": business_id})


def tenant_column(table: Table) -> str | None:
    """The column that names the tenant of a row."""
    return "id" if table.name == "businesses" else "business_id" if "business_id" in table.c else None


def tenant_columns(table: Table) -> tuple[str, ...]:
    """The columns that name whose a row is: what an operator and a business share is of both."""
    column = tenant_column(table)
    shared = ("operator_id",) if column and "operator_id" in table.c else ()
    return (*shared, column) if column else ()


def protect_tables(connection: Connection) -> None:
    """Give every table of a tenant its policy; those that have it stay as they are.

    A role that no policy holds (a superuser, or one with BYPASSRLS) is warned about in the log.
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
            f"DROP POLICY IF EXISTS {_EARLIER} ON {table.name}",
            f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY {POLICY} ON {table.name} USING ({allowed}) WITH CHECK ({allowed})",
        ):
            connection.execute(text(statement))


type Listener = Callable[[], None]
type Tables = Collection[str] | None
"""Names of tables; None stands for any."""

_ANY: Final = "*"
_NO_TABLE: Final = ""
"""Stands for a change of which nobody is told; without it a transaction would look as if all were unknown."""
_KEPT: Final = "changed_tables"
_WRITES_WITHIN: Final = re.compile(
    r"\b(?:INSERT(?: OR \w+)?\s+INTO|DELETE\s+FROM|MERGE\s+INTO|(?<!FOR )(?<!KEY )UPDATE)\b"
)
"""A query may begin with WITH too; locking its rows changes none of them."""
_WRITES: Final = re.compile(r'\s*(?:INSERT(?: OR \w+)? INTO|UPDATE(?: OR \w+)?|DELETE FROM|(WITH))\s+"?(\w+)')


@lru_cache(maxsize=2_048)
def table_of(sql: str) -> str:
    """The table that a statement writes to, ``*`` for one that is not plain to see, empty for a query."""
    match = _WRITES.match(sql)
    if match is None:
        return ""
    if match[1]:
        return _ANY if _WRITES_WITHIN.search(sql) else ""
    return match[2]


def note_changes(source: Engine | Connection) -> None:
    """Note the tables of all that is written through an engine or a connection from now on."""
    event.listen(source, "before_cursor_execute", _note)


def _note(connection: Connection, _cursor: object, sql: str, *_rest: Any) -> None:
    note_change(connection, sql)


def note_change(connection: Connection, sql: str) -> None:
    """Note what a statement changes that goes past SQLAlchemy."""
    table = table_of(sql)
    if table:
        connection.info.setdefault(_KEPT, set()).add(table)


def take_changes(connection: Connection) -> Tables:
    """The tables that were written to since this was asked last; None when that is not known."""
    changed: set[str] = connection.info.pop(_KEPT, set())
    return None if not changed or _ANY in changed else changed


def has_changes(connection: Connection) -> bool:
    """Return whether anything was written since the changes were taken last, as far as its words tell."""
    return bool(connection.info.get(_KEPT))


def keep_to_ourselves(connection: Connection, table: str) -> None:
    """Wake nobody here for what was changed of a table up to now: who changed it has seen to all of it."""
    changed: set[str] = connection.info.get(_KEPT, set())
    if table in changed:
        changed.remove(table)
        changed.add(_NO_TABLE)


def names_of(tables: Tables) -> str:
    """Changed tables in a line to other processes; empty where they have to look at all of theirs.

    What was seen to here alone is among these.
    """
    return "" if tables is None or _NO_TABLE in tables else ",".join(sorted(tables))


def tables_of(names: str) -> Tables:
    """The changed tables of such a line."""
    return names.split(",") if names else None


def concerns(wanted: Tables, changed: Tables) -> bool:
    """Return whether who waits for changes of some tables is concerned by one of others."""
    return wanted is None or changed is None or not set(wanted).isdisjoint(changed)


type Work[T] = Callable[[Tx], T]

LONG_AT_ONCE: Final = 2
"""Long reads of one process at a time, one for each business: they take time from all that is quick."""

STATEMENTS_KEPT: Final = 2_000
"""Compiled statements, of some 25 kB each. Pages, API and jobs have over a thousand; one that was dropped is
compiled again, which takes a millisecond."""

FOLLOW: ContextVar[Callable[[Tx, Any], None] | None] = ContextVar("follow", default=None)
"""What is done at the end of each write of the running task, in its transaction and with its result."""


def followed[T](work: Work[T]) -> Work[T]:
    """A write with what follows it; both are kept, or neither."""
    follow = FOLLOW.get()
    if follow is None:
        return work

    def both(tx: Tx) -> T:
        result = work(tx)
        follow(tx, result)
        return result

    return both


def _run_some[I, R](tx: Tx, items: Sequence[I], work: Callable[[Tx, I], R]) -> list[R]:
    return [work(tx, item) for item in in_time(items)]


class Database(ABC):
    """Storage of one installation.

    ``read`` and ``write`` are for the event loop, ``read_now`` and ``write_now`` for plain code. A write
    returns after its commit is durable; when its work raises, nothing of it is kept. What reads for long goes
    through ``read_long`` or ``run_aside``, and long work writes in batches, ``in_background``: they give way.
    A request that may change many rows writes with ``write_each``, so that others write in between.
    """

    def __init__(self, engine: Engine, clock: Clock, vault: Vault, ports: Parts) -> None:
        self.engine = engine
        self.clock = clock
        self.vault = vault
        self.ports = ports
        self._listeners: list[tuple[Listener, Tables]] = []
        self._long = Places(LONG_AT_ONCE, 1)
        self._aside = ThreadPoolExecutor(LONG_AT_ONCE, thread_name_prefix="aside")

    parallel_batches: int
    """How many batches of one kind of work, or requests of one business, are worth doing at the same time."""

    @abstractmethod
    async def read[T](self, work: Work[T]) -> T: ...

    @abstractmethod
    async def write[T](self, work: Work[T], *, in_background: bool = False) -> T: ...

    async def write_each[I, R](self, items: Sequence[I], work: Callable[[Tx, I], R]) -> list[R]:
        """Run a write for each item, as many in one transaction as fit into the time of a batch.

        Writes of other tenants come in between. When an item raises, the transactions before its own remain.
        What follows a write, such as its audit entry, follows the first transaction alone.
        """
        results: list[R] = []
        while len(results) < len(items):
            some = partial(_run_some, items=items[len(results) :], work=work)
            results += await (self.write_more(some) if results else self.write(some))
        return results

    async def write_more[T](self, work: Work[T]) -> T:
        """Write for a request whose audit entry exists already."""
        before = FOLLOW.set(None)
        try:
            return await self.write(work)
        finally:
            FOLLOW.reset(before)

    @abstractmethod
    def read_now[T](self, work: Work[T]) -> T: ...

    @abstractmethod
    def write_now[T](self, work: Work[T], *, in_background: bool = False) -> T: ...

    async def read_long[T](self, work: Work[T], business_id: str = "") -> T:
        """A read that may take long, beside the event loop; few run at once, in turn by business."""
        return await self.run_aside(lambda: self.read_now(work), business_id)

    async def run_aside[T](self, work: Callable[[], T], business_id: str = "") -> T:
        """Plain code that reads for long, in a thread; few run at once, in turn by business.

        Without a business it is that of the request.
        """
        async with turn_given_up(), self._long.of(business_id or acting_for()):
            here = copy_context()
            return await asyncio.get_running_loop().run_in_executor(self._aside, here.run, work)

    @abstractmethod
    async def append(self, statement: Any, row: Row | MadeLater) -> None:
        """Run one insert of a hot path, grouped with others that wait for the same commit.

        What makes a row later runs in another thread, and what it raises is raised here.
        """

    def close(self) -> None:
        """End what runs aside; storage closes the rest."""
        self._aside.shutdown(wait=True, cancel_futures=True)

    @abstractmethod
    async def watch(self) -> None:
        """Tell the listeners of commits of other processes too, until cancelled."""

    def on_commit(self, listener: Listener, tables: Tables = None) -> None:
        """Call ``listener`` after every commit that changed something, from whichever thread committed.

        It must return at once. A commit without a change tells nobody: the worker would wake itself for ever.
        With ``tables`` it is told of changes of those alone, and of those of which it is not known: such as
        the commits of other processes.
        """
        self._listeners.append((listener, tables))

    def _committed(self, changed: Tables = None) -> None:
        for listener, tables in self._listeners:
            if concerns(tables, changed):
                with suppress(RuntimeError):  # its event loop is closed: nobody listens any more
                    listener()


class Waiting[T]:
    """The caller of a write: a future of its event loop, or of its thread."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self.future: asyncio.Future[T] | Future[T] = loop.create_future() if loop else Future()

    def tell(self, result: T | None, error: BaseException | None) -> None:
        """Hand over the outcome from any thread."""
        if self.loop is None:
            self.settle(result, error)
            return
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self.settle, result, error)

    def settle(self, result: T | None, error: BaseException | None) -> None:
        """Hand over the outcome; to be called in the loop's own thread if there is a loop."""
        if self.future.done():  # or cancelled
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)  # type: ignore[arg-type]  # None is a T where there was no error


LEAST: Final = 2_000
"""Rows; fewer are never remembered."""
PER_ROW: Final = timedelta(microseconds=5)
"""How old a count may be for each row in it although something changed: 50 times as long as it takes."""
MOST_CHANGED: Final = timedelta(seconds=1)
"""However much it is: somebody may have changed it on this very page."""
MOST_AGE: Final = timedelta(seconds=10)
"""How old a count may be where nothing changed: what is late becomes so by itself."""
_MOST_KEPT: Final = 2_000

type Counts[K] = Mapping[K, int]


@dataclass(frozen=True, slots=True)
class _Kept:
    counts: Counts[Any]
    rows: int
    state: object
    at: datetime


class RememberedCounts:
    """The counts of an app, by what was counted.

    Args:
        db: where they come from.
        tables: they are counted from these.
        least: rows; fewer are never remembered.
        per_row: how old a count may be for each of its rows although something changed.
    """

    def __init__(
        self, db: Database, tables: Collection[str], least: int = LEAST, per_row: timedelta = PER_ROW
    ) -> None:
        self._clock = db.clock
        self._least, self._per_row = least, per_row
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._state = object()
        db.on_commit(self._note_change, tables)

    def _note_change(self) -> None:
        self._state = object()

    def begin(self) -> "Recall":
        """To be called before the transaction begins that may count."""
        return Recall(self, self._state)

    def find[K](self, key: Hashable, state: object, count: Callable[[], Counts[K]]) -> Counts[K]:
        """What is remembered by this key, which names all that is counted; else what `count` tells.

        ``state`` is that of before the transaction that counts.
        """
        now, kept = self._clock.now(), self._kept.get(key)
        if kept is not None and self._is_good(kept, now):
            return cast("Counts[K]", kept.counts)
        counts = count()
        rows = sum(counts.values())
        if rows >= self._least:
            self._kept[key] = _Kept(counts, rows, state, now)
            self._kept.move_to_end(key)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.pop(key, None)
        return counts

    def _is_good(self, kept: _Kept, now: datetime) -> bool:
        age = now - kept.at
        most = MOST_AGE if kept.state is self._state else min(MOST_CHANGED, kept.rows * self._per_row)
        return timedelta() <= age < most


@dataclass(frozen=True, slots=True)
class Recall:
    """What one transaction may take from memory."""

    remembered: RememberedCounts
    state: object

    def find[K](self, key: Hashable, count: Callable[[], Counts[K]]) -> Counts[K]:
        """What is remembered by this key, which names all that is counted; else it is counted now."""
        return self.remembered.find(key, self.state, count)
