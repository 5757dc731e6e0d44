"""Many rows of a table of PostgreSQL by one statement: each column is one parameter, a list of its values.

The statement is the same for any number of rows, so the server plans it once; with a statement for each row
it takes several times as long for each of them.
Source: https://www.postgresql.org/docs/current/functions-array.html
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, Final

from sqlalchemy import ARRAY, JSON, Column, Insert, String, Table
from sqlalchemy.types import NullType

from contatto.kit.db.arrays import array_of
from contatto.kit.db.tx import Row, Tx, insert_or_ignore, plain_insert

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
