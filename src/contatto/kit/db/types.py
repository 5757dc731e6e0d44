"""Column types that mean the same on SQLite and PostgreSQL, and values as rows."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    literal_column,
)
from sqlalchemy.types import TypeDecorator

from contatto.kit.timestamps import from_micros, micros
from contatto.kit.vault import row_key

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""The one schema: every store declares its tables on it."""

SEALED: Final = "sealed"
ROW: Final = "row"
"""The key of a table's ``info`` under which the columns stand that name a row for the vault."""

Serial = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database counts up by itself; SQLite does so for INTEGER only."""


class Instant(TypeDecorator[datetime]):
    """A UTC instant, stored as whole microseconds since 1970: exact, sortable, alike on both engines."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return _to_micros(value)  # where a value becomes part of the text

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], int | None]:
        return _to_micros

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[int | None], datetime | None]:
        return _to_instant


def _to_micros(value: datetime | None) -> int | None:
    return None if value is None else micros(value)


def _to_instant(value: int | None) -> datetime | None:
    return None if value is None else from_micros(value)


class Choice[E: StrEnum](TypeDecorator[E]):
    """A member of a StrEnum, stored as its text."""

    impl = String(32)
    cache_ok = True

    def __init__(self, kind: type[E]) -> None:
        super().__init__()
        self.kind = kind
        self._texts: dict[str | None, str | None] = {None: None} | {each: each.value for each in kind}
        self._members: dict[str | None, E | None] = {None: None} | {each.value: each for each in kind}

    def process_bind_param(self, value: E | str | None, dialect: Dialect) -> str | None:
        return self._texts[value]

    def bind_processor(self, dialect: Dialect) -> Callable[[E | str | None], str | None]:
        return self._texts.__getitem__

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[str | None], E | None]:
        return self._members.__getitem__


_WORDS: Final = json.JSONEncoder(ensure_ascii=False).encode
"""Made once: with options of its own `json.dumps` makes one for each value."""


class Words(TypeDecorator[tuple[str, ...]]):
    """A tuple of short texts, stored as a JSON list."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Iterable[str] | None, dialect: Dialect) -> str | None:
        return None if value is None else _WORDS(list(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...] | None:
        return None if value is None else tuple(json.loads(value))


def only(which: str) -> dict[str, Any]:
    """Makes an index one of some rows alone, on either engine; what asks for them says so in these words."""
    return {"sqlite_where": literal_column(which), "postgresql_where": literal_column(which)}


def key() -> Column[str]:
    """The primary key of a table: a UUID as text."""
    return Column("id", String(36), primary_key=True)


def tenant() -> Column[str]:
    """The tenant of a row; every table has one."""
    return Column("business_id", String(36), nullable=False)


def instant(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, Instant, nullable=nullable)


def sealed(name: str, *, nullable: bool = False) -> Column[bytes]:
    """A value that the vault sealed; the mark tells the rotation of keys where to look."""
    return Column(name, LargeBinary, nullable=nullable, info={SEALED: True})


def row_columns(table: Table) -> tuple[str, ...]:
    """Return the columns that name a row for the vault: the primary key without the tenant.

    Where the database counts the key up, the table names other columns: a value is sealed before.
    """
    named: tuple[str, ...] = table.info.get(ROW) or tuple(
        column.name for column in table.primary_key.columns if column.name != "business_id"
    )
    return named


def sealed_place(column: Column[Any], row: Mapping[Any, Any]) -> tuple[str, str, str]:
    """Return the tenant, the column and the row for which a value was sealed, as the vault takes them."""
    named = row_key(*(row[name] for name in row_columns(column.table)))
    return row["business_id"], str(column), named


def text(name: str, *, nullable: bool = False, default: Any = None) -> Column[str]:
    return Column(name, Text, nullable=nullable, server_default=default)


def row_of(value: "DataclassInstance", without: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a dataclass by name, as an insert takes them; nested values stay what they are.

    Args:
        value: has a column for each field.
        without: fields that no column holds as they are.
    """
    names, read = _plan(type(value), tuple(without))
    return dict(zip(names, read(value), strict=True))


@cache
def _plan(
    kind: "type[DataclassInstance]", without: tuple[str, ...]
) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """Return the names of the fields that a row takes, and a reader of all of them."""
    names = tuple(name for name in kind.__dataclass_fields__ if name not in without)
    if len(names) > 1:
        return names, attrgetter(*names)
    return names, lambda value: tuple(getattr(value, name) for name in names)
