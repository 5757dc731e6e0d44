"""Statements of hot paths: made and compiled once, and on SQLite run by its driver.

SQLAlchemy takes some 10 µs to bind a row and 60 µs to answer a query, where SQLite itself takes 10 and 4. The
types of columns convert here as they do there. PostgreSQL, where the way to the server costs more than all of
this, is asked through SQLAlchemy; many new rows go there as one statement (``kit/db/unnested``).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Select, Table
from sqlalchemy.dialects import sqlite

from contatto.kit.db.changes import note_change
from contatto.kit.db.tx import Row, Tx, insert_or_ignore, opener, plain_insert, sealed_fields
from contatto.kit.db.unnested import insert_unnested, update_unnested, upsert_unnested

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
        statement: what differs is a ``bindparam``, and many values are one of them (``kit/db/within``).
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
