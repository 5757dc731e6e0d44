"""Prepared statements of hot paths, and bulk inserts."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, cached_property, lru_cache
from importlib import import_module
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import ARRAY, JSON, Column, Insert, Select, String, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import NullType

from contatto.kit.db.database import note_change
from contatto.kit.db.tx import Row, Tx, insert_or_ignore, opener, plain_insert, sealed_fields
from contatto.kit.db.types import array_of

type _Convert = Callable[[Any], Any]
_DIALECT: Final = sqlite.dialect()


@dataclass(frozen=True, slots=True)
class _Bound:
    """The text of a statement, the values it takes in their order, and what converts some of them."""

    sql: str
    names: tuple[str, ...]
    converts: tuple[tuple[int, _Convert], ...]
    standing: dict[str, Any]
    """Values that are part of the statement itself, such as its limit."""

    @property
    def pick(self) -> Callable[[Row], Sequence[Any]]:
        """Takes the values out of a row."""
        if len(self.names) > 1:
            return itemgetter(*self.names)
        return lambda row: [row[name] for name in self.names]

    def with_standing(self, rows: Sequence[Row]) -> Sequence[Row]:
        return [{**self.standing, **row} for row in rows] if self.standing else rows

    def values_of(self, rows: Iterable[Row]) -> list[Sequence[Any]]:
        pick = self.pick
        if not self.converts:
            return [pick(row) for row in rows]
        found: list[Sequence[Any]] = []
        for row in rows:
            values = list(pick(row))
            for place, convert in self.converts:
                values[place] = convert(values[place])
            found.append(values)
        return found


@lru_cache(maxsize=256)
def _bound(statement: Any, given: tuple[str, ...] | None) -> _Bound | None:
    """How the driver runs a statement; None where SQLAlchemy must: it makes some of the values itself."""
    compiled = statement.compile(dialect=_DIALECT, column_keys=given)
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
    """Run an insert that is made once and kept, for all rows; each has the same columns."""
    if tx.locks_rows and len(rows) > 1 and upsert_unnested(tx, statement, rows):
        return
    bound = None if tx.locks_rows or not rows else _bound(statement, tuple(rows[0]))
    if bound is None:
        tx.execute(statement, _one_or_many(rows))
    else:
        run_many(tx, bound.sql, bound.values_of(bound.with_standing(rows)))


def insert_all(tx: Tx, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows of the same columns; none of them may be there."""
    if rows and not (tx.locks_rows and insert_unnested(tx, table, rows) is not None):
        insert_rows(tx, plain_insert(table), rows)


def insert_new(tx: Tx, table: Table, rows: Sequence[Row]) -> int:
    """Insert those of the rows whose unique keys are not taken; say how many were new."""
    if not rows:
        return 0
    statement = insert_or_ignore(tx.connection.dialect.name, table)
    bound = None if tx.locks_rows else _bound(statement, tuple(rows[0]))
    if bound is not None:
        return int(run_many(tx, bound.sql, bound.values_of(rows)).rowcount)
    if tx.locks_rows and (new := insert_unnested(tx, table, rows, if_new=True)) is not None:
        return new
    kept = {"preserve_rowcount": True}
    return tx.connection.execute(statement, list(rows), execution_options=kept).rowcount


def update_rows(tx: Tx, statement: Any, rows: Sequence[Row]) -> None:
    """Run an update that is made once and kept, for each of the rows, in their order."""
    if tx.locks_rows and len(rows) > 1 and update_unnested(tx, statement, rows):
        return
    bound = None if tx.locks_rows or not rows else _bound(statement, None)
    if bound is not None:
        run_many(tx, bound.sql, bound.values_of(bound.with_standing(rows)))
    elif rows:
        tx.execute(statement, _one_or_many(rows))


def _one_or_many(rows: Sequence[Row]) -> Row | Sequence[Row]:
    """A single row as such: what is made for many costs a driver of PostgreSQL twice as much."""
    return rows[0] if len(rows) == 1 else rows


class Query:
    """A query that is made once and asked all the time.

    Args:
        statement: what differs is a ``bindparam``, and many values are one of them (``kit/db/types``).
    """

    def __init__(self, statement: Any) -> None:
        self._statement = statement

    def rows(self, tx: Tx, values: dict[str, Any]) -> list[Sequence[Any]]:
        """The rows, each with its values in the order of the query."""
        return self._read_all(tx, self._raw(tx, values))

    def _raw(self, tx: Tx, values: dict[str, Any]) -> list[Sequence[Any]]:
        """The rows as SQLite's driver has them; those of PostgreSQL are read already."""
        bound = None if tx.locks_rows else _bound(self._statement, None)
        if bound is None:
            return [tuple(row) for row in tx.execute(self._statement, values)]
        (asked,) = bound.values_of([bound.standing | values])
        found: list[Sequence[Any]] = driver_of(tx).execute(bound.sql, asked).fetchall()
        return found

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
class Listed[T]:
    """What a query listed, and the rows that it was made of, as they came from storage."""

    all: list[T]
    raw: list[Sequence[Any]]


class Seek[T](Query):
    """The same for the columns of one table that a dataclass has; sealed texts come opened.

    Args:
        shape: the dataclass of a row.
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

    def _made(self, tx: Tx, raw: list[Sequence[Any]]) -> list[T]:
        rows = self._read_all(tx, raw)
        return [self._shape(*(self._opened(tx, row) if self._sealed else row)) for row in rows]

    def list(self, tx: Tx, values: dict[str, Any]) -> list[T]:
        """All rows, in the order of the query."""
        if tx.locks_rows:
            return tx.list(self._shape, self._statement, values)
        return self._made(tx, self._raw(tx, values))

    def list_again(self, tx: Tx, values: dict[str, Any], before: "Listed[T] | None" = None) -> "Listed[T]":
        """The same for what is asked every few seconds and hardly changes; it is made of changed rows only.

        Returns:
            What was listed before, itself, if all rows are as they were then.
        """
        raw = self._raw(tx, values)
        if before is not None and raw == before.raw:
            return before
        return Listed(self._made(tx, raw), raw)

    def _opened(self, tx: Tx, row: Sequence[Any]) -> Sequence[Any]:
        values = list(row)
        for at, open_field in self._sealed:
            values[at] = open_field(tx.field_opener, row)
        return values


def bind_rows(statement: Any, rows: Sequence[Row]) -> tuple[str, list[Sequence[Any]]] | None:
    """An insert for SQLite's driver, and the values that it takes; None where only SQLAlchemy can run it."""
    bound = _bound(statement, tuple(rows[0]))
    return (bound.sql, bound.values_of(bound.with_standing(rows))) if bound else None


def run_many(tx: Tx, sql: str, values: Sequence[Sequence[Any]]) -> Any:
    """Run a statement of SQLite's driver with each of the values."""
    note_change(tx.connection, sql)
    return driver_of(tx).executemany(sql, values)


def driver_of(tx: Tx) -> Any:
    """The connection of the driver, within the transaction that is open."""
    if not tx.connection.in_transaction():
        tx.connection.begin()
    return tx.connection.connection.driver_connection


_KEPT: Final = {"preserve_rowcount": True}
_UNLISTED: Final = (ARRAY, JSON, NullType)
"""Types of which there is no list here."""
_MARK: Final = re.compile(r"%\((\w+)\)s")
_COMPARED: Final = re.compile(rf" = {_MARK.pattern}")


@cache
def _dialect() -> Any:
    """Load the dialect of PostgreSQL, which a process on SQLite does without."""
    return import_module("sqlalchemy.dialects.postgresql").dialect()


type _Listed = tuple[str, str, Callable[[Any], Any] | None]
"""The name of a column, the type of its values in SQL, and what converts them."""


@dataclass(frozen=True, slots=True)
class _Unnested:
    """The text of a statement, and each of its columns."""

    sql: str
    columns: tuple[_Listed, ...]
    key: tuple[str, ...] = ()
    """The columns by which a row is found to be there, of a statement that changes it then."""
    standing: dict[str, Any] = field(default_factory=dict)
    """Values that are part of the statement itself."""

    def lists_of(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Each column's values of all rows, as one parameter."""
        return {
            name: array_of(kind, [row[name] if convert is None else convert(row[name]) for row in rows])
            for name, kind, convert in self.columns
        }


def insert_unnested(tx: Tx, table: Table, rows: Sequence[Row], *, if_new: bool = False) -> int | None:
    """Insert rows of the same columns, in their order; with ``if_new`` those whose unique keys are not taken.

    Returns:
        How many were inserted; None where the table makes some values itself, and nothing was done.
    """
    made = _unnested(table, tuple(rows[0]), if_new)
    if made is None:
        return None
    return _run(tx, made, rows)


def upsert_unnested(tx: Tx, statement: Any, rows: Sequence[Row]) -> bool:
    """Run an insert with ``ON CONFLICT`` that is made once and kept, for all rows; each has the same columns.

    A statement may change a row once only, so rows whose key comes again are left to the next one.

    Returns:
        False for a statement that cannot be run so, and nothing was done.
    """
    made = _merging(statement, tuple(rows[0]))
    if made is None:
        return False
    for some in _rounds(rows, made.key):
        _run(tx, made, some)
    return True


def _rounds(rows: Sequence[Row], key: Sequence[str]) -> list[list[Row]]:
    """The rows in their order, in as many lists as the most frequent key has rows; in one without a key."""
    if not key:
        return [list(rows)]
    rounds, seen = list[list[Row]](), dict[tuple[Any, ...], int]()
    for row in rows:
        of = tuple(row[name] for name in key)
        place = seen[of] = seen.get(of, -1) + 1
        if place == len(rounds):
            rounds.append([])
        rounds[place].append(row)
    return rounds


def _run(tx: Tx, made: _Unnested, rows: Sequence[Row]) -> int:
    values = tuple(made.lists_of(rows).values())
    return tx.connection.exec_driver_sql(made.sql, values, execution_options=_KEPT).rowcount


def update_unnested(tx: Tx, statement: Any, rows: Sequence[Row]) -> bool:
    """Run an update that is made once and kept, for all rows; those of one row of the table in their order.

    Returns:
        False for a statement that cannot be run so, and nothing was done.
    """
    made = _updating(statement, tuple(rows[0]))
    if made is None:
        return False
    for some in _rounds(rows, made.key):
        tx.connection.exec_driver_sql(made.sql, made.standing | made.lists_of(some))
    return True


@lru_cache(maxsize=128)
def _updating(statement: Any, names: tuple[str, ...]) -> _Unnested | None:
    """An update of what a list of rows says; a row is found by what is compared with its own columns."""
    compiled = statement.compile(dialect=_dialect())
    kinds = {name: bind.type.dialect_impl(_dialect()) for name, bind in compiled.binds.items()}
    if not set(names) <= set(kinds) or any(isinstance(_inner(kinds[name]), _UNLISTED) for name in names):
        return None
    convert = {name: kind.bind_processor(_dialect()) for name, kind in kinds.items()}
    changes, _, where = str(compiled).partition(" WHERE ")
    key = tuple(name for name in _COMPARED.findall(where) if name in names)
    texts = {name: _text_of(kinds[name]) for name in names}
    lists = ", ".join(f"%({name})s::{text}[]" for name, text in texts.items())
    columns = ", ".join(f'"{name}"' for name in names)
    given = f" FROM unnest({lists}) AS given({columns}) WHERE "

    def own(found: re.Match[str]) -> str:
        return f'given."{found[1]}"' if found[1] in names else found[0]

    sql = _MARK.sub(own, changes) + given + _MARK.sub(own, where)
    standing = {
        name: (convert[name] or _as_it_is)(value)
        for name, value in compiled.params.items()
        if name not in names
    }
    listed = tuple((name, text, convert[name]) for name, text in texts.items())
    return _Unnested(sql, listed, key, standing) if key else None


def _as_it_is(value: Any) -> Any:
    return value


@lru_cache(maxsize=128)
def _unnested(table: Table, names: tuple[str, ...], if_new: bool) -> _Unnested | None:  # noqa: FBT001  # a key
    insert = insert_or_ignore("postgresql", table) if if_new else plain_insert(table)
    return _inserting(insert, names, " ON CONFLICT DO NOTHING" if if_new else "")


@lru_cache(maxsize=128)
def _merging(statement: Any, names: tuple[str, ...]) -> _Unnested | None:
    clause = getattr(statement, "_post_values_clause", None)
    key = tuple(getattr(clause, "inferred_target_elements", None) or ())
    compiled = str(statement.compile(dialect=_dialect(), column_keys=names))
    match = re.search(r"\)( ON CONFLICT .*?)(?: RETURNING .*)?$", compiled, re.DOTALL)
    if not isinstance(statement, Insert) or not set(key) <= set(names) or (clause is not None and not match):
        return None
    which = match[1] if match else ""
    return _inserting(statement, names, which, key) if "%" not in which else None


def _inserting(
    insert: Any, names: tuple[str, ...], which: str, key: tuple[str, ...] = ()
) -> _Unnested | None:
    """An insert of lists; None where the table makes some values itself, or a list of it is none of ours."""
    if getattr(insert.compile(dialect=_dialect(), column_keys=names), "insert_prefetch", ()):
        return None
    table = insert.table
    columns = [table.c[name] for name in names]
    if any(isinstance(column.type, _UNLISTED) for column in columns):
        return None
    into = ", ".join(map(_dialect().identifier_preparer.format_column, columns))
    texts = list(map(_kind, columns))
    lists = ", ".join(f"%s::{text}[]" for text in texts)
    name = _dialect().identifier_preparer.format_table(table)
    sql = f"INSERT INTO {name} ({into}) SELECT * FROM unnest({lists}){which}"  # noqa: S608  # names of ours
    processors = [column.type.dialect_impl(_dialect()).bind_processor(_dialect()) for column in columns]
    return _Unnested(sql, tuple(zip(names, texts, processors, strict=True)), key)


def _kind(column: Column[Any]) -> str:
    return _text_of(column.type.dialect_impl(_dialect()))


def _text_of(kind: Any) -> str:
    """The type of a value; a text has no length yet, since what is too long must be refused, not cut."""
    return "TEXT" if isinstance(_inner(kind), String) else str(kind.compile(dialect=_dialect()))


def _inner(kind: Any) -> Any:
    """The type of the database behind one of ours."""
    return getattr(kind, "impl_instance", kind)
