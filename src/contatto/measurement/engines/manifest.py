"""The manifest of sealed files: which there are, and how far the database has dropped what they hold."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import BigInteger, Column, String, Table, select, update

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, metadata, row_of, text
from contatto.measurement.model import SealedFile

sealed_files = Table(
    "sealed_files",
    metadata,
    Column("name", String(80), primary_key=True),
    text("folder"),
    Column("day", String(10), nullable=False),
    Column("part", BigInteger, nullable=False),
    Column("touches", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    instant("sealed_at"),
    Column("dropped_through", BigInteger, nullable=False, server_default="-1"),
    Column("dropped", BigInteger, nullable=False, server_default="0"),
)
"""A file that is not listed here does not count. A file holds the touches of all businesses."""

ALL_DROPPED: Final = (1 << 63) - 1
"""How far a file is dropped whose views are all out of the database."""


def list_sealed_files(tx: Tx) -> list[SealedFile]:
    return tx.list(SealedFile, select(sealed_files).order_by(sealed_files.c.day, sealed_files.c.part))


def list_sealed_files_of(tx: Tx, days: Collection[str]) -> list[SealedFile]:
    """The files of some days."""
    found = select(sealed_files).where(sealed_files.c.day.in_(sorted(days)))
    return tx.list(SealedFile, found.order_by(sealed_files.c.day, sealed_files.c.part)) if days else []


def list_sealed_files_between(tx: Tx, first: str, last: str) -> list[SealedFile]:
    """The files of the days from one to another."""
    found = select(sealed_files).where(sealed_files.c.day.between(first, last))
    return tx.list(SealedFile, found.order_by(sealed_files.c.day, sealed_files.c.part))


def find_sealed_file(tx: Tx, name: str) -> SealedFile | None:
    return tx.find(SealedFile, select(sealed_files).where(sealed_files.c.name == name))


def append_sealed_file(tx: Tx, file: SealedFile) -> bool:
    """List a file in the manifest; False when it is listed already."""
    row = row_of(file)
    return tx.insert_ignore(sealed_files, row | {"sealed_at": tx.now})


def record_folder(tx: Tx, file: SealedFile) -> None:
    """Note where a file is now."""
    tx.execute(update(sealed_files).where(sealed_files.c.name == file.name).values(folder=file.folder))


def record_dropped(tx: Tx, file: SealedFile, through: int, count: int) -> bool:
    """Note that the database has dropped more views of a file; False when somebody else went on with it."""
    same = (sealed_files.c.name == file.name, sealed_files.c.dropped_through == file.dropped_through)
    more = {"dropped_through": through, "dropped": sealed_files.c.dropped + count}
    return tx.execute(update(sealed_files).where(*same).values(more)).rowcount == 1
