"""Column types, arrays and membership tests for SQLite and PostgreSQL."""

import json
import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    literal_column,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

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


_HEAD: Final = struct.Struct("!iiIii").pack
_LENGTH: Final = struct.Struct("!i").pack
_NUMBER: Final = struct.Struct("!iq").pack
_FLOAT: Final = struct.Struct("!id").pack
_NULL: Final = _LENGTH(-1)
_TRUE, _FALSE = _LENGTH(1) + b"\x01", _LENGTH(1) + b"\x00"
_LENGTHS: Final = tuple(map(_LENGTH, range(512)))


class _Array(bytes):
    """A whole array; each kind of element has a class, by which the driver knows it (``array_dumpers``)."""


class _Texts(_Array):
    pass


class _Numbers(_Array):
    pass


class _Floats(_Array):
    pass


class _Bytes(_Array):
    pass


class _Booleans(_Array):
    pass


def _of_text(value: str | None) -> bytes:
    """PostgreSQL knows no NUL character; one in a stranger's text becomes U+FFFD, as in a single text."""
    return _NULL if value is None else _of_bytes(value.replace("\0", "\ufffd").encode())


def _of_bytes(value: bytes | None) -> bytes:
    if value is None:
        return _NULL
    length = len(value)
    return (_LENGTHS[length] if length < len(_LENGTHS) else _LENGTH(length)) + value


def _of_number(value: int | None) -> bytes:
    return _NULL if value is None else _NUMBER(8, value)


def _of_float(value: float | None) -> bytes:
    return _NULL if value is None else _FLOAT(8, value)


def _of_boolean(value: bool | None) -> bytes:  # noqa: FBT001  # it is what is written
    return _NULL if value is None else _TRUE if value else _FALSE


@dataclass(frozen=True, slots=True)
class ArrayKind:
    """How a list of values of one type is sent; the numbers are those of the element and of its array.

    Source: https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/catalog/pg_type.dat
    """

    shape: type[_Array]
    element: int
    array: int
    write: Callable[[Any], bytes]


_TEXT: Final = ArrayKind(_Texts, 25, 1009, _of_text)
_LONG: Final = ArrayKind(_Numbers, 20, 1016, _of_number)
_DOUBLE: Final = ArrayKind(_Floats, 701, 1022, _of_float)
_BYTEA: Final = ArrayKind(_Bytes, 17, 1001, _of_bytes)
_BOOLEAN: Final = ArrayKind(_Booleans, 16, 1000, _of_boolean)
KINDS: Final = {
    "TEXT": _TEXT,
    "BIGINT": _LONG,
    "INTEGER": _LONG,
    "SMALLINT": _LONG,
    "FLOAT": _DOUBLE,
    "DOUBLE PRECISION": _DOUBLE,
    "BYTEA": _BYTEA,
    "BOOLEAN": _BOOLEAN,
}


def array_of(kind: str, values: Sequence[Any]) -> bytes | Sequence[Any]:
    """The values as an array, to be cast to one of a kind; where one is of another type, the list itself."""
    known = KINDS.get(kind)
    if known is None:
        return values
    try:
        written = b"".join(map(known.write, values))
    except (AttributeError, TypeError, struct.error):
        return values
    if not values:
        return known.shape(_HEAD(0, 0, known.element, 0, 0)[:12])
    return known.shape(_HEAD(1, None in values, known.element, len(values), 1) + written)


class _Values(TypeDecorator[Collection[Any]]):
    """Many texts, numbers or bytes as one parameter: a list of JSON on SQLite, an array on PostgreSQL."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """On PostgreSQL none, as the parameter is cast to an array where it stands."""
        return NullType() if dialect.name == "postgresql" else dialect.type_descriptor(Text())

    def __init__(self, item: type[TypeEngine[Any]]) -> None:
        super().__init__()
        self.item = item

    def process_bind_param(self, value: Collection[Any] | None, dialect: Dialect) -> Any:
        given = list(value or ())
        if dialect.name == "postgresql":
            return array_of(_KINDS[self.item], given)
        return json.dumps([each.hex() for each in given] if self.item is LargeBinary else given)


_TEXTS: Final = _Values(String)
_NUMBERS: Final = _Values(BigInteger)
_BYTES: Final = _Values(LargeBinary)
_KINDS: Final = {String: "TEXT", BigInteger: "BIGINT", LargeBinary: "BYTEA"}
"""Texts have no length here: a longer one is not there, and must not be cut to one that is."""
BYTES_OF: Final = "bytes_of"
"""A function of ours on SQLite that reads hexadecimal digits; its own came late, with 3.41."""


class _Within(FunctionElement[bool]):
    name = "within"
    type = Boolean()
    inherit_cache = True
    _is_implicitly_boolean = True  # else it is compared to 1 on SQLite, and no index is used


def within(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Whether a column of texts, whole numbers or bytes is one of the values of a parameter of this name."""
    if isinstance(column.type, LargeBinary):
        kind = _BYTES
    else:
        kind = _NUMBERS if isinstance(column.type, Integer | BigInteger) else _TEXTS
    return _Within(column, bindparam(name, type_=kind))


@compiles(_Within, "sqlite")
def _on_sqlite(element: _Within, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    is_bytes = isinstance(next(iter(element.clauses)).type, LargeBinary)
    value = f"{BYTES_OF}(value)" if is_bytes else "value"
    return f"{column} IN (SELECT {value} FROM json_each({values}))"  # noqa: S608  # both are compiled: no values


@compiles(_Within, "postgresql")
def _on_postgres(element: _Within, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    kind: Any = list(element.clauses)[1].type
    return f"{column} = ANY({values}::{_KINDS[kind.item]}[])"
