"""PostgreSQL for several processes: connection pool, group commits and fresh statistics."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Final

from psycopg import AsyncConnection, adapters
from psycopg import Error as PsycopgError
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import Connection, Dialect, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from contatto.kit.clock import Clock
from contatto.kit.db.database import (
    STATEMENTS_KEPT,
    Database,
    Tables,
    Work,
    acting_for,
    followed,
    has_changes,
    names_of,
    narrow,
    note_changes,
    tables_of,
    take_changes,
)
from contatto.kit.db.prepared import insert_rows
from contatto.kit.db.tx import MadeLater, Parts, Row, Tx
from contatto.kit.db.types import KINDS, ArrayKind
from contatto.kit.db.write_queue import GROUP_LIMIT, InsertBatcher, Write, group_alike, list_made, settle
from contatto.kit.ids import new_id
from contatto.kit.log import logger, where
from contatto.kit.vault import Vault

LOOKS_AFTER_S: Final = 2.0
"""How long it waits between two looks, and before the first."""
GROWN_ROWS: Final = 1_000
"""Changed rows that matter; of a table that has more, as many as it has."""

_GROWN: Final = text(
    "SELECT quote_ident(relname) FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
    " AND pg_has_role(relowner, 'USAGE')"
    " AND pg_stat_get_mod_since_analyze(oid) > greatest(:rows, reltuples)"
)


def analyze_grown_tables(connection: Connection) -> list[str]:
    """Find out what those tables hold that doubled since that was known; say which these are.

    Args:
        connection: one that commits each statement by itself.
    """
    grown = list(connection.execute(_GROWN, {"rows": GROWN_ROWS}).scalars())
    for table in grown:
        connection.exec_driver_sql(f"ANALYZE (SKIP_LOCKED) {table}")
    return grown


class StatisticsRefresher:
    """Looks for tables that grew, beside the work, now and then while something is written.

    Args:
        run: runs in a thread.
    """

    def __init__(self, engine: Engine, run: Callable[[Callable[[], None]], object]) -> None:
        self._engine = engine
        self._run = run
        self._lock = threading.Lock()
        self._looks_at = time.monotonic() + LOOKS_AFTER_S

    def wrote(self) -> None:
        """Something was written; it may be time to look."""
        if time.monotonic() < self._looks_at:
            return
        with self._lock:
            if time.monotonic() < self._looks_at:
                return
            self._looks_at = float("inf")  # until this one has ended
        try:
            self._run(self._look)
        except RuntimeError:  # the threads have ended
            return

    def _look(self) -> None:
        try:
            with self._engine.connect() as connection:
                analyze_grown_tables(connection.execution_options(isolation_level="AUTOCOMMIT"))
        except DBAPIError as error:  # it only makes things quicker
            logger().warning("database.not_learnt", error_at=where(error))
        finally:
            self._looks_at = time.monotonic() + LOOKS_AFTER_S


def register_dumpers() -> None:
    """For all connections of this process that are opened from now on."""
    for kind in KINDS.values():
        adapters.register_dumper(kind.shape, _dumper(kind))


def _dumper(kind: ArrayKind) -> type[Dumper]:
    class _AsItIs(Dumper):
        format = Format.BINARY
        oid = kind.array

        def dump(self, obj: Any) -> bytes:
            return bytes(obj)

    return _AsItIs


CONNECTIONS: Final = 10
CHANNEL: Final = "contatto_commits"
_TELL: Final = text(
    f"SELECT pg_notify('{CHANNEL}', :told) WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
)
"""Tells other processes of a change, and us by a row: a transaction has a number from its first change on.

Source: https://www.postgresql.org/docs/current/sql-notify.html
"""
_AGAIN_S: Final = 1.0
_RESTED_S: Final = 1.0
"""A connection that rested for longer is tried before it is used: the server may have been started anew.

To try each would be one more way to the server for each transaction, of some five.
"""


class PostgresDatabase(Database):
    """Each transaction has a connection of its own; the event loop never waits for the server."""

    parallel_batches = 3

    def __init__(self, url: str, clock: Clock, vault: Vault, ports: Parts) -> None:
        register_dumpers()
        engine = create_engine(
            url, pool_size=CONNECTIONS, max_overflow=0, hide_parameters=True, query_cache_size=STATEMENTS_KEPT
        )
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "checkin", _note_rest)
        event.listen(engine, "checkout", partial(_try_rested, engine.dialect))
        note_changes(engine)
        super().__init__(engine, clock, vault, ports)
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="postgres")
        self._learner = StatisticsRefresher(engine, self._threads.submit)
        self._process = new_id()
        self._rows = InsertBatcher(self._take_rows)
        self._lock = threading.Lock()
        self._waiting_rows: list[Write] = []
        self._is_appending = False

    async def read[T](self, work: Work[T]) -> T:
        return await self._in_thread(self.read_now, work)

    async def write[T](self, work: Work[T], *, in_background: bool = False) -> T:
        return await self._in_thread(self.write_now, followed(work))

    async def _in_thread[T](self, run: Callable[[Work[T]], T], work: Work[T]) -> T:
        """Run in one of our threads, for the same business as here."""
        here = copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, here.run, run, work)

    def read_now[T](self, work: Work[T]) -> T:
        with self.engine.connect() as connection:
            narrow(connection, acting_for())
            return work(Tx(connection, self.clock.now(), self.vault, self.ports, is_reading=True))

    def write_now[T](self, work: Work[T], *, in_background: bool = False) -> T:
        with self.engine.begin() as connection:
            narrow(connection, acting_for())
            take_changes(connection)
            result = work(Tx(connection, self.clock.now(), self.vault, self.ports))
            may_have_changed = has_changes(connection)
            tables = take_changes(connection)
            is_changed = may_have_changed and self._tell(connection, tables)
        if is_changed:
            self._committed(tables)
            self._learner.wrote()
        return result

    def _tell(self, connection: Connection, tables: Tables) -> bool:
        """Tell other processes of a change at the commit; False where nothing was changed."""
        told = f"{self._process} {names_of(tables)}"
        return connection.execute(_TELL, {"told": told}).first() is not None

    async def append(self, statement: Any, row: Row | MadeLater) -> None:
        await self._rows.put(statement, row)

    def _take_rows(self, rows: list[Write]) -> None:
        with self._lock:
            self._waiting_rows += rows
            if not self._is_appending:
                self._threads.submit(self._append_rows)
                self._is_appending = True

    def _append_rows(self) -> None:
        """Append what waits: one transaction after the other, each with all that came meanwhile."""
        while True:
            with self._lock:
                rows = self._waiting_rows[:GROUP_LIMIT]
                del self._waiting_rows[:GROUP_LIMIT]
                if not rows:
                    self._is_appending = False
                    return
            for alike in group_alike(list_made(rows)):
                self._append_alike(alike)

    def _append_alike(self, rows: list[Write]) -> None:
        """Append rows of one statement and one business together; if that fails, each by itself."""

        def insert(tx: Tx, some: list[Write]) -> None:
            narrow(tx.connection, some[0].business_id)
            insert_rows(tx, some[0].statement, [write.row or {} for write in some])

        try:
            self.write_now(partial(insert, some=rows))
        except OperationalError as error:  # no row is at fault: the database is away, or has no room
            for write in rows:
                write.error = error
        except Exception:  # found again, and given to its caller
            for write in rows:
                try:
                    self.write_now(partial(insert, some=[write]))
                except BaseException as error:
                    write.error = error
        settle(rows)

    async def watch(self) -> None:
        url = self.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while True:
            try:
                async with await AsyncConnection.connect(url, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    async for told in connection.notifies():
                        process, _, names = told.payload.partition(" ")
                        if process != self._process:
                            self._committed(tables_of(names))
            except PsycopgError as error:  # until it is back, the tables are looked at now and then
                logger().warning("database.not_watched", error_at=where(error))
                await asyncio.sleep(_AGAIN_S)

    def close(self) -> None:
        self._threads.shutdown()
        super().close()
        self.engine.dispose()


def _note_rest(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["rests_since"] = time.monotonic()


def _try_rested(dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    if time.monotonic() - record.info.get("rests_since", time.monotonic()) > _RESTED_S:
        try:
            dialect.do_ping(connection)
        except PsycopgError as error:
            raise DisconnectionError from error  # another takes its place


class _TextWithoutNul(StrDumperUnknown):
    """Sends texts. PostgreSQL knows no NUL character; one in a stranger's text becomes U+FFFD."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\ufffd"))


def _prepare(connection: Any, _record: object) -> None:
    connection.adapters.register_dumper(str, _TextWithoutNul)
