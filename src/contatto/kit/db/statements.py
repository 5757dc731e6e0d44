"""Statements: the tables that they change, prepared queries, bulk writes, batches of works."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass, field, fields
from functools import cache, cached_property, lru_cache
from importlib import import_module
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import OperationalError
from sqlalchemy.types import NullType

from contatto.kit.db.tx import (
    Row,
    Tx,
    Work,
    array_of,
    driver_of,
    insert_for,
    insert_or_ignore,
    maker,
    plain_insert,
)

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


def note_changes(source: sa.Engine | sa.Connection) -> None:
    """Record the tables that later statements of an engine or a connection write to."""
    sa.event.listen(
        source, "before_cursor_execute", lambda connection, _cursor, sql, *_: note_change(connection, sql)
    )


def note_change(connection: sa.Connection, sql: str) -> None:
    """Record the table of a statement that bypasses SQLAlchemy."""
    table = table_of(sql)
    if table:
        connection.info.setdefault(_CHANGES, set()).add(table)


def take_changes(connection: sa.Connection) -> Tables:
    """Return the tables that recorded statements wrote to since the last call; None when unknown."""
    changed: set[str] = connection.info.pop(_CHANGES, set())
    return None if _ANY in changed else changed


def keep_to_ourselves(connection: sa.Connection, table: str) -> None:
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


type _Convert = Callable[[Any], Any]
_DIALECT: Final = sqlite.dialect()


@dataclass(frozen=True, slots=True)
class _Bound:
    """Statement for SQLite's driver: SQL, parameter names, converters and constant values."""

    sql: str
    names: tuple[str, ...]
    converts: tuple[tuple[int, _Convert], ...]
    standing: dict[str, Any]
    """Constants of the statement, such as its limit."""

    def values_of(self, rows: Iterable[Row]) -> list[Sequence[Any]]:
        """Return the converted values of each row, in the order of the parameters."""
        names = self.names
        pick: _Convert = itemgetter(*names) if len(names) > 1 else lambda row: [row[name] for name in names]
        if self.standing:
            rows = [{**self.standing, **row} for row in rows]
        return _converted([pick(row) for row in rows], self.converts)


def _converted(rows: list[Sequence[Any]], converts: Sequence[tuple[int, _Convert]]) -> list[Sequence[Any]]:
    """Return rows with some of their places converted."""
    if not converts:
        return rows
    converted: list[Sequence[Any]] = []
    for row in rows:
        values = list(row)
        for place, convert in converts:
            values[place] = convert(values[place])
        converted.append(values)
    return converted


@lru_cache(maxsize=256)
def _bound(statement: Any, columns: tuple[str, ...] | None) -> _Bound | None:
    """Compile a statement for the driver; None where SQLAlchemy must make some values itself."""
    compiled = statement.compile(dialect=_DIALECT, column_keys=columns)
    names = tuple(compiled.positiontup or ())
    if any(compiled.binds[name].expanding for name in names):
        return None
    if getattr(compiled, "insert_prefetch", ()) or getattr(compiled, "update_prefetch", ()):
        return None
    kinds = [compiled.binds[name].type.dialect_impl(_DIALECT) for name in names]
    processors = [kind.bind_processor(_DIALECT) for kind in kinds]
    converts = tuple((place, convert) for place, convert in enumerate(processors) if convert)
    standing = {name: value for name, value in compiled.params.items() if value is not None}
    return _Bound(str(compiled), names, converts, standing)


def write_rows(tx: Tx, statement: Any, rows: Sequence[Row]) -> int:
    """Run a cached insert or update for each of the rows, in their order; each has the same columns.

    Returns:
        The number of written rows.
    """
    if not rows:
        return 0
    if tx.locks_rows and len(rows) > 1 and (count := bulk_write(tx, statement, rows)) is not None:
        return count
    columns = tuple(rows[0]) if isinstance(statement, sa.Insert) else None
    bound = None if tx.locks_rows else _bound(statement, columns)
    if bound is not None:
        note_change(tx.connection, bound.sql)
        return int(driver_of(tx).executemany(bound.sql, bound.values_of(rows)).rowcount)
    # A single row as such, since psycopg's ``executemany`` costs twice as much.
    parameters = rows[0] if len(rows) == 1 else list(rows)
    return tx.connection.execute(statement, parameters, execution_options=_ROWCOUNT).rowcount


def insert_all(tx: Tx, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert new rows of the same columns."""
    write_rows(tx, plain_insert(table), rows)


def add_counts(tx: Tx, table: sa.Table, counts: tuple[str, ...], rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows with all columns, or add their counts to those of the rows with the same primary keys.

    Rows of one key are summed first. They are written in the order of keys, so that writers never deadlock.
    """
    keys = table.primary_key.columns.keys()
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        total = sums.setdefault(tuple(row[name] for name in keys), row)
        if total is not row:
            for name in counts:
                total[name] += row[name]
    if sums:
        statement = _adding(tx.connection.dialect.name, table, counts)
        write_rows(tx, statement, [sums[key] for key in sorted(sums)])


@cache
def _adding(dialect: str, table: sa.Table, counts: tuple[str, ...]) -> Any:
    insert = insert_for(dialect, table)
    sums = {name: table.c[name] + insert.excluded[name] for name in counts}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key.columns.keys()), set_=sums)


def insert_new(tx: Tx, table: sa.Table, rows: Sequence[Row]) -> int:
    """Insert the rows with unique keys that are not taken; return how many."""
    return write_rows(tx, insert_or_ignore(tx.connection.dialect.name, table), rows)


@dataclass(eq=False)
class Query:
    """Prepared query; parameters are ``bindparam``, and a list of values is one parameter (``within``).

    SQLAlchemy takes some 60 µs to answer a query that SQLite answers in 4, so SQLite's driver runs it
    directly, with the same type conversions. On PostgreSQL the network costs more, so SQLAlchemy runs it.
    """

    _statement: Any

    def rows(self, tx: Tx, values: dict[str, Any]) -> list[Sequence[Any]]:
        """Return the rows as sequences in the order of the columns."""
        raw = self._raw(tx, values)
        return raw if tx.locks_rows else _converted(raw, self._reads)

    def _raw(self, tx: Tx, values: dict[str, Any]) -> list[Sequence[Any]]:
        """Return the rows as SQLite's driver returns them; those of PostgreSQL are converted already."""
        bound = None if tx.locks_rows else _bound(self._statement, None)
        if bound is None:
            return [tuple(row) for row in tx.execute(self._statement, values)]
        (parameters,) = bound.values_of([values])
        rows: list[Sequence[Any]] = driver_of(tx).execute(bound.sql, parameters).fetchall()
        return rows

    @cached_property
    def _reads(self) -> tuple[tuple[int, _Convert], ...]:
        kinds = [column.type.dialect_impl(_DIALECT) for column in self._statement.selected_columns]
        processors = [kind.result_processor(_DIALECT, None) for kind in kinds]
        return tuple((place, convert) for place, convert in enumerate(processors) if convert)


@dataclass(frozen=True, slots=True, eq=False)
class QuerySnapshot[T]:
    """Result of a query, with the raw rows to detect changes."""

    all: list[T]
    raw: list[Sequence[Any]]


class PreparedQuery[T](Query):
    """Prepared query of one table; rows become dataclasses of a shape, with opened fields."""

    def __init__(self, shape: type[T], statement: sa.Select[Any]) -> None:
        self._shape = shape
        self._names = tuple(field.name for field in fields(shape))  # type: ignore[arg-type]  # a dataclass
        columns = (statement.selected_columns[name] for name in self._names)
        super().__init__(statement.with_only_columns(*columns, maintain_column_froms=True))

    def list(self, tx: Tx, values: dict[str, Any]) -> list[T]:
        """Return all rows, in the order of the query."""
        return list(map(maker(self._shape, self._names, tx), self.rows(tx, values)))

    def list_again(
        self, tx: Tx, values: dict[str, Any], before: "QuerySnapshot[T] | None" = None
    ) -> "QuerySnapshot[T]":
        """Return all rows, for frequent queries that hardly change.

        Returns:
            ``before`` itself if no row has changed.
        """
        raw = self._raw(tx, values)
        if before is not None and raw == before.raw:
            return before
        rows = raw if tx.locks_rows else _converted(raw, self._reads)
        return QuerySnapshot(list(map(maker(self._shape, self._names, tx), rows)), raw)


_ROWCOUNT: Final = {"preserve_rowcount": True}
_UNSUPPORTED: Final = (sa.ARRAY, sa.JSON, NullType)
"""Types without an array encoding in `contatto.kit.db.tx`."""
_COMPARED: Final = re.compile(r" = %\((\w+)\)s")


@cache
def _dialect() -> Any:
    """Load the dialect of PostgreSQL lazily, as processes on SQLite do not need it."""
    return import_module("sqlalchemy.dialects.postgresql").dialect()


type _ArrayColumn = tuple[str, str, _Convert | None]
"""Name, SQL type and converter of a column."""


@dataclass(frozen=True, slots=True)
class _BulkStatement:
    """Statement of PostgreSQL on many rows, with an array parameter per column.

    Its text is the same for any number of rows, so the server plans it once; a statement per row takes
    several times as long.

    Source: https://www.postgresql.org/docs/current/functions-array.html
    """

    sql: str
    columns: tuple[_ArrayColumn, ...]
    key: tuple[str, ...] = ()
    """Columns that identify an existing row, of an update or an upsert."""
    standing: dict[str, Any] = field(default_factory=dict)
    """Constants of the statement."""


def bulk_write(tx: Tx, statement: Any, rows: Sequence[Row]) -> int | None:
    """Run a cached insert or update for rows of the same columns, in their order.

    A statement may change a row only once, so repeated keys go to further statements.

    Returns:
        The number of written rows; None, without a write, for an unsupported statement.
    """
    compile_bulk = _compile_insert if isinstance(statement, sa.Insert) else _compile_update
    bulk = compile_bulk(statement, tuple(rows[0]))
    if bulk is None:
        return None
    batches, last_batch = list[list[Row]](), dict[tuple[Any, ...], int]()
    if not bulk.key:
        batches.append(list(rows))
    else:
        for row in rows:
            key = tuple(row[name] for name in bulk.key)
            place = last_batch[key] = last_batch.get(key, -1) + 1
            if place == len(batches):
                batches.append([])
            batches[place].append(row)
    count = 0
    for batch in batches:
        parameters = dict(bulk.standing)
        for name, kind, convert in bulk.columns:
            values = [row[name] if convert is None else convert(row[name]) for row in batch]
            parameters[name] = array_of(kind, values)
        run = tx.connection.exec_driver_sql
        count += run(bulk.sql, parameters, execution_options=_ROWCOUNT).rowcount
    return count


@lru_cache(maxsize=128)
def _compile_update(statement: Any, names: tuple[str, ...]) -> _BulkStatement | None:
    """Return the bulk form of an update, which finds a row by the columns that it compares."""
    compiled = statement.compile(dialect=_dialect())
    kinds = {name: bind.type.dialect_impl(_dialect()) for name, bind in compiled.binds.items()}
    if not set(names) <= set(kinds) or any(isinstance(_inner(kinds[name]), _UNSUPPORTED) for name in names):
        return None
    convert = {name: kind.bind_processor(_dialect()) for name, kind in kinds.items()}
    changes, _, where = str(compiled).partition(" WHERE ")
    key = tuple(name for name in _COMPARED.findall(where) if name in names)
    texts = {name: _text_of(kinds[name]) for name in names}
    lists = ", ".join(f"%({name})s::{text}[]" for name, text in texts.items())
    columns = ", ".join(f'"{name}"' for name in names)
    for name in names:
        changes, where = (part.replace(f"%({name})s", f'given."{name}"') for part in (changes, where))
    sql = f"{changes} FROM unnest({lists}) AS given({columns}) WHERE {where}"
    standing = {name: value for name, value in compiled.params.items() if name not in names}
    for name, value in standing.items():
        if process := convert[name]:
            standing[name] = process(value)
    listed = tuple((name, text, convert[name]) for name, text in texts.items())
    return _BulkStatement(sql, listed, key, standing) if key else None


@lru_cache(maxsize=128)
def _compile_insert(statement: Any, names: tuple[str, ...]) -> _BulkStatement | None:
    """Return the bulk form of an insert; None where a type or a clause does not support it."""
    clause = getattr(statement, "_post_values_clause", None)
    key = tuple(getattr(clause, "inferred_target_elements", None) or ())
    compiled = statement.compile(dialect=_dialect(), column_keys=list(names))
    match = re.search(r"\)( ON CONFLICT .*?)(?: RETURNING .*)?$", str(compiled), re.DOTALL)
    suffix = match[1] if match else ""
    columns = [statement.table.c[name] for name in names]
    if (
        getattr(compiled, "insert_prefetch", ())
        or not set(key) <= set(names)
        or (clause is not None and not match)
        or "%" in suffix
        or any(isinstance(column.type, _UNSUPPORTED) for column in columns)
    ):
        return None
    into = ", ".join(map(_dialect().identifier_preparer.format_column, columns))
    kinds = [column.type.dialect_impl(_dialect()) for column in columns]
    texts = list(map(_text_of, kinds))
    lists = ", ".join(f"%({name})s::{text}[]" for name, text in zip(names, texts, strict=True))
    table = _dialect().identifier_preparer.format_table(statement.table)
    sql = f"INSERT INTO {table} ({into}) SELECT * FROM unnest({lists}){suffix}"  # noqa: S608  # names of ours
    processors = [kind.bind_processor(_dialect()) for kind in kinds]
    return _BulkStatement(sql, tuple(zip(names, texts, processors, strict=True)), key)


def _text_of(kind: Any) -> str:
    """Return the SQL type of values; texts have no length, so that a longer one is refused, not cut."""
    return "TEXT" if isinstance(_inner(kind), sa.String) else str(kind.compile(dialect=_dialect()))


def _inner(kind: Any) -> Any:
    """Return the database's type behind a type of ours."""
    return getattr(kind, "impl_instance", kind)


AT_ONCE: Final = 512
"""Greatest number of works per transaction; more only delay the first of them."""


@dataclass(eq=False)
class WorkBatcher[T, R]:
    """Runs works of one kind, many per transaction; later ones wait for the next transaction.

    Args:
        run: reads or writes, such as ``Database.write``.
        work: does many works, in their order, and returns a result or an exception for each.
            A work with an exception must have written nothing.
        most: greatest number of works per transaction.
        begins_at_once: whether the first work begins before others can join it, as its caller waits later.
    """

    run: Callable[[Work[Sequence[R | Exception]]], Awaitable[Sequence[R | Exception]]]
    work: Callable[[Tx, Sequence[T]], Sequence[R | Exception]]
    most: int = AT_ONCE
    begins_at_once: bool = field(default=False, kw_only=True)
    _waiting: list[tuple[T, asyncio.Future[R]]] = field(default_factory=list)
    _going: asyncio.Task[None] | None = None

    def submit(self, one: T) -> asyncio.Future[R]:
        """Do one work; its writes are durable when the future is done."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[R] = loop.create_future()
        self._waiting.append((one, waiting))
        if self._going is None or self._going.done():
            # In an empty context, as it works for several requests and businesses.
            is_eager = self.begins_at_once
            self._going = asyncio.Task(self._do_all(), loop=loop, context=Context(), eager_start=is_eager)
        return waiting

    async def _do_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self.most], self._waiting[self.most :]
            if not await self._do(batch, is_last_try=len(batch) == 1):
                for item in batch:  # one of them is at fault
                    await self._do([item], is_last_try=True)

    async def _do(self, batch: list[tuple[T, asyncio.Future[R]]], *, is_last_try: bool) -> bool:
        """Return False where each work has to be tried alone."""
        works = [one for one, _ in batch]
        outcomes: Sequence[R | BaseException]
        try:
            try:
                outcomes = await self.run(lambda tx: self.work(tx, works))
            except OperationalError:  # no work is at fault: a conflict, or the database was away
                outcomes = await self.run(lambda tx: self.work(tx, works))
        except OperationalError as error:
            outcomes = [error] * len(batch)
        except BaseException as error:
            if not is_last_try and isinstance(error, Exception):
                return False
            outcomes = [error] * len(batch)
        for (_, waiting), outcome in zip(batch, outcomes, strict=True):
            if waiting.done():  # its caller gave up
                continue
            if isinstance(outcome, BaseException):
                waiting.set_exception(outcome)
            else:
                waiting.set_result(outcome)
        return True
