"""PostgreSQL for several processes: row-level security, connections, group commits, statistics."""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, Final

import sqlalchemy as sa
from psycopg import AsyncConnection, adapters
from psycopg import Error as PsycopgError
from psycopg.abc import Buffer
from psycopg.types.string import BytesBinaryDumper, StrDumperUnknown
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from contatto.kit.db.database import STATEMENTS_KEPT, Database, acting_for
from contatto.kit.db.statements import names_of, note_changes, take_changes
from contatto.kit.db.tx import BinaryArray, Clock, Parts, Tx, Work, metadata
from contatto.kit.ids import new_id
from contatto.kit.log import logger, where
from contatto.kit.vault import Vault

POLICY: Final = "own_business"
_OLD_POLICY: Final = "one_business"
"""Predecessor, which read the setting for each row and was slow."""
_SETTING: Final = "contatto.business_id"
_ACT: Final = sa.text(f"SELECT set_config('{_SETTING}', :business_id, true)")
_PROTECTED: Final = sa.text("SELECT tablename FROM pg_policies WHERE policyname = :policy")
_ABOVE_POLICIES: Final = sa.text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")


def narrow(connection: sa.Connection, business_id: str) -> None:
    """Restrict the open transaction to the rows of one tenant; an empty id means all tenants."""
    if business_id:
        connection.execute(_ACT, {"business_id": business_id})


def tenant_column(table: sa.Table) -> str | None:
    """Return the column that names the tenant of a row."""
    return "id" if table.name == "businesses" else "business_id" if "business_id" in table.c else None


def protect_tables(connection: sa.Connection) -> None:
    """Create the missing row-security policies of the tenants' tables.

    Log a warning where the role bypasses policies: a superuser, or one with BYPASSRLS.

    Source: https://www.postgresql.org/docs/current/ddl-rowsecurity.html
    """
    if connection.execute(_ABOVE_POLICIES).scalar():
        logger().warning("database.above_policies")
    protected = set(connection.execute(_PROTECTED, {"policy": POLICY}).scalars())
    for table in metadata.sorted_tables:
        column = tenant_column(table)
        shared = ("operator_id",) if column and "operator_id" in table.c else ()
        columns = (*shared, column) if column else ()
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
            connection.execute(sa.text(statement))


LOOKS_AFTER_S: Final = 2.0
"""Interval of checks, and delay of the first one."""
GROWN_ROWS: Final = 1_000
"""Least changed rows for an update; of larger tables as many as they have."""

_GROWN: Final = sa.text(
    "SELECT quote_ident(relname) FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
    " AND pg_has_role(relowner, 'USAGE')"
    " AND pg_stat_get_mod_since_analyze(oid) > greatest(:rows, reltuples)"
)


def analyze_grown_tables(connection: sa.Connection) -> list[str]:
    """Update the statistics of tables that doubled, by a connection in autocommit mode; return their names.

    The server does so once a minute at the earliest; until then prepared statements keep plans for empty
    tables.

    Source: https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-STATISTICS
    """
    grown = list(connection.execute(_GROWN, {"rows": GROWN_ROWS}).scalars())
    for table in grown:
        connection.exec_driver_sql(f"ANALYZE (SKIP_LOCKED) {table}")
    return grown


class _ArrayDumper(BytesBinaryDumper):
    """Dumper of binary arrays, of which the server takes the type from the cast of the SQL."""

    oid = 0


CONNECTIONS: Final = 10
CHANNEL: Final = "contatto_commits"
_NOTIFY: Final = sa.text(
    f"SELECT pg_notify('{CHANNEL}', :payload) WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
)
"""Notifies other processes, and returns a row, if the transaction changed something and so has an id.

Source: https://www.postgresql.org/docs/current/sql-notify.html
"""
_AGAIN_S: Final = 1.0
_RESTED_S: Final = 1.0
"""Idle time after which a connection is pinged before use, as the server may have restarted.

Pinging always would add a round trip to each transaction, which has some five.
"""


class PostgresDatabase(Database):
    """Connection per transaction, in threads, so that the event loop never waits for the server."""

    parallel_batches = 3

    def __init__(self, url: str, clock: Clock, vault: Vault, ports: Parts) -> None:
        adapters.register_dumper(BinaryArray, _ArrayDumper)
        adapters.register_dumper(str, _TextWithoutNul)
        engine = sa.create_engine(
            url, pool_size=CONNECTIONS, max_overflow=0, hide_parameters=True, query_cache_size=STATEMENTS_KEPT
        )
        dialect = engine.dialect

        @sa.event.listens_for(engine, "checkin")
        def note_rest(_connection: Any, record: ConnectionPoolEntry) -> None:
            record.info["rests_since"] = time.monotonic()

        @sa.event.listens_for(engine, "checkout")
        def ping_rested(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
            if time.monotonic() - record.info.get("rests_since", time.monotonic()) > _RESTED_S:
                try:
                    dialect.do_ping(connection)
                except PsycopgError as error:
                    raise DisconnectionError from error  # the pool opens another one

        note_changes(engine)
        super().__init__(engine, clock, vault, ports)
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="postgres")
        self._analyzes_at = time.monotonic() + LOOKS_AFTER_S
        self._process = new_id()
        self._lock = threading.Lock()

    async def read[T](self, work: Work[T]) -> T:
        return await self._in_thread(self.read_now, work)

    async def write[T](self, work: Work[T], *, in_background: bool = False, is_hurried: bool = True) -> T:
        return await self._in_thread(self.write_now, work)

    async def _in_thread[T](self, run: Callable[[Work[T]], T], work: Work[T]) -> T:
        """Run in a thread of the pool, with the context of the caller."""
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, run, work)

    def read_now[T](self, work: Work[T]) -> T:
        with self.engine.connect() as connection:
            narrow(connection, acting_for())
            return work(Tx(connection, self.clock.now(), self.vault, self.ports, is_reading=True))

    def write_now[T](self, work: Work[T], *, in_background: bool = False) -> T:
        with self.writing() as tx:
            return work(tx)

    @contextmanager
    def writing(self) -> Iterator[Tx]:
        with self.engine.begin() as connection:
            narrow(connection, acting_for())
            take_changes(connection)
            yield Tx(connection, self.clock.now(), self.vault, self.ports)
            tables = take_changes(connection)
            payload = {"payload": f"{self._process} {names_of(tables)}"}
            may_have_changed = tables is None or len(tables) > 0
            is_changed = may_have_changed and connection.execute(_NOTIFY, payload).first() is not None
        if is_changed:
            self._committed(tables)
            with self._lock:
                is_time = time.monotonic() >= self._analyzes_at
                if is_time:
                    self._analyzes_at = math.inf  # until this check has ended
            if is_time:
                with suppress(RuntimeError):  # the threads have ended
                    self._threads.submit(self._analyze)

    def _analyze(self) -> None:
        """Update the statistics of grown tables, while something is written."""
        try:
            with self.engine.connect() as connection:
                analyze_grown_tables(connection.execution_options(isolation_level="AUTOCOMMIT"))
        except DBAPIError as error:  # statistics only make queries faster
            logger().warning("database.not_learnt", error_at=where(error))
        finally:
            self._analyzes_at = time.monotonic() + LOOKS_AFTER_S

    async def watch(self) -> None:
        url = self.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while True:
            try:
                async with await AsyncConnection.connect(url, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    async for notice in connection.notifies():
                        process, _, names = notice.payload.partition(" ")
                        if process != self._process:
                            self._committed(names.split(",") if names else None)
            except PsycopgError as error:  # meanwhile the worker polls the tables
                logger().warning("database.not_watched", error_at=where(error))
                await asyncio.sleep(_AGAIN_S)

    def close(self) -> None:
        self._threads.shutdown()
        super().close()
        self.engine.dispose()


class _TextWithoutNul(StrDumperUnknown):
    """Dumper of texts; PostgreSQL stores no NUL character, so it becomes U+FFFD."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\ufffd"))
