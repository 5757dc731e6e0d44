"""Transaction: connection, time, vault and dependencies."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Any, Final, Protocol, runtime_checkable

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    Executable,
    Table,
    func,
    select,
    text,
    tuple_,
    update,
)

from contatto.kit.db.types import array_of
from contatto.kit.i18n import UNREADABLE, SealedIn
from contatto.kit.log import logger
from contatto.kit.vault import Sealed, Vault, row_key


@runtime_checkable
class Closable(Protocol):
    """Dependency that holds a thread, a process or a file open."""

    def close(self) -> None: ...


class MissingPart(LookupError):
    """Error of a dependency that the installation was built without."""


class Parts:
    """Dependency container with one value per type.

    Capabilities declare what they need by type; `wiring` provides it.

    Args:
        parts: the values, stored by their class.
    """

    def __init__(self, *parts: object) -> None:
        self._by_type: Final[dict[type, Any]] = {type(part): part for part in parts}
        if len(self._by_type) != len(parts):
            raise ValueError("two parts of an installation have the same type")

    def __iter__(self) -> Iterator[object]:
        return iter(self._by_type.values())

    def __getitem__[T](self, kind: type[T]) -> T:
        """Return the dependency of this type.

        Raises:
            MissingPart: the installation has none.
        """
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

    def add(self, kind: str, ids: Iterable[str]) -> None:
        """Record that the request opened values of these ids."""
        if not self.counts:
            self._ids.setdefault(kind, {}).update(dict.fromkeys(ids))

    def count(self, kind: str, number: int) -> None:
        """Record the number of values that a file will contain; later reads are not recorded."""
        self.counts[kind] = number

    @property
    def ids(self) -> Ids:
        return {kind: list(ids) for kind, ids in self._ids.items() if ids}

    def __bool__(self) -> bool:
        return bool(self.counts or self.ids)


_AT_ONCE: Final = 5_000
_HOLD: Final = text("SELECT pg_advisory_xact_lock(number) FROM unnest(CAST(:numbers AS BIGINT[])) AS number")
type Row = Mapping[str, Any]
type MadeLater = Callable[[], Row]
"""Build a row in the writer's thread, where many rows in sequence cost less."""


@dataclass(frozen=True, slots=True)
class Tx:
    """An open transaction. The edge opens and ends it; nothing below commits or rolls back.

    Attributes:
        now: the one time of this transaction, in UTC.
        vault: seals and opens contact values.
        ports: dependencies on the packages above.
        is_reading: the transaction only reads, so a fixed text may replace a field that does not open.
        contact_reads: reads of contact data by the request; None in background work.
    """

    connection: Connection
    now: datetime
    vault: Vault
    ports: Parts = NO_PARTS
    is_reading: bool = False
    contact_reads: ContactReads | None = None

    def record_contact_reads(self, kind: str, ids: Iterable[str]) -> None:
        """Record for the audit log that values of these ids were opened."""
        if self.contact_reads is not None:
            self.contact_reads.add(kind, ids)

    def execute(self, statement: Executable, rows: Sequence[Row] | Row | None = None) -> CursorResult[Any]:
        """Run a statement, once or for each of the rows."""
        return self.connection.execute(statement, rows)

    def find[T](self, shape: type[T], statement: Executable, values: Row | None = None) -> T | None:
        """Return the first row as a dataclass, or None.

        Fields are matched to columns by name, and sealed fields are opened. ``values`` fill the ``bindparam``
        marks of a statement: on hot paths it is built once, since building costs more than running.
        """
        result = self.connection.execute(statement, values)
        to_value = _maker(shape, tuple(result.keys()), self)
        row = result.first()
        return None if row is None else to_value(row)

    def list[T](self, shape: type[T], statement: Executable, values: Row | None = None) -> list[T]:
        """Return all rows as dataclasses; ``values`` as in ``find``."""
        result = self.connection.execute(statement, values)
        to_value = _maker(shape, tuple(result.keys()), self)
        return [to_value(row) for row in result.all()]

    def stream[T](self, shape: type[T], statement: Executable) -> Iterator[T]:
        """Yield rows as dataclasses, some thousands at a time, for results larger than memory."""
        some = {"yield_per": _AT_ONCE}
        result = self.connection.execute(statement, execution_options=some)
        return map(_maker(shape, tuple(result.keys()), self), result)

    def seal(self, text: str, business_id: str, column: str, row: str) -> bytes | None:
        """Seal a text for a column; an empty one is none."""
        return self.vault.seal(text, business_id, column, row) if text else None

    def open_text(self, sealed: bytes, business_id: str, column: str, row: str) -> str:
        """Open a text for a reader; log a text that does not open and return `UNREADABLE`."""
        try:
            return self.vault.open(sealed, business_id, column, row)
        except Sealed:
            logger().error("vault.unreadable", business_id=business_id, column=column, row=row)
            return UNREADABLE

    @property
    def field_opener(self) -> "OpenText":
        """Return the opener of sealed fields; while writing, it raises `Sealed` instead of `UNREADABLE`."""
        return self.open_text if self.is_reading else self.vault.open

    def scalar(self, statement: Executable) -> Any:
        return self.connection.execute(statement).scalar()

    def insert(self, table: Table, row: Row) -> None:
        self.connection.execute(plain_insert(table), dict(row))

    def insert_ignore(self, table: Table, row: Row) -> bool:
        """Insert unless a unique key is taken; return whether the row is new."""
        statement = insert_or_ignore(self.connection.dialect.name, table)
        # Without the option an INSERT's row count is lost on PostgreSQL.
        options = {"preserve_rowcount": True}
        return self.connection.execute(statement, dict(row), execution_options=options).rowcount == 1

    def upsert(self, table: Table) -> Any:
        """Return the dialect's INSERT, with ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
        return insert_for(self.connection.dialect.name, table)

    def change(
        self, table: Table, business_id: str, row_id: str | int, *where: ColumnElement[bool], **values: Any
    ) -> bool:
        """Change a row of a business; False when it is gone, or not as ``where`` says."""
        own = update(table).where(*rows_of(table, business_id, id=row_id), *where)
        return self.execute(own.values(**values)).rowcount == 1

    def delete(self, table: Table, business_id: str, **values: Any) -> int:
        """Delete the rows of a business with these values, or one of several; return how many."""
        return self.execute(table.delete().where(*rows_of(table, business_id, **values))).rowcount

    def delete_some(self, table: Table, *where: ColumnElement[bool], most: int = 500) -> int:
        """Delete at most ``most`` rows that match, and return how many."""
        keys = list(table.primary_key.columns)
        some = select(*keys).where(*where).limit(most)
        statement = table.delete().where((tuple_(*keys) if len(keys) > 1 else keys[0]).in_(some))
        return self.connection.execute(statement).rowcount

    def advisory_lock(self, number: int) -> None:
        """Wait for the lock of this number, and hold it until the transaction ends.

        Needed where two transactions must not miss each other's new rows. SQLite has one writer anyway.
        """
        self.advisory_locks([number])

    def advisory_locks(self, numbers: Collection[int]) -> None:
        """Take several locks, in the same order everywhere."""
        if numbers and self.locks_rows:
            self.connection.execute(_HOLD, {"numbers": array_of("BIGINT", sorted(numbers))})

    def hold_key(self, *parts: str) -> None:
        """Take the lock of a name, before counting rows that have an upper limit.

        Without it two transactions that count at once would both find room for the last row.
        """
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
        self.advisory_lock(int.from_bytes(digest[:7]))

    def share(self, number: int) -> None:
        """Take the shared lock of this number until the transaction ends."""
        if self.locks_rows:
            self.connection.execute(select(func.pg_advisory_xact_lock_shared(number)))

    def forget_pages(self) -> None:
        """Free SQLite's page cache; for work that reads each row once."""
        if self.connection.dialect.name == "sqlite":
            self.connection.exec_driver_sql("PRAGMA shrink_memory")

    @property
    def locks_rows(self) -> bool:
        """Return whether ``SELECT … FOR UPDATE`` is needed; SQLite has one writer and does not support it."""
        return self.connection.dialect.name == "postgresql"


def rows_of(table: Table, business_id: Any, **values: Any) -> list[ColumnElement[bool]]:
    """Return the conditions for rows of a business with these values, or one of several."""
    several = {name for name, value in values.items() if isinstance(value, list | tuple | Set)}
    chosen = (
        table.c[name].in_(value) if name in several else table.c[name] == value
        for name, value in values.items()
    )
    return [table.c.business_id == business_id, *chosen]


@cache
def plain_insert(table: Table) -> Any:
    """Return the cached INSERT of a table: building it costs more than running it."""
    return table.insert()


@cache
def insert_or_ignore(dialect: str, table: Table) -> Any:
    return insert_for(dialect, table).on_conflict_do_nothing()


def insert_for(dialect: str, table: Table) -> Any:
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)


def sealed_fields(shape: type[Any]) -> dict[str, SealedIn]:
    """Return the sealed fields of a dataclass."""
    return {
        field.name: place
        for field in fields(shape)
        for place in getattr(field.type, "__metadata__", ())
        if isinstance(place, SealedIn)
    }


type OpenText = Callable[[bytes, str, str, str], str]
type Opener = Callable[[OpenText, Sequence[Any]], str]
"""Open one field of a row."""


def opener(place: SealedIn, at: int, columns: Sequence[str]) -> Opener:
    """Return a function that opens one field of rows with these columns."""
    tenant, row = columns.index("business_id"), [columns.index(name) for name in place.row]

    def open_field(open_text: OpenText, values: Sequence[Any]) -> str:
        sealed = values[at]
        if sealed is None:
            return ""
        return open_text(sealed, values[tenant], place.column, row_key(*(values[name_at] for name_at in row)))

    return open_field


@dataclass(frozen=True, slots=True)
class _Plan:
    """Positions of a dataclass's fields in a row, and openers of the sealed ones."""

    plain: tuple[tuple[str, int], ...]
    sealed: tuple[tuple[str, Opener], ...]


@cache
def _plan(shape: type[Any], columns: tuple[str, ...]) -> _Plan:
    """Find the positions once for all rows."""
    matches = [(field.name, columns.index(field.name)) for field in fields(shape) if field.name in columns]
    places = sealed_fields(shape)
    plain = tuple((name, at) for name, at in matches if name not in places)
    sealed = tuple((name, opener(places[name], at, columns)) for name, at in matches if name in places)
    return _Plan(plain, sealed)


def _maker[T](shape: type[T], columns: tuple[str, ...], tx: Tx) -> Callable[[Any], T]:
    """Return a function that converts rows with these columns to a dataclass."""
    plan = _plan(shape, columns)  # type: ignore[arg-type]  # a class is hashable
    plain, sealed = plan.plain, plan.sealed
    open_text = tx.field_opener

    def plain_value(row: Any) -> T:
        return shape(**{name: row[place] for name, place in plain})

    def opened_value(row: Any) -> T:
        values = {name: row[place] for name, place in plain}
        for name, open_field in sealed:
            values[name] = open_field(open_text, row)
        return shape(**values)

    return opened_value if sealed else plain_value
