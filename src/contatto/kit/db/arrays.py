"""Lists as one parameter of PostgreSQL, in the bytes of its own arrays.

The driver looks at each text of a list by a regular expression, and the server reads an array that comes as
a text letter by letter: a third of all that it did for a message. In this form either takes it as it is.
Source: `array_recv` in https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/utils/adt/arrayfuncs.c
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

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
