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
"""Schema on which every store declares its tables."""

SEALED: Final = "sealed"
ROW: Final = "row"
"""Key of a table's ``info`` for the columns that identify a row to the vault."""

Serial = BigInteger().with_variant(Integer, "sqlite")
"""Auto-incrementing number; SQLite supports it for INTEGER only."""


class Instant(TypeDecorator[datetime]):
    """UTC instant, stored as whole microseconds since 1970 on both engines."""

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
    """Member of a StrEnum, stored as its text."""

    impl = String(32)
    cache_ok = True

    def __init__(self, kind: type[E]) -> None:
        super().__init__()
        self.kind = kind
        self._texts: dict[str | None, str | None] = {None: None} | {member: member.value for member in kind}
        self._members: dict[str | None, E | None] = {None: None} | {member.value: member for member in kind}

    def process_bind_param(self, value: E | str | None, dialect: Dialect) -> str | None:
        return self._texts[value]

    def bind_processor(self, dialect: Dialect) -> Callable[[E | str | None], str | None]:
        return self._texts.__getitem__

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[str | None], E | None]:
        return self._members.__getitem__


_WORDS: Final = json.JSONEncoder(ensure_ascii=False).encode
"""Built once, because `json.dumps` with options builds an encoder per call."""


class Words(TypeDecorator[tuple[str, ...]]):
    """Tuple of short texts, stored as a JSON list."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Iterable[str] | None, dialect: Dialect) -> str | None:
        return None if value is None else _WORDS(list(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...] | None:
        return None if value is None else tuple(json.loads(value))


def only(which: str) -> dict[str, Any]:
    """Return the options of a partial index; queries must repeat the condition verbatim."""
    return {"sqlite_where": literal_column(which), "postgresql_where": literal_column(which)}


def key() -> Column[str]:
    """Return the primary key of a table: a UUID as text."""
    return Column("id", String(36), primary_key=True)


def tenant() -> Column[str]:
    """Return the tenant column, which every table has."""
    return Column("business_id", String(36), nullable=False)


def instant(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, Instant, nullable=nullable)


def sealed(name: str, *, nullable: bool = False) -> Column[bytes]:
    """Return a column of sealed values, marked for the rotation of keys."""
    return Column(name, LargeBinary, nullable=nullable, info={SEALED: True})


def row_columns(table: Table) -> tuple[str, ...]:
    """Return the columns that identify a row to the vault: the primary key without the tenant.

    A table with an auto-incrementing key declares other columns, as values are sealed before the insert.
    """
    names: tuple[str, ...] = table.info.get(ROW) or tuple(
        column.name for column in table.primary_key.columns if column.name != "business_id"
    )
    return names


def sealed_place(column: Column[Any], row: Mapping[Any, Any]) -> tuple[str, str, str]:
    """Return tenant, column and row of a sealed value, as the vault takes them."""
    named = row_key(*(row[name] for name in row_columns(column.table)))
    return row["business_id"], str(column), named


def text(name: str, *, nullable: bool = False, default: Any = None) -> Column[str]:
    return Column(name, Text, nullable=nullable, server_default=default)


def row_of(value: "DataclassInstance", without: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a dataclass by name, as an insert takes them.

    Args:
        value: dataclass with a column per field; nested values stay as they are.
        without: fields without a column.
    """
    names, read = _plan(type(value), tuple(without))
    return dict(zip(names, read(value), strict=True))


@cache
def _plan(
    kind: "type[DataclassInstance]", without: tuple[str, ...]
) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """Return the field names of a row, and a reader of their values."""
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
    """PostgreSQL array in its binary format; the driver picks a dumper by the subclass."""


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


def _encode_bytes(value: bytes | None) -> bytes:
    if value is None:
        return _NULL
    length = len(value)
    return (_LENGTHS[length] if length < len(_LENGTHS) else _LENGTH(length)) + value


def _encode_text(value: str | None) -> bytes:
    """Encode a text; PostgreSQL stores no NUL character, so it becomes U+FFFD."""
    return _NULL if value is None else _encode_bytes(value.replace("\0", "\ufffd").encode())


@dataclass(frozen=True, slots=True)
class ArrayKind:
    """Binary encoding of an array: the type ids of its element and of the array.

    Source: https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/catalog/pg_type.dat
    """

    shape: type[_Array]
    element: int
    array: int
    write: Callable[[Any], bytes]


_TEXT: Final = ArrayKind(_Texts, 25, 1009, _encode_text)
_LONG: Final = ArrayKind(_Numbers, 20, 1016, lambda value: _NULL if value is None else _NUMBER(8, value))
_DOUBLE: Final = ArrayKind(_Floats, 701, 1022, lambda value: _NULL if value is None else _FLOAT(8, value))
_BYTEA: Final = ArrayKind(_Bytes, 17, 1001, _encode_bytes)
_BOOLEAN: Final = ArrayKind(
    _Booleans, 16, 1000, lambda value: _NULL if value is None else _TRUE if value else _FALSE
)
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
    """Return values as a binary array of a type, or the list itself where a value has another type.

    The driver checks each text of a list by a regular expression, and the server parses text arrays letter by
    letter. Both take the binary format as it is.

    Source: `array_recv` in https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/utils/adt/arrayfuncs.c
    """
    encoding = KINDS.get(kind)
    if encoding is None:
        return values
    try:
        written = b"".join(map(encoding.write, values))
    except (AttributeError, TypeError, struct.error):
        return values
    if not values:
        return encoding.shape(_HEAD(0, 0, encoding.element, 0, 0)[:12])
    return encoding.shape(_HEAD(1, None in values, encoding.element, len(values), 1) + written)


class _Values(TypeDecorator[Collection[Any]]):
    """List of texts, numbers or bytes as one parameter: JSON on SQLite, an array on PostgreSQL."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return no type on PostgreSQL, where the SQL casts the parameter to an array."""
        return NullType() if dialect.name == "postgresql" else dialect.type_descriptor(Text())

    def __init__(self, item: type[TypeEngine[Any]]) -> None:
        super().__init__()
        self.item = item

    def process_bind_param(self, value: Collection[Any] | None, dialect: Dialect) -> Any:
        values = list(value or ())
        if dialect.name == "postgresql":
            return array_of(_KINDS[self.item], values)
        return json.dumps([item.hex() for item in values] if self.item is LargeBinary else values)


_TEXTS: Final = _Values(String)
_NUMBERS: Final = _Values(BigInteger)
_BYTES: Final = _Values(LargeBinary)
_KINDS: Final = {String: "TEXT", BigInteger: "BIGINT", LargeBinary: "BYTEA"}
"""Texts have no length, so that the cast never truncates a longer value to an existing one."""
BYTES_OF: Final = "bytes_of"
"""Name of our `unhex` function on SQLite, which has its own only since 3.41."""


class _Membership(FunctionElement[bool]):
    name = "within"
    type = Boolean()
    inherit_cache = True
    _is_implicitly_boolean = True  # else it is compared to 1 on SQLite, and no index is used


def within(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Return the condition that a column is one of the values of a named list parameter.

    The SQL is the same for any number of values, unlike ``IN``, so the engine prepares it once.
    """
    if isinstance(column.type, LargeBinary):
        kind = _BYTES
    else:
        kind = _NUMBERS if isinstance(column.type, Integer | BigInteger) else _TEXTS
    return _Membership(column, bindparam(name, type_=kind))


@compiles(_Membership, "sqlite")
def _on_sqlite(element: _Membership, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    is_bytes = isinstance(next(iter(element.clauses)).type, LargeBinary)
    value = f"{BYTES_OF}(value)" if is_bytes else "value"
    return f"{column} IN (SELECT {value} FROM json_each({values}))"  # noqa: S608  # both are compiled: no values


@compiles(_Membership, "postgresql")
def _on_postgres(element: _Membership, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    kind: Any = list(element.clauses)[1].type
    return f"{column} = ANY({values}::{_KINDS[kind.item]}[])"
