"""Prepared statements of hot paths, and bulk inserts."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, cached_property, lru_cache
from importlib import import_module
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import ARRAY, JSON, Insert, Select, String, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import NullType

from contatto.kit.db.database import note_change
from contatto.kit.db.tx import (
    Row,
    Tx,
    array_of,
    insert_for,
    insert_or_ignore,
    opener,
    plain_insert,
    sealed_fields,
)

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

    def with_standing(self, rows: Sequence[Row]) -> Sequence[Row]:
        return [{**self.standing, **row} for row in rows] if self.standing else rows

    def values_of(self, rows: Iterable[Row]) -> list[Sequence[Any]]:
        """Return the converted values of each row, in the order of the parameters."""
        names = self.names
        pick: _Convert = itemgetter(*names) if len(names) > 1 else lambda row: [row[name] for name in names]
        if not self.converts:
            return [pick(row) for row in rows]
        converted: list[Sequence[Any]] = []
        for row in rows:
            values = list(pick(row))
            for place, convert in self.converts:
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


def insert_rows(tx: Tx, statement: Any, rows: Sequence[Row]) -> None:
    """Run a cached insert for all rows; each has the same columns."""
    if tx.locks_rows and len(rows) > 1 and bulk_upsert(tx, statement, rows):
        return
    bound = None if tx.locks_rows or not rows else _bound(statement, tuple(rows[0]))
    if bound is None:
        tx.execute(statement, _one_or_many(rows))
    else:
        run_many(tx, bound.sql, bound.values_of(bound.with_standing(rows)))


def insert_all(tx: Tx, table: Table, rows: Sequence[Row]) -> None:
    """Insert new rows of the same columns."""
    if rows and not (tx.locks_rows and bulk_insert(tx, table, rows) is not None):
        insert_rows(tx, plain_insert(table), rows)


def add_counts(tx: Tx, table: Table, counts: tuple[str, ...], rows: Iterable[dict[str, Any]]) -> None:
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
        insert_rows(tx, statement, [sums[key] for key in sorted(sums)])


@cache
def _adding(dialect: str, table: Table, counts: tuple[str, ...]) -> Any:
    insert = insert_for(dialect, table)
    sums = {name: table.c[name] + insert.excluded[name] for name in counts}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key.columns.keys()), set_=sums)


def insert_new(tx: Tx, table: Table, rows: Sequence[Row]) -> int:
    """Insert the rows with unique keys that are not taken; return how many."""
    if not rows:
        return 0
    statement = insert_or_ignore(tx.connection.dialect.name, table)
    bound = None if tx.locks_rows else _bound(statement, tuple(rows[0]))
    if bound is not None:
        return int(run_many(tx, bound.sql, bound.values_of(rows)).rowcount)
    if tx.locks_rows and (count := bulk_insert(tx, table, rows, if_new=True)) is not None:
        return count
    return tx.connection.execute(statement, list(rows), execution_options=_ROWCOUNT).rowcount


def update_rows(tx: Tx, statement: Any, rows: Sequence[Row]) -> None:
    """Run a cached update for each of the rows, in their order."""
    if tx.locks_rows and len(rows) > 1 and bulk_update(tx, statement, rows):
        return
    bound = None if tx.locks_rows or not rows else _bound(statement, None)
    if bound is not None:
        run_many(tx, bound.sql, bound.values_of(bound.with_standing(rows)))
    elif rows:
        tx.execute(statement, _one_or_many(rows))


def _one_or_many(rows: Sequence[Row]) -> Row | Sequence[Row]:
    """Return a single row as such, since psycopg's ``executemany`` costs twice as much."""
    return rows[0] if len(rows) == 1 else rows


class Query:
    """Prepared query.

    SQLAlchemy takes some 60 µs to answer a query that SQLite answers in 4, so SQLite's driver runs it
    directly, with the same type conversions. On PostgreSQL the network costs more, so SQLAlchemy runs it.

    Args:
        statement: parameters are ``bindparam``; a list of values is one parameter (``within``).
    """

    def __init__(self, statement: Any) -> None:
        self._statement = statement

    def rows(self, tx: Tx, values: dict[str, Any]) -> list[Sequence[Any]]:
        """Return the rows as sequences in the order of the columns."""
        return self._read_all(tx, self._raw(tx, values))

    def _raw(self, tx: Tx, values: dict[str, Any]) -> list[Sequence[Any]]:
        """Return the rows as SQLite's driver returns them; those of PostgreSQL are converted already."""
        bound = None if tx.locks_rows else _bound(self._statement, None)
        if bound is None:
            return [tuple(row) for row in tx.execute(self._statement, values)]
        (parameters,) = bound.values_of([bound.standing | values])
        rows: list[Sequence[Any]] = driver_of(tx).execute(bound.sql, parameters).fetchall()
        return rows

    def _read_all(self, tx: Tx, raw: list[Sequence[Any]]) -> list[Sequence[Any]]:
        return [self._read(row) for row in raw] if self._reads and not tx.locks_rows else raw

    def _read(self, row: Sequence[Any]) -> Sequence[Any]:
        values = list(row)
        for place, convert in self._reads:
            values[place] = convert(values[place])
        return values

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
    """Prepared query of one table; rows become dataclasses with opened fields.

    Args:
        shape: dataclass of a row.
        statement: as in ``Query``.
    """

    def __init__(self, shape: type[T], statement: Select[Any]) -> None:
        names = [field.name for field in fields(shape)]  # type: ignore[arg-type]
        self._shape = shape
        self._sealed = [
            (names.index(name), opener(place, names.index(name), names))
            for name, place in sealed_fields(shape).items()
        ]
        super().__init__(
            statement.with_only_columns(
                *(statement.selected_columns[name] for name in names), maintain_column_froms=True
            )
        )

    def _to_values(self, tx: Tx, raw: list[Sequence[Any]]) -> list[T]:
        rows = self._read_all(tx, raw)
        if not self._sealed:
            return [self._shape(*row) for row in rows]
        values = []
        for row in rows:
            opened = list(row)
            for at, open_field in self._sealed:
                opened[at] = open_field(tx.field_opener, row)
            values.append(self._shape(*opened))
        return values

    def list(self, tx: Tx, values: dict[str, Any]) -> list[T]:
        """Return all rows, in the order of the query."""
        if tx.locks_rows:
            return tx.list(self._shape, self._statement, values)
        return self._to_values(tx, self._raw(tx, values))

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
        return QuerySnapshot(self._to_values(tx, raw), raw)


def bind_rows(statement: Any, rows: Sequence[Row]) -> tuple[str, list[Sequence[Any]]] | None:
    """Return an insert for SQLite's driver and its values; None where only SQLAlchemy can run it."""
    bound = _bound(statement, tuple(rows[0]))
    return (bound.sql, bound.values_of(bound.with_standing(rows))) if bound else None


def run_many(tx: Tx, sql: str, values: Sequence[Sequence[Any]]) -> Any:
    """Run a statement of SQLite's driver with each of the values."""
    note_change(tx.connection, sql)
    return driver_of(tx).executemany(sql, values)


def driver_of(tx: Tx) -> Any:
    """Return the driver's connection, inside of an open transaction."""
    if not tx.connection.in_transaction():
        tx.connection.begin()
    return tx.connection.connection.driver_connection


_ROWCOUNT: Final = {"preserve_rowcount": True}
_UNSUPPORTED: Final = (ARRAY, JSON, NullType)
"""Types without an array encoding in `contatto.kit.db.tx`."""
_MARK: Final = re.compile(r"%\((\w+)\)s")
_COMPARED: Final = re.compile(rf" = {_MARK.pattern}")


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

    def arrays_of(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the values of each column as one parameter."""
        return {
            name: array_of(kind, [row[name] if convert is None else convert(row[name]) for row in rows])
            for name, kind, convert in self.columns
        }


def bulk_insert(tx: Tx, table: Table, rows: Sequence[Row], *, if_new: bool = False) -> int | None:
    """Insert rows of the same columns, in their order; ``if_new`` skips rows with taken unique keys.

    Returns:
        The number of inserted rows; None, without an insert, where the table makes some values itself.
    """
    bulk = _compile_insert(table, tuple(rows[0]), if_new)
    return None if bulk is None else _run(tx, bulk, rows)


def bulk_upsert(tx: Tx, statement: Any, rows: Sequence[Row]) -> bool:
    """Run a cached insert with ``ON CONFLICT`` for all rows; each has the same columns.

    A statement may change a row only once, so repeated keys go to further statements.

    Returns:
        False, without an insert, for an unsupported statement.
    """
    bulk = _compile_upsert(statement, tuple(rows[0]))
    if bulk is None:
        return False
    for batch in _split_by_key(rows, bulk.key):
        _run(tx, bulk, batch)
    return True


def _split_by_key(rows: Sequence[Row], key: Sequence[str]) -> list[list[Row]]:
    """Split rows into lists without repeated keys, and keep their order."""
    if not key:
        return [list(rows)]
    rounds, last_round = list[list[Row]](), dict[tuple[Any, ...], int]()
    for row in rows:
        values = tuple(row[name] for name in key)
        place = last_round[values] = last_round.get(values, -1) + 1
        if place == len(rounds):
            rounds.append([])
        rounds[place].append(row)
    return rounds


def _run(tx: Tx, bulk: _BulkStatement, rows: Sequence[Row]) -> int:
    values = tuple(bulk.arrays_of(rows).values())
    return tx.connection.exec_driver_sql(bulk.sql, values, execution_options=_ROWCOUNT).rowcount


def bulk_update(tx: Tx, statement: Any, rows: Sequence[Row]) -> bool:
    """Run a cached update for all rows; repeated keys keep their order.

    Returns:
        False, without an update, for an unsupported statement.
    """
    bulk = _compile_update(statement, tuple(rows[0]))
    if bulk is None:
        return False
    for batch in _split_by_key(rows, bulk.key):
        tx.connection.exec_driver_sql(bulk.sql, bulk.standing | bulk.arrays_of(batch))
    return True


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
    source = f" FROM unnest({lists}) AS given({columns}) WHERE "

    def to_column(match: re.Match[str]) -> str:
        return f'given."{match[1]}"' if match[1] in names else match[0]

    sql = _MARK.sub(to_column, changes) + source + _MARK.sub(to_column, where)
    standing = {name: value for name, value in compiled.params.items() if name not in names}
    for name, value in standing.items():
        if process := convert[name]:
            standing[name] = process(value)
    listed = tuple((name, text, convert[name]) for name, text in texts.items())
    return _BulkStatement(sql, listed, key, standing) if key else None


@lru_cache(maxsize=128)
def _compile_insert(table: Table, names: tuple[str, ...], if_new: bool) -> _BulkStatement | None:  # noqa: FBT001  # a key
    insert = insert_or_ignore("postgresql", table) if if_new else plain_insert(table)
    return _with_arrays(insert, names, " ON CONFLICT DO NOTHING" if if_new else "")


@lru_cache(maxsize=128)
def _compile_upsert(statement: Any, names: tuple[str, ...]) -> _BulkStatement | None:
    clause = getattr(statement, "_post_values_clause", None)
    key = tuple(getattr(clause, "inferred_target_elements", None) or ())
    compiled = str(statement.compile(dialect=_dialect(), column_keys=names))
    match = re.search(r"\)( ON CONFLICT .*?)(?: RETURNING .*)?$", compiled, re.DOTALL)
    if not isinstance(statement, Insert) or not set(key) <= set(names) or (clause is not None and not match):
        return None
    suffix = match[1] if match else ""
    return _with_arrays(statement, names, suffix, key) if "%" not in suffix else None


def _with_arrays(
    insert: Any, names: tuple[str, ...], suffix: str, key: tuple[str, ...] = ()
) -> _BulkStatement | None:
    """Return the bulk form of an insert; None where the table or a type does not support it."""
    if getattr(insert.compile(dialect=_dialect(), column_keys=names), "insert_prefetch", ()):
        return None
    table = insert.table
    columns = [table.c[name] for name in names]
    if any(isinstance(column.type, _UNSUPPORTED) for column in columns):
        return None
    into = ", ".join(map(_dialect().identifier_preparer.format_column, columns))
    texts = [_text_of(column.type.dialect_impl(_dialect())) for column in columns]
    lists = ", ".join(f"%s::{text}[]" for text in texts)
    name = _dialect().identifier_preparer.format_table(table)
    sql = f"INSERT INTO {name} ({into}) SELECT * FROM unnest({lists}){suffix}"  # noqa: S608  # names of ours
    processors = [column.type.dialect_impl(_dialect()).bind_processor(_dialect()) for column in columns]
    return _BulkStatement(sql, tuple(zip(names, texts, processors, strict=True)), key)


def _text_of(kind: Any) -> str:
    """Return the SQL type of values; texts have no length, so that a longer one is refused, not cut."""
    return "TEXT" if isinstance(_inner(kind), String) else str(kind.compile(dialect=_dialect()))


def _inner(kind: Any) -> Any:
    """Return the database's type behind a type of ours."""
    return getattr(kind, "impl_instance", kind)
