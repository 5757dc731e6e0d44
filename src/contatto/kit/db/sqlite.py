"""SQLite as the embedded default: WAL, reads in place, and one writer thread that groups commits."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from contatto.kit.clock import Clock
from contatto.kit.db.database import Database, Waiting, Work, followed
from contatto.kit.db.hot import insert_rows
from contatto.kit.db.tx import Row, Tx
from contatto.kit.vault import Vault

GROUP_LIMIT: Final = 512
"""Most writes that share one commit; more only makes the first of them wait."""

LEARNS_AFTER: Final = 2_000
"""Changed rows after which the database finds out anew what its tables hold."""
_GROWN_PAGES: Final = 2_000
"""Pages of a file that has more in it than empty tables."""
_LEARN: Final = "PRAGMA optimize=0x10002"
"""Without it SQLite takes a tenant for as rare as a lead, and reads all rows of a tenant to find one lead's.

It looks at some hundred rows of each index, and only of tables that grew tenfold since the last time.
Source: https://www.sqlite.org/lang_analyze.html
"""

_HAS_FIGURES: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_stat1'"

_PRAGMAS: Final = (
    "PRAGMA busy_timeout=10000",  # first, as the change to WAL of a new file may have to wait too
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA wal_autocheckpoint=4000",  # 16 MiB: with its 1000 pages, a batch of touches pays for a checkpoint
    "PRAGMA cache_size=-65536",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA analysis_limit=400",
)


@dataclass(slots=True)
class _Job:
    """One write that waits: either work, or an insert that may be grouped with its like."""

    waiting: Waiting[Any]
    work: Work[Any] | None = None
    statement: Any = None
    row: Row | None = None
    result: Any = None
    error: BaseException | None = None


class SqliteDatabase(Database):
    """One file, many readers, one writer thread.

    Writes queue up while a commit is on its way to the disk; the next commit takes all of them. Each keeps
    its own savepoint, so one that fails takes nothing from the others.
    """

    def __init__(self, url: str, clock: Clock, vault: Vault) -> None:
        engine = create_engine(url, poolclass=QueuePool, pool_size=4, max_overflow=12, hide_parameters=True)
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "checkout", self._renew)
        super().__init__(engine, clock, vault)
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        self._learnt = 0
        with engine.connect() as connection:  # a new file becomes WAL here, before anybody else has it open
            has_grown = connection.exec_driver_sql("PRAGMA page_count").scalar_one() > _GROWN_PAGES
            connection.rollback()
            if has_grown:
                _learn(connection)
        self._writer = threading.Thread(target=self._write_groups, name="sqlite-writer", daemon=True)
        self._writer.start()

    async def read[T](self, work: Work[T]) -> T:
        return self.read_now(work)

    def read_now[T](self, work: Work[T]) -> T:
        with self.engine.connect() as connection:
            return work(Tx(connection, self.clock.now(), self.vault))

    async def write[T](self, work: Work[T]) -> T:
        waiting: Waiting[T] = Waiting(asyncio.get_running_loop())
        self._enqueue(_Job(waiting, work=followed(work)))
        return await waiting.future  # type: ignore[misc, no-any-return]  # a loop's future, as there is a loop

    def write_now[T](self, work: Work[T]) -> T:
        waiting: Waiting[T] = Waiting(None)
        self._enqueue(_Job(waiting, work=work))
        return waiting.future.result()

    async def append(self, statement: Any, row: Row) -> None:
        waiting: Waiting[None] = Waiting(asyncio.get_running_loop())
        self._enqueue(_Job(waiting, statement=statement, row=row))
        await waiting.future  # type: ignore[misc]  # as above

    def _enqueue(self, job: _Job) -> None:
        if self._closed:
            raise RuntimeError("the database is closed")
        self._queue.put(job)

    def close(self) -> None:
        self._closed = True
        self._queue.put(None)
        self._writer.join()
        self.engine.dispose()

    def _write_groups(self) -> None:
        with self.engine.connect().execution_options(writes=True) as connection:
            learnt = 0
            while (group := self._next_group()) is not None:
                self._commit_group(connection, group)
                if _count_changes(connection) - learnt > LEARNS_AFTER:
                    self._learnt += _learn(connection)
                    learnt = _count_changes(connection)

    def _renew(self, _connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        """A connection reads the figures when it opens; of an older one another takes the place."""
        if record.info.setdefault("learnt", self._learnt) != self._learnt:
            raise DisconnectionError

    def _next_group(self) -> list[_Job] | None:
        first = self._queue.get()
        if first is None:
            return None
        group = [first]
        while len(group) < GROUP_LIMIT:
            try:
                job = self._queue.get_nowait()
            except Empty:
                break
            if job is None:
                self._queue.put(None)
                break
            group.append(job)
        return group

    def _commit_group(self, connection: Connection, group: list[_Job]) -> None:
        changed = False
        try:
            with connection.begin():
                before = _count_changes(connection)
                tx = Tx(connection, self.clock.now(), self.vault)
                works = [job for job in group if job.work is not None]
                _append_all(tx, [job for job in group if job.work is None])
                for job in works:
                    _attempt(tx, job)
                changed = _count_changes(connection) != before
        except Exception as error:  # the commit itself failed: every caller must hear of it
            connection.invalidate()  # it may still be inside of the failed transaction; the next is fresh
            for job in group:
                job.error = job.error or error
        _settle(group)
        if changed:
            self._committed()


def _learn(connection: Connection) -> bool:
    """Find out what the tables hold; say whether anything is known now that was not."""
    with suppress(DBAPIError), connection.begin():
        before = _list_figures(connection)
        connection.exec_driver_sql(_LEARN)
        return _list_figures(connection) != before
    return False


def _list_figures(connection: Connection) -> list[Any]:
    if not connection.exec_driver_sql(_HAS_FIGURES).scalar_one():
        return []
    return list(connection.exec_driver_sql("SELECT tbl, idx, stat FROM sqlite_stat1").all())


def _count_changes(connection: Connection) -> int:
    """Rows that were changed through this connection so far."""
    changes: int = connection.connection.dbapi_connection.total_changes  # type: ignore[union-attr]
    return changes


def _append_all(tx: Tx, jobs: list[_Job]) -> None:
    """Insert rows of one statement together; if that fails, one by one, so that only the bad one fails."""
    alike: dict[int, list[_Job]] = defaultdict(list)
    for job in jobs:
        alike[id(job.statement)].append(job)
    for batch in alike.values():
        try:
            with tx.connection.begin_nested():
                insert_rows(tx, batch[0].statement, [job.row or {} for job in batch])
        except Exception:  # found again, and given to its caller, below
            for job in batch:
                job.work = _insert(job.statement, job.row)
                _attempt(tx, job)


def _insert(statement: Any, row: Row | None) -> Callable[[Tx], None]:
    def insert_one(tx: Tx) -> None:
        tx.execute(statement, row)

    return insert_one


def _attempt(tx: Tx, job: _Job) -> None:
    if job.work is None or job.error is not None:
        return
    savepoint = tx.connection.begin_nested()
    try:
        job.result = job.work(tx)
        savepoint.commit()
    except BaseException as error:  # it belongs to the caller, not to the writer
        job.error = error
        savepoint.rollback()


def _settle(group: list[_Job]) -> None:
    """Wake the callers, with one call for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = defaultdict(list)
    for job in group:
        if job.waiting.loop is None:
            job.waiting.settle(job.result, job.error)
        else:
            by_loop[job.waiting.loop].append(job)
    for loop, jobs in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle_here, jobs)


def _settle_here(jobs: list[_Job]) -> None:
    for job in jobs:
        job.waiting.settle(job.result, job.error)


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves; the driver's own habit breaks savepoints
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
