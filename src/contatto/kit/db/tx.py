"""Transaction: connection, time, vault and dependencies."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
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
)

from contatto.kit.db.types import array_of
from contatto.kit.i18n import UNREADABLE, SealedIn
from contatto.kit.log import logger
from contatto.kit.vault import Sealed, Vault, row_key


@runtime_checkable
class Closable(Protocol):
    """A part that holds a thread, a process or a file open."""

    def close(self) -> None: ...


class MissingPart(LookupError):
    """Something needs a part that the installation was built without."""


class Parts:
    """Values of different types, one of each.

    Args:
        parts: the values; each is found by its own class.
    """

    def __init__(self, *parts: object) -> None:
        self._by_type: Final[dict[type, Any]] = {type(part): part for part in parts}
        if len(self._by_type) != len(parts):
            raise ValueError("two parts of an installation have the same type")

    def __iter__(self) -> Iterator[object]:
        return iter(self._by_type.values())

    def __getitem__[T](self, kind: type[T]) -> T:
        """The part of this type.

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
"""What an installation has of which nothing was handed in: asking for any part is an error."""


_AT_ONCE: Final = 5_000
_HOLD: Final = text("SELECT pg_advisory_xact_lock(number) FROM unnest(CAST(:numbers AS BIGINT[])) AS number")
type Row = Mapping[str, Any]
type MadeLater = Callable[[], Row]
"""Makes a row where rows are written, many after the other: by itself each costs several times as much."""


@dataclass(frozen=True, slots=True)
class Tx:
    """An open transaction. The edge opens and ends it; nothing below commits or rolls back.

    Attributes:
        now: the one time of this transaction, in UTC.
        vault: seals and opens contact values.
        ports: what capabilities ask of those above them.
        is_reading: nothing is written, so words may stand in place of a field that does not open.
    """

    connection: Connection
    now: datetime
    vault: Vault
    ports: Parts = NO_PARTS
    is_reading: bool = False

    def execute(self, statement: Executable, rows: Sequence[Row] | Row | None = None) -> CursorResult[Any]:
        """Run a statement, once or for each of the rows."""
        return self.connection.execute(statement, rows)

    def find[T](self, shape: type[T], statement: Executable, values: Row | None = None) -> T | None:
        """The first row as a dataclass, or None. Columns are matched to fields by name, sealed ones opened.

        ``values`` are those of a statement with ``bindparam`` in it: on hot paths a statement is made once
        and kept, since building it anew costs several times what running it does.
        """
        result = self.connection.execute(statement, values)
        made = _maker(shape, tuple(result.keys()), self)
        row = result.first()
        return None if row is None else made(row)

    def list[T](self, shape: type[T], statement: Executable, values: Row | None = None) -> list[T]:
        """All rows as dataclasses; ``values`` as in ``find``."""
        result = self.connection.execute(statement, values)
        made = _maker(shape, tuple(result.keys()), self)
        return [made(row) for row in result.all()]

    def stream[T](self, shape: type[T], statement: Executable) -> Iterator[T]:
        """Rows as dataclasses, some thousands at a time, for what does not fit into memory."""
        some = {"yield_per": _AT_ONCE}
        result = self.connection.execute(statement, execution_options=some)
        return map(_maker(shape, tuple(result.keys()), self), result)

    def seal(self, text: str, business_id: str, column: str, row: str) -> bytes | None:
        """Seal a text for a column; an empty one is none."""
        return self.vault.seal(text, business_id, column, row) if text else None

    def open_text(self, sealed: bytes, business_id: str, column: str, row: str) -> str:
        """Open a text for a reader; where it does not open, return `UNREADABLE` and log its place."""
        try:
            return self.vault.open(sealed, business_id, column, row)
        except Sealed:
            logger().error("vault.unreadable", business_id=business_id, column=column, row=row)
            return UNREADABLE

    @property
    def field_opener(self) -> "OpenText":
        """Opens sealed fields; one that writes raises `Sealed`, lest it stores or sends the words."""
        return self.open_text if self.is_reading else self.vault.open

    def scalar(self, statement: Executable) -> Any:
        return self.connection.execute(statement).scalar()

    def insert(self, table: Table, row: Row) -> None:
        self.connection.execute(plain_insert(table), dict(row))

    def insert_ignore(self, table: Table, row: Row) -> bool:
        """Insert unless a unique key is taken; say whether the row is new."""
        statement = insert_or_ignore(self.connection.dialect.name, table)
        # Without the option an INSERT's row count is lost on PostgreSQL.
        kept = {"preserve_rowcount": True}
        return self.connection.execute(statement, dict(row), execution_options=kept).rowcount == 1

    def upsert(self, table: Table) -> Any:
        """The dialect's own INSERT, which has ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
        return insert_for(self.connection.dialect.name, table)

    def delete_some(self, table: Table, *where: ColumnElement[bool], most: int = 500) -> int:
        """Delete some rows that a condition holds for, no more than a batch may; say how many."""
        keys = list(table.primary_key.columns)
        some = select(*keys).where(*where).limit(most)
        statement = table.delete().where((tuple_(*keys) if len(keys) > 1 else keys[0]).in_(some))
        return self.connection.execute(statement).rowcount

    def advisory_lock(self, number: int) -> None:
        """Wait until no other transaction holds this number, and hold it until the end of this one.

        Needed where two transactions must not miss each other's new rows. SQLite has one writer anyway.
        """
        self.advisory_locks([number])

    def advisory_locks(self, numbers: Collection[int]) -> None:
        """The same for many, in an order that all keep to."""
        if numbers and self.locks_rows:
            self.connection.execute(_HOLD, {"numbers": array_of("BIGINT", sorted(numbers))})

    def hold_key(self, *parts: str) -> None:
        """The same for what is named: to be held before counting what there is, where there may be so many.

        Two that count at once would both find room for the last one.
        """
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
        self.advisory_lock(int.from_bytes(digest[:7]))

    def share(self, number: int) -> None:
        """Wait until nobody holds this number, and let nobody hold it until the end; others may share it."""
        if self.locks_rows:
            self.connection.execute(select(func.pg_advisory_xact_lock_shared(number)))

    def forget_pages(self) -> None:
        """Give back the memory of pages that were read; for work through all rows, which reads none twice."""
        if self.connection.dialect.name == "sqlite":
            self.connection.exec_driver_sql("PRAGMA shrink_memory")

    @property
    def locks_rows(self) -> bool:
        """Return whether ``SELECT … FOR UPDATE`` is needed (SQLite has one writer and does not know it)."""
        return self.connection.dialect.name == "postgresql"


@cache
def plain_insert(table: Table) -> Any:
    """Kept, because building a statement anew costs more than running it."""
    return table.insert()


@cache
def insert_or_ignore(dialect: str, table: Table) -> Any:
    return insert_for(dialect, table).on_conflict_do_nothing()


def insert_for(dialect: str, table: Table) -> Any:
    """The INSERT of a dialect by its name."""
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)


def sealed_fields(shape: type[Any]) -> dict[str, SealedIn]:
    """Return the fields of a dataclass that stand sealed in their rows."""
    return {
        field.name: place
        for field in fields(shape)
        for place in getattr(field.type, "__metadata__", ())
        if isinstance(place, SealedIn)
    }


type OpenText = Callable[[bytes, str, str, str], str]
type Opener = Callable[[OpenText, Sequence[Any]], str]
"""Opens one field of a row."""


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
    """The places of a dataclass's fields in a row, and the openers of those that are sealed in it."""

    plain: tuple[tuple[str, int], ...]
    sealed: tuple[tuple[str, Opener], ...]


@cache
def _plan(shape: type[Any], columns: tuple[str, ...]) -> _Plan:
    """Find the places once for all rows."""
    matches = [(field.name, columns.index(field.name)) for field in fields(shape) if field.name in columns]
    places = sealed_fields(shape)
    plain = tuple((name, at) for name, at in matches if name not in places)
    sealed = tuple((name, opener(places[name], at, columns)) for name, at in matches if name in places)
    return _Plan(plain, sealed)


def _maker[T](shape: type[T], columns: tuple[str, ...], tx: Tx) -> Callable[[Any], T]:
    """What makes a dataclass of a row with these columns."""
    plan = _plan(shape, columns)  # type: ignore[arg-type]  # a class is hashable
    plain, sealed = plan.plain, plan.sealed
    open_text = tx.field_opener

    def made(row: Any) -> T:
        return shape(**{name: row[place] for name, place in plain})

    def opened(row: Any) -> T:
        values = {name: row[place] for name, place in plain}
        for name, open_field in sealed:
            values[name] = open_field(open_text, row)
        return shape(**values)

    return opened if sealed else made
