"""Files of leads that programs asked for; a file is sealed, and kept for some minutes only."""

from datetime import datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Integer,
    String,
    Table,
    Update,
    literal_column,
    select,
    update,
)

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, instant, key, metadata, row_of, sealed, tenant
from contatto.kit.turns import Queue
from contatto.leads.rules.files import FileState, LeadFile

_WAITS: Final[ColumnElement[bool]] = literal_column("state = 'CREATED'")

lead_files = Table(
    "lead_files",
    metadata,
    key(),
    tenant(),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("ad_account_id", String(36), nullable=False),
    Column("page_number", BigInteger, nullable=False),
    Column("ad_number", BigInteger, nullable=False),
    Column("state", Choice(FileState), nullable=False),
    Column("file_type", String(8), nullable=False),
    instant("created_at"),
    instant("due_at"),
    instant("finished_at", nullable=True),
    Column("attempts", Integer, nullable=False),
    sealed("content", nullable=True),
    Index("ix_lead_files_waiting", "business_id", "due_at", sqlite_where=_WAITS, postgresql_where=_WAITS),
)

WAITING: Final = Queue(lead_files, _WAITS, lead_files.c.due_at)
"""Files that are not made yet, or whose maker never came back."""


def save_lead_file(tx: Tx, file: LeadFile) -> None:
    tx.insert(lead_files, row_of(file))


def find_lead_file(tx: Tx, business_id: str, number: int) -> LeadFile | None:
    """A file by the API's ``task_id``."""
    mine = select(lead_files).where(lead_files.c.business_id == business_id)
    return tx.find(LeadFile, mine.where(lead_files.c.number == number))


def find_file_content(tx: Tx, business_id: str, number: int) -> bytes | None:
    """What is in a file, opened; None when it is not made yet, or not kept any more."""
    mine = select(lead_files.c.content, lead_files.c.id).where(lead_files.c.business_id == business_id)
    row = tx.execute(mine.where(lead_files.c.number == number)).first()
    if row is None or row.content is None:
        return None
    return tx.vault.open_bytes(row.content, business_id, "lead_files.content", row.id)


def find_waiting_file(tx: Tx, business_id: str) -> LeadFile | None:
    """The oldest file that waits to be made; for the worker, who claims it."""
    return next(iter(WAITING.list(tx, LeadFile, business_id, 1)), None)


def mark_file_claimed(tx: Tx, file: LeadFile, until: datetime) -> None:
    """Note that a file is worked on; nobody else takes it before that time."""
    tx.execute(_waiting(file).values(due_at=until, attempts=file.attempts + 1))


def mark_file_renewed(tx: Tx, file: LeadFile, until: datetime) -> None:
    tx.execute(_waiting(file).values(due_at=until))


def record_file(
    tx: Tx, file: LeadFile, state: FileState, content: bytes | None = None, file_type: str = ""
) -> None:
    """Set the state of a file that waited, with its content where it was made."""
    place = file.business_id, "lead_files.content", file.id
    sealed_content = None if content is None else tx.vault.seal_bytes(content, *place)
    tx.execute(
        _waiting(file).values(state=state, content=sealed_content, file_type=file_type, finished_at=tx.now)
    )


def _waiting(file: LeadFile) -> Update:
    mine = (lead_files.c.business_id == file.business_id, lead_files.c.id == file.id)
    return update(lead_files).where(*mine, _WAITS)


def delete_contents(tx: Tx, before: datetime) -> int:
    """Drop the contents of files that were finished before a time; their rows stay to say so."""
    old = update(lead_files).where(lead_files.c.finished_at < before, lead_files.c.content.is_not(None))
    return tx.execute(old.values(content=None)).rowcount


def delete_old_files(tx: Tx, before: datetime) -> int:
    """Delete some files that were asked for before a time; say how many."""
    return tx.delete_some(lead_files, lead_files.c.created_at < before)
