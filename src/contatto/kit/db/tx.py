"""Transactions, their clock and vault, and the column types of tables."""

import hashlib
import json
import struct
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

from contatto.kit.log import logger
from contatto.kit.values import UNREADABLE, SealedIn, from_micros, micros
from contatto.kit.vault import Sealed, Vault, row_key


class Clock:
    """The machine's own clock, in UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(eq=False)
class FixedClock(Clock):
    """Clock that moves only on request; for tests and replays."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def advance(self, **units: float) -> None:
        """Move forward by ``timedelta(**units)``."""
        self.moment += timedelta(**units)


BATCH_S: Final = 0.03
"""Time of a batch; with its last item it holds SQLite's writer for some 50 ms."""
LONG_BATCH_S: Final = 4 * BATCH_S
"""Time of a batch on PostgreSQL, where others write concurrently."""


def in_time[T](
    items: Iterable[T],
    seconds: float | Callable[[], float] = BATCH_S,
    clock: Callable[[], float] = time.perf_counter,
    look_every: int = 1,
) -> Iterator[T]:
    """Yield items until the time is up, and at least the first.

    With the clock of the thread (`time.thread_time`) batches do not shrink on a busy machine, where fewer
    items would share the fixed costs. For items of some microseconds ``look_every`` limits the calls of the
    clock. ``seconds`` may be a function, if the limit changes meanwhile.
    """
    started = clock()
    for count, item in enumerate(items, 1):
        yield item
        if count % look_every == 0 and clock() - started >= (seconds() if callable(seconds) else seconds):
            return


if TYPE_CHECKING:
    from _typeshed import DataclassInstance

metadata = sa.MetaData(
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

Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""Auto-incrementing number; SQLite supports it for INTEGER only."""


class Instant(TypeDecorator[datetime]):
    """UTC instant, stored as whole microseconds since 1970 on both engines."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else micros(value)  # where a value becomes part of the text

    def bind_processor(self, dialect: sa.Dialect) -> Callable[[datetime | None], int | None]:
        return lambda value: None if value is None else micros(value)

    def result_processor(
        self, dialect: sa.Dialect, coltype: object
    ) -> Callable[[int | None], datetime | None]:
        return lambda value: None if value is None else from_micros(value)


class Choice[E: StrEnum](TypeDecorator[E]):
    """Member of a StrEnum, stored as its text."""

    impl = sa.String(32)
    cache_ok = True

    def __init__(self, kind: type[E]) -> None:
        super().__init__()
        self.kind = kind
        self._texts: dict[str | None, str | None] = {None: None} | {member: member.value for member in kind}
        self._members: dict[str | None, E | None] = {None: None} | {member.value: member for member in kind}

    def process_bind_param(self, value: E | str | None, dialect: sa.Dialect) -> str | None:
        return self._texts[value]

    def bind_processor(self, dialect: sa.Dialect) -> Callable[[E | str | None], str | None]:
        return self._texts.__getitem__

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[str | None], E | None]:
        return self._members.__getitem__


_WORDS: Final = json.JSONEncoder(ensure_ascii=False).encode
"""Built once, because `json.dumps` with options builds an encoder per call."""


class Words(TypeDecorator[tuple[str, ...]]):
    """Tuple of short texts, stored as a JSON list."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Iterable[str] | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else _WORDS(list(value))

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> tuple[str, ...] | None:
        return None if value is None else tuple(json.loads(value))


class JsonText(TypeDecorator[Any]):
    """Value of a type that msgspec knows, stored as JSON."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.kind = kind
        self._decode = msgspec.json.Decoder(kind).decode

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str:
        return msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        return None if value is None else self._decode(value)


def only(which: str) -> dict[str, Any]:
    """Return the options of a partial index; queries must repeat the condition verbatim."""
    return {"sqlite_where": sa.literal_column(which), "postgresql_where": sa.literal_column(which)}


def key() -> sa.Column[str]:
    """Return the primary key of a table: a UUID as text."""
    return sa.Column("id", sa.String(36), primary_key=True)


def tenant() -> sa.Column[str]:
    """Return the tenant column, which every table has."""
    return sa.Column("business_id", sa.String(36), nullable=False)


def instant(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, Instant, nullable=nullable)


def sealed(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    """Return a column of sealed values, marked for the rotation of keys."""
    return sa.Column(name, sa.LargeBinary, nullable=nullable, info={SEALED: True})


def row_columns(table: sa.Table) -> tuple[str, ...]:
    """Return the columns that identify a row to the vault: the primary key without the tenant.

    A table with an auto-incrementing key declares other columns, as values are sealed before the insert.
    """
    names: tuple[str, ...] = table.info.get(ROW) or tuple(
        column.name for column in table.primary_key.columns if column.name != "business_id"
    )
    return names


def sealed_place(column: sa.Column[Any], row: Mapping[Any, Any]) -> tuple[str, str, str]:
    """Return tenant, column and row of a sealed value, as the vault takes them."""
    named = row_key(*(row[name] for name in row_columns(column.table)))
    return row["business_id"], str(column), named


def text(name: str, *, nullable: bool = False, default: Any = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable, server_default=default)


def row_of(value: "DataclassInstance", without: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a dataclass by name, as an insert takes them, without some of them."""
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
_NULL: Final = _LENGTH(-1)
_TRUE, _FALSE = _LENGTH(1) + b"\x01", _LENGTH(1) + b"\x00"
_LENGTHS: Final = tuple(map(_LENGTH, range(512)))


class BinaryArray(bytes):
    """PostgreSQL array in its binary format, for a parameter that the SQL casts to the array's type."""


def _encode_bytes(value: bytes | None) -> bytes:
    if value is None:
        return _NULL
    length = len(value)
    return (_LENGTHS[length] if length < len(_LENGTHS) else _LENGTH(length)) + value


def _encode_text(value: str | None) -> bytes:
    """Encode a text; PostgreSQL stores no NUL character, so it becomes U+FFFD."""
    return _NULL if value is None else _encode_bytes(value.replace("\0", "\ufffd").encode())


type _Encode = Callable[[Any], bytes]


def _encode_packed(pack: Callable[[int, Any], bytes], size: int) -> _Encode:
    return lambda value: _NULL if value is None else pack(size, value)


_KINDS: Final[Mapping[str, tuple[int, _Encode]]] = {
    "TEXT": (25, _encode_text),
    "BIGINT": (20, _encode_packed(struct.Struct("!iq").pack, 8)),
    "INTEGER": (23, _encode_packed(struct.Struct("!ii").pack, 4)),
    "SMALLINT": (21, _encode_packed(struct.Struct("!ih").pack, 2)),
    "FLOAT": (701, _encode_packed(struct.Struct("!id").pack, 8)),
    "DOUBLE PRECISION": (701, _encode_packed(struct.Struct("!id").pack, 8)),
    "BYTEA": (17, _encode_bytes),
    "BOOLEAN": (16, lambda value: _NULL if value is None else _TRUE if value else _FALSE),
}
"""Type ids of elements, and their binary encodings.

Source: https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/catalog/pg_type.dat
"""


def array_of(kind: str, values: Sequence[Any]) -> bytes | Sequence[Any]:
    """Return values as a binary array of a type, or the list itself where a value has another type.

    The driver checks each text of a list by a regular expression, and the server parses text arrays letter by
    letter. Both take the binary format as it is.

    Source: `array_recv` in https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/utils/adt/arrayfuncs.c
    """
    if kind not in _KINDS:
        return values
    element, encode = _KINDS[kind]
    try:
        encoded = b"".join(map(encode, values))
    except (AttributeError, TypeError, struct.error):
        return values
    if not values:
        return BinaryArray(_HEAD(0, 0, element, 0, 0)[:12])
    return BinaryArray(_HEAD(1, None in values, element, len(values), 1) + encoded)


class _Values(TypeDecorator[Collection[Any]]):
    """List of texts, numbers or bytes as one parameter: JSON on SQLite, an array on PostgreSQL."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """Return no type on PostgreSQL, where the SQL casts the parameter to an array."""
        return NullType() if dialect.name == "postgresql" else dialect.type_descriptor(sa.Text())

    def __init__(self, item: type[TypeEngine[Any]]) -> None:
        super().__init__()
        self.item = item

    def process_bind_param(self, value: Collection[Any] | None, dialect: sa.Dialect) -> Any:
        values = list(value or ())
        if dialect.name == "postgresql":
            return array_of(_ITEMS[self.item], values)
        return json.dumps([item.hex() for item in values] if self.item is sa.LargeBinary else values)


_TEXTS: Final = _Values(sa.String)
_NUMBERS: Final = _Values(sa.BigInteger)
_BYTES: Final = _Values(sa.LargeBinary)
_ITEMS: Final = {sa.String: "TEXT", sa.BigInteger: "BIGINT", sa.LargeBinary: "BYTEA"}
"""Texts have no length, so that the cast never truncates a longer value to an existing one."""
BYTES_OF: Final = "bytes_of"
"""Name of our `unhex` function on SQLite, which has its own only since 3.41."""


class _Membership(FunctionElement[bool]):
    name = "within"
    type = sa.Boolean()
    inherit_cache = True
    _is_implicitly_boolean = True  # else it is compared to 1 on SQLite, and no index is used


def within(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """Return the condition that a column is one of the values of a named list parameter.

    The SQL is the same for any number of values, unlike ``IN``, so the engine prepares it once.
    """
    if isinstance(column.type, sa.LargeBinary):
        kind = _BYTES
    else:
        kind = _NUMBERS if isinstance(column.type, sa.Integer | sa.BigInteger) else _TEXTS
    return _Membership(column, sa.bindparam(name, type_=kind))


@compiles(_Membership, "sqlite")
def _on_sqlite(element: _Membership, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    is_bytes = isinstance(next(iter(element.clauses)).type, sa.LargeBinary)
    value = f"{BYTES_OF}(value)" if is_bytes else "value"
    return f"{column} IN (SELECT {value} FROM json_each({values}))"  # noqa: S608  # both are compiled: no values


@compiles(_Membership, "postgresql")
def _on_postgres(element: _Membership, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    kind: Any = list(element.clauses)[1].type
    return f"{column} = ANY({values}::{_ITEMS[kind.item]}[])"


@runtime_checkable
class Closable(Protocol):
    """Dependency that holds a thread, a process or a file open."""

    def close(self) -> None: ...


class MissingPart(LookupError):
    """Error of a dependency that the installation was built without."""


class Parts:
    """Dependency container with one value per type, by which packages ask for what `wiring` provides."""

    def __init__(self, *parts: object) -> None:
        self._by_type: Final[dict[type, Any]] = {type(part): part for part in parts}
        if len(self._by_type) != len(parts):
            raise ValueError("two parts of an installation have the same type")

    def __iter__(self) -> Iterator[object]:
        return iter(self._by_type.values())

    def __getitem__[T](self, kind: type[T]) -> T:
        """Return the dependency of this type; raises MissingPart if the installation has none."""
        part: T | None = self._by_type.get(kind)
        if part is None:
            raise MissingPart(f"this installation was built without {kind.__module__}.{kind.__qualname__}")
        return part

    def close(self) -> None:
        """Close the parts that hold something open, the last one first."""
        for part in reversed(list(self)):
            if isinstance(part, Closable):
                part.close()


NO_PARTS: Final = Parts()
"""Empty container, in which each look-up raises `MissingPart`."""


type Ids = dict[str, list[str]]
"""Ids by the name of their kind, such as ``lead_id``."""


@dataclass(slots=True)
class ContactReads:
    """Reads of a request so far; of a file only the count, so that memory stays flat."""

    _ids: dict[str, dict[str, None]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """Numbers of values that a file will contain; with one, later reads are not recorded."""

    def add(self, kind: str, ids: Iterable[str]) -> None:
        """Record that the request opened values of these ids."""
        if not self.counts:
            self._ids.setdefault(kind, {}).update(dict.fromkeys(ids))

    @property
    def ids(self) -> Ids:
        return {kind: list(ids) for kind, ids in self._ids.items() if ids}

    def __bool__(self) -> bool:
        return bool(self.counts or self.ids)


_AT_ONCE: Final = 5_000
_HOLD: Final = sa.TextClause(
    "SELECT pg_advisory_xact_lock(number) FROM unnest(CAST(:numbers AS BIGINT[])) AS number"
)
_HOLD_SHARED: Final = sa.TextClause(
    "SELECT pg_advisory_xact_lock_shared(number) FROM unnest(CAST(:numbers AS BIGINT[])) AS number"
)
type Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tx:
    """An open transaction. The edge opens and ends it; nothing below commits or rolls back.

    Attributes:
        now: the one time of this transaction, in UTC.
        vault: seals and opens contact values.
        ports: dependencies on the packages above.
        is_reading: the transaction only reads, so a fixed text may replace a field that does not open.
        contact_reads: reads of contact data by the request; None in background work.
        is_awaited: returns whether a request waits for the end of this transaction; never on PostgreSQL.
            Those that are not hurried do not count, as no page waits for them.
        deferred_events: events that `contatto.kit.outbox` writes at the end of a batch, with their rows.
    """

    connection: sa.Connection
    now: datetime
    vault: Vault
    ports: Parts = NO_PARTS
    is_reading: bool = False
    contact_reads: ContactReads | None = None
    is_awaited: Callable[[], bool] = lambda: False
    deferred_events: list[tuple[Any, dict[str, Any]]] | None = None

    def record_contact_reads(self, kind: str, ids: Iterable[str]) -> None:
        """Record for the audit log that values of these ids were opened."""
        if self.contact_reads is not None:
            self.contact_reads.add(kind, ids)

    def execute(
        self, statement: sa.Executable, rows: Sequence[Row] | Row | None = None
    ) -> sa.CursorResult[Any]:
        """Run a statement, once or for each of the rows."""
        return self.connection.execute(statement, rows)

    def find[T](self, shape: type[T], statement: sa.Executable, values: Row | None = None) -> T | None:
        """Return the first row as a dataclass, or None.

        Fields are matched to columns by name, and sealed fields are opened. ``values`` fill the ``bindparam``
        marks of a statement: on hot paths it is built once, since building costs more than running.
        """
        result = self.connection.execute(statement, values)
        to_value = maker(shape, tuple(result.keys()), self)
        row = result.first()
        return None if row is None else to_value(row)

    def list[T](self, shape: type[T], statement: sa.Executable, values: Row | None = None) -> list[T]:
        """Return all rows as dataclasses; ``values`` as in ``find``."""
        result = self.connection.execute(statement, values)
        to_value = maker(shape, tuple(result.keys()), self)
        return [to_value(row) for row in result.all()]

    def stream[T](self, shape: type[T], statement: sa.Executable) -> Iterator[T]:
        """Yield rows as dataclasses, some thousands at a time, for results larger than memory."""
        some = {"yield_per": _AT_ONCE}
        result = self.connection.execute(statement, execution_options=some)
        return map(maker(shape, tuple(result.keys()), self), result)

    def seal(self, text: str, business_id: str, column: str, row: str) -> bytes | None:
        """Seal a text for a column; an empty one is none."""
        return self.vault.seal(text, business_id, column, row) if text else None

    def sealed_row(self, value: "DataclassInstance") -> dict[str, Any]:
        """Return the fields of a dataclass as an insert takes them, its `SealedIn` texts sealed."""
        row = row_of(value)
        for name, place in sealed_fields(type(value)).items():
            named = row_key(*(row[column] for column in place.row))
            row[name] = self.seal(row[name], row["business_id"], place.column, named)
        return row

    def open_text(self, sealed: bytes, business_id: str, column: str, row: str) -> str:
        """Open a text for a reader; log a text that does not open and return `UNREADABLE`."""
        try:
            return self.vault.open(sealed, business_id, column, row)
        except Sealed:
            logger().error("vault.unreadable", business_id=business_id, column=column, row=row)
            return UNREADABLE

    def scalar(self, statement: sa.Executable) -> Any:
        return self.connection.execute(statement).scalar()

    def insert(self, table: sa.Table, row: Row) -> None:
        self.connection.execute(plain_insert(table), dict(row))

    def insert_ignore(self, table: sa.Table, row: Row) -> bool:
        """Insert unless a unique key is taken; return whether the row is new."""
        statement = insert_or_ignore(self.connection.dialect.name, table)
        # Without the option an INSERT's row count is lost on PostgreSQL.
        options = {"preserve_rowcount": True}
        return self.connection.execute(statement, dict(row), execution_options=options).rowcount == 1

    def save(
        self,
        table: sa.Table,
        rows: Row | Sequence[Row],
        keys: Sequence[str] = (),
        changes: Sequence[str] = (),
    ) -> None:
        """Insert rows, or change those with the same key; a row of another business stays as it is.

        Args:
            table: has the rows.
            rows: one row, or several with the same columns.
            keys: columns of a unique key; by default those of the primary key.
            changes: columns to change; by default all of the rows but the key.
        """
        if rows:
            names = tuple(rows if isinstance(rows, Mapping) else rows[0])
            dialect = self.connection.dialect.name
            self.execute(_saving(dialect, table, tuple(keys), tuple(changes) or names), rows)

    def upsert(self, table: sa.Table) -> Any:
        """Return the dialect's INSERT, with ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
        return insert_for(self.connection.dialect.name, table)

    def change(
        self,
        table: sa.Table,
        business_id: str,
        row_id: str | int,
        *where: sa.ColumnElement[bool],
        **values: Any,
    ) -> bool:
        """Change a row of a business; False when it is gone, or not as ``where`` says."""
        own = sa.update(table).where(*rows_of(table, business_id, id=row_id), *where)
        return self.execute(own.values(**values)).rowcount == 1

    def delete(self, table: sa.Table, business_id: str, **values: Any) -> int:
        """Delete the rows of a business with these values, or one of several; return how many."""
        return self.execute(table.delete().where(*rows_of(table, business_id, **values))).rowcount

    def delete_some(self, table: sa.Table, *where: sa.ColumnElement[bool], most: int = 500) -> int:
        """Delete at most ``most`` rows that match, and return how many."""
        keys = list(table.primary_key.columns)
        some = sa.select(*keys).where(*where).limit(most)
        statement = table.delete().where((sa.tuple_(*keys) if len(keys) > 1 else keys[0]).in_(some))
        return self.connection.execute(statement).rowcount

    def advisory_locks(self, numbers: Collection[int], *, is_shared: bool = False) -> None:
        """Wait for the locks of these numbers, in order, and hold them until the transaction ends.

        Several transactions may hold a shared lock, unless one of them holds it alone.
        Needed where two transactions must not miss each other's new rows. SQLite has one writer anyway.
        """
        if numbers and self.locks_rows:
            statement = _HOLD_SHARED if is_shared else _HOLD
            self.connection.execute(statement, {"numbers": array_of("BIGINT", sorted(numbers))})

    def hold_key(self, *parts: str) -> None:
        """Take the lock of a name, before counting rows that have an upper limit.

        Without it two transactions that count at once would both find room for the last row.
        """
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
        self.advisory_locks([int.from_bytes(digest[:7])])

    def forget_pages(self) -> None:
        """Free SQLite's page cache; for work that reads each row once."""
        if self.connection.dialect.name == "sqlite":
            self.connection.exec_driver_sql("PRAGMA shrink_memory")

    @property
    def locks_rows(self) -> bool:
        """Return whether this is PostgreSQL; SQLite has one writer, and ignores ``SELECT … FOR UPDATE``."""
        return self.connection.dialect.name == "postgresql"


type Work[T] = Callable[[Tx], T]


def purging(
    column: sa.Column[Any], lifetime: timedelta | None = None, most: int = 500
) -> Callable[[Tx], int]:
    """Return maintenance that deletes some rows older than a lifetime, or past their expiry, and counts them.

    ``column`` is the time from which they live, or without a lifetime that of their expiry; at most ``most``
    rows are deleted at once.
    """

    def purge(tx: Tx) -> int:
        is_over = column <= tx.now if lifetime is None else column < tx.now - lifetime
        return tx.delete_some(column.table, is_over, most=most)

    return purge


def rows_of(table: sa.Table, business_id: Any, **values: Any) -> list[sa.ColumnElement[bool]]:
    """Return the conditions for rows of a business with these values, or one of several."""
    several = {name for name, value in values.items() if isinstance(value, list | tuple | Set)}
    chosen = (
        table.c[name].in_(value) if name in several else table.c[name] == value
        for name, value in values.items()
    )
    return [table.c.business_id == business_id, *chosen]


@cache
def plain_insert(table: sa.Table) -> Any:
    """Return the cached INSERT of a table: building it costs more than running it."""
    return table.insert()


@cache
def insert_or_ignore(dialect: str, table: sa.Table) -> Any:
    return insert_for(dialect, table).on_conflict_do_nothing()


@cache
def _saving(dialect: str, table: sa.Table, keys: tuple[str, ...], changes: tuple[str, ...]) -> Any:
    """Return the cached INSERT of `Tx.save`."""
    insert = insert_for(dialect, table)
    keys = keys or tuple(table.primary_key.columns.keys())
    changed = {name: insert.excluded[name] for name in changes if name not in (*keys, "business_id")}
    is_own = None
    if "business_id" in table.c and "business_id" not in keys:
        is_own = table.c.business_id == insert.excluded.business_id
    return insert.on_conflict_do_update(index_elements=keys, set_=changed, where=is_own)


def insert_for(dialect: str, table: sa.Table) -> Any:
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)


def sealed_fields(shape: type[Any]) -> dict[str, SealedIn]:
    """Return the sealed fields of a dataclass."""
    return {
        field.name: place
        for field in fields(shape)
        for place in getattr(field.type, "__metadata__", ())
        if isinstance(place, SealedIn)
    }


type _Opener = tuple[int, str, int, tuple[int, ...]]
"""Place of a sealed field in a row, its column for the vault, and the places of its tenant and its key."""


@cache
def _plan_of_fields(
    shape: type[Any], columns: tuple[str, ...]
) -> tuple[tuple[tuple[str, int], ...], tuple[_Opener, ...], bool]:
    """Return the places of a dataclass's fields in a row, openers of sealed ones, and if they are the row."""
    at = {name: place for place, name in enumerate(columns)}
    places = tuple((field.name, at[field.name]) for field in fields(shape) if field.name in at)
    is_whole = columns == tuple(field.name for field in fields(shape) if not field.kw_only)
    openers = tuple(
        (at[name], sealed_in.column, at["business_id"], tuple(at[key_name] for key_name in sealed_in.row))
        for name, sealed_in in sealed_fields(shape).items()
        if name in at
    )
    return places, openers, is_whole


def maker[T](shape: type[T], columns: tuple[str, ...], tx: Tx) -> Callable[[Sequence[Any]], T]:
    """Return a function that converts rows with these columns to a dataclass.

    While writing, a sealed field that does not open raises `Sealed` instead of reading as `UNREADABLE`.
    """
    places, openers, is_whole = _plan_of_fields(shape, columns)  # type: ignore[arg-type]  # a class is hashable
    open_text = tx.open_text if tx.is_reading else tx.vault.open

    def to_value(row: Sequence[Any]) -> T:
        values = row
        if openers:
            values = list(row)
            for place, column, tenant_at, key_at in openers:
                if row[place] is None:
                    values[place] = ""
                else:
                    named = row_key(*(row[at] for at in key_at))
                    values[place] = open_text(row[place], row[tenant_at], column, named)
        if is_whole:
            return shape(*values)
        return shape(**{name: values[place] for name, place in places})

    return to_value


def driver_of(tx: Tx) -> Any:
    """Return the driver's connection, inside of an open transaction."""
    if not tx.connection.in_transaction():
        tx.connection.begin()
    return tx.connection.connection.driver_connection


@contextmanager
def savepoint(tx: Tx) -> Iterator[None]:
    """Undo the work within if it raises; earlier work stays.

    On SQLite it goes through the driver, since SQLAlchemy's takes as long as a small write.
    """
    before = len(tx.deferred_events or ())
    try:
        if tx.locks_rows:
            with tx.connection.begin_nested():
                yield
        else:
            run = driver_of(tx).execute
            run("SAVEPOINT part")
            try:
                yield
            except BaseException:
                run("ROLLBACK TO part")
                raise
            finally:
                run("RELEASE part")
    except BaseException:
        if tx.deferred_events:
            del tx.deferred_events[before:]
        raise
