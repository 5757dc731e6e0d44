"""Files of leads that programs asked for; a file is sealed, and kept for some minutes only."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, String, Table, select, update

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, instant, key, metadata, sealed, tenant
from contatto.leads.rules.files import FileState, LeadFile

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
    instant("finished_at", nullable=True),
    sealed("content", nullable=True),
    Index("ix_lead_files_waiting", "state", "number"),
)


def save_lead_file(tx: Tx, file: LeadFile) -> None:
    tx.insert(lead_files, {name: getattr(file, name) for name in LeadFile.__dataclass_fields__})


def find_lead_file(tx: Tx, business_id: str, number: int) -> LeadFile | None:
    """A file by the API's ``task_id``."""
    mine = select(lead_files).where(lead_files.c.business_id == business_id)
    return tx.find(LeadFile, mine.where(lead_files.c.number == number))


def find_file_content(tx: Tx, business_id: str, number: int) -> bytes | None:
    """What is in a file, opened; None when it is not made yet, or not kept any more."""
    mine = select(lead_files.c.content).where(lead_files.c.business_id == business_id)
    content = tx.scalar(mine.where(lead_files.c.number == number))
    return None if content is None else tx.vault.open_bytes(content, business_id)


def list_waiting_files(tx: Tx, limit: int) -> list[LeadFile]:
    """The oldest files of all businesses that wait to be made; for the worker, who claims them."""
    waiting = select(lead_files).where(lead_files.c.state == FileState.CREATED)
    waiting = waiting.order_by(lead_files.c.number).limit(limit)
    return tx.list(LeadFile, waiting.with_for_update(skip_locked=True) if tx.locks_rows else waiting)


def record_file(
    tx: Tx, file: LeadFile, state: FileState, content: bytes | None = None, file_type: str = ""
) -> None:
    """Set the state of a file, with its content where it was made."""
    mine = update(lead_files).where(lead_files.c.business_id == file.business_id, lead_files.c.id == file.id)
    kept = None if content is None else tx.vault.seal_bytes(content, file.business_id)
    tx.execute(mine.values(state=state, content=kept, file_type=file_type, finished_at=tx.now))


def delete_contents(tx: Tx, before: datetime) -> int:
    """Drop the contents of files that were finished before a time; their rows stay to say so."""
    old = update(lead_files).where(lead_files.c.finished_at < before, lead_files.c.content.is_not(None))
    return tx.execute(old.values(content=None)).rowcount


def delete_old_files(tx: Tx, before: datetime) -> int:
    """Delete files that were asked for before a time."""
    return tx.execute(lead_files.delete().where(lead_files.c.created_at < before)).rowcount
