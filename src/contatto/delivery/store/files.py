"""Which files of decisions there are, and whom these must forget."""

from collections.abc import Collection
from itertools import batched
from typing import Final

from sqlalchemy import BigInteger, Column, String, Table, delete, exists, select, update

from contatto.delivery.model.files import DecisionFile
from contatto.kit.db.prepared import insert_new
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, metadata, row_of, text

decision_files = Table(
    "decision_files",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("name", String(120), primary_key=True),
    text("folder"),
    Column("day", String(10), nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
)
"""A file that is not listed here does not count."""

forgotten = Table(
    "forgotten_viewers",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("person_id", String(36), primary_key=True),
    instant("forgotten_at"),
)
"""Ids of erased persons, until no file holds them any more."""

_AT_ONCE: Final = 500


def list_decision_files(tx: Tx) -> list[DecisionFile]:
    """All files of all businesses, for who keeps the folder."""
    return tx.list(DecisionFile, select(decision_files).order_by(decision_files.c.business_id, "first_seq"))


def list_decision_files_of(tx: Tx, business_id: str, first_day: str = "") -> list[DecisionFile]:
    """The files of a business from a day on, in the order of the log."""
    mine = (decision_files.c.business_id == business_id, decision_files.c.day >= first_day)
    return tx.list(DecisionFile, select(decision_files).where(*mine).order_by(decision_files.c.first_seq))


def append_decision_file(tx: Tx, file: DecisionFile) -> bool:
    """List a file; False when it is listed already."""
    return tx.insert_ignore(decision_files, row_of(file))


def record_decision_file(tx: Tx, file: DecisionFile) -> None:
    """Note that a file was moved or written anew."""
    statement = update(decision_files).where(
        decision_files.c.business_id == file.business_id, decision_files.c.name == file.name
    )
    tx.execute(statement.values(folder=file.folder, size=file.size, sha256=file.sha256))


def delete_decision_file(tx: Tx, file: DecisionFile) -> None:
    tx.execute(
        delete(decision_files).where(
            decision_files.c.business_id == file.business_id, decision_files.c.name == file.name
        )
    )


def append_forgotten(tx: Tx, business_id: str, persons: Collection[str]) -> None:
    """Have some persons forgotten by the files of a business."""
    rows = [
        {"business_id": business_id, "person_id": person, "forgotten_at": tx.now}
        for person in sorted(persons)
    ]
    insert_new(tx, forgotten, rows)


def list_forgetting_businesses(tx: Tx) -> list[str]:
    """Businesses with files that must forget somebody."""
    return list(tx.execute(select(forgotten.c.business_id).distinct().order_by("business_id")).scalars())


def list_forgotten(tx: Tx, business_id: str) -> list[str]:
    """Whom the files of a business must forget."""
    query = select(forgotten.c.person_id).where(forgotten.c.business_id == business_id)
    return list(tx.execute(query.order_by(forgotten.c.person_id)).scalars())


def delete_forgotten(tx: Tx, business_id: str, persons: Collection[str]) -> None:
    """Note that no file of a business holds some persons any more."""
    for some in batched(sorted(persons), _AT_ONCE):
        tx.execute(
            delete(forgotten).where(forgotten.c.business_id == business_id, forgotten.c.person_id.in_(some))
        )


def delete_forgotten_without_files(tx: Tx) -> int:
    """Delete what nothing is left to do for: the business has no files."""
    has_files = exists().where(decision_files.c.business_id == forgotten.c.business_id)
    return tx.delete_some(forgotten, ~has_files)
