"""Whether a column is one of many values, as a statement that is the same however many they are.

An ``IN`` with a mark for each value is another statement for each number of them, and is made ready anew each
time; here the values are one parameter.
"""

import json
from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Dialect,
    Integer,
    LargeBinary,
    String,
    Text,
    bindparam,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

from contatto.kit.db.arrays import array_of


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
