"""Which forms made or enlarged a lead: a row for each that was sent, with the form's name and version."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, func, select

from contatto.kit.db.hot import insert_new
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, metadata, row_of, tenant, text

lead_entries = Table(
    "lead_entries",
    metadata,
    Column("id", String(64), primary_key=True),
    tenant(),
    Column("lead_id", String(36), nullable=False),
    Column("form_id", String(36), nullable=False),
    text("form_name"),
    Column("version", Integer, nullable=False),
    Column("consented", Boolean, nullable=False),
    instant("at"),
    Index("ix_lead_entries_of_lead", "business_id", "lead_id"),
    Index("ix_lead_entries_of_form", "business_id", "form_id", "at"),
)


@dataclass(frozen=True, slots=True)
class FormEntry:
    """A form as a lead knows it; ``id`` is that of the answer, ``consented`` says that any purpose was."""

    id: str
    lead_id: str
    form_id: str
    form_name: str
    version: int
    consented: bool
    at: datetime


def append_entries(tx: Tx, business_id: str, entries: Iterable[FormEntry]) -> int:
    """Append entries; those that are there stay as they are. Say how many were new."""
    return insert_new(tx, lead_entries, [row_of(entry) | {"business_id": business_id} for entry in entries])


def list_entries(tx: Tx, business_id: str, lead_id: str) -> list[FormEntry]:
    """The forms of a lead, oldest first."""
    mine = select(lead_entries).where(
        lead_entries.c.business_id == business_id, lead_entries.c.lead_id == lead_id
    )
    return tx.list(FormEntry, mine.order_by(lead_entries.c.at, lead_entries.c.id))


def list_form_names(tx: Tx, business_id: str) -> list[tuple[str, str]]:
    """The forms that leads came by, with their latest names; each is a jump in the index, not a scan."""
    mine = lead_entries.c.business_id == business_id
    next_one = select(func.min(lead_entries.c.form_id)).where(mine)
    latest = select(lead_entries.c.form_name).where(mine).order_by(lead_entries.c.at.desc()).limit(1)
    found: list[tuple[str, str]] = []
    last = ""
    while form_id := tx.scalar(next_one.where(lead_entries.c.form_id > last)):
        last = str(form_id)
        found.append((last, str(tx.scalar(latest.where(lead_entries.c.form_id == last)))))
    return found
