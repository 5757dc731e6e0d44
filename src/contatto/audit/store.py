"""Append-only table of audit entries."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Column, Index, String, Table, bindparam, func, select

from contatto.audit.model import AuditEntry, AuditRecord
from contatto.audit.rules import entry_digest
from contatto.kit.db.prepared import insert_rows
from contatto.kit.db.tx import Serial, Tx, instant, metadata, row_of, tenant, text
from contatto.kit.ids import hash_secret

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    tenant(),
    instant("at"),
    Column("actor_id", String(64), nullable=False),
    text("actor"),
    text("act"),
    text("object"),
    Column("request_id", String(64), nullable=False),
    Column("before", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    text("seen", default=""),
    Index("ix_audit_entries_business_id", "business_id", "seq"),
    Index("ix_audit_entries_of_object", "business_id", "object", "seq"),
)


_INSERT: Final = audit_entries.insert()
_LAST: Final = (
    select(audit_entries.c.digest)
    .where(audit_entries.c.business_id == bindparam("of_business"))
    .order_by(audit_entries.c.seq.desc())
    .limit(1)
)
"""Built once: every change and every logged read needs them."""


def append_records(tx: Tx, records: Sequence[AuditRecord]) -> None:
    """Append an entry for each record, chained to the one before in the log of its business."""
    by_business: dict[str, list[AuditRecord]] = {}
    for record in records:
        by_business.setdefault(record.business_id, []).append(record)
    # Always in the same order, so that two writers never wait for each other.
    locks = {name: int(hash_secret(f"audit:{name}")[:15], 16) for name in by_business}
    for lock, business_id in sorted((lock, name) for name, lock in locks.items()):
        tx.advisory_lock(lock)
        before = find_last_digest(tx, business_id)
        rows: list[dict[str, Any]] = []
        for record in by_business[business_id]:
            entry = AuditEntry(seq=0, at=tx.now, before=before, digest="", **row_of(record))
            before = entry_digest(entry)
            rows.append(row_of(replace(entry, digest=before), without={"seq"}))
        insert_rows(tx, _INSERT, rows)


def find_last_digest(tx: Tx, business_id: str) -> str:
    """Return the digest of the latest entry of a business; empty before the first."""
    return tx.execute(_LAST, {"of_business": business_id}).scalar() or ""


def list_audit_entries(tx: Tx, business_id: str, span: tuple[int, int]) -> list[AuditEntry]:
    """Return entries, latest first; ``span`` is offset and limit."""
    in_business = select(audit_entries).where(audit_entries.c.business_id == business_id)
    latest = in_business.order_by(audit_entries.c.seq.desc()).offset(span[0]).limit(span[1])
    return tx.list(AuditEntry, latest)


def list_acts_on(tx: Tx, business_id: str, act: str, object_: str, limit: int) -> list[AuditEntry]:
    """Return entries of one action on exactly this object, latest first."""
    on_object = select(audit_entries).where(
        audit_entries.c.business_id == business_id,
        audit_entries.c.object == object_,
        audit_entries.c.act == act,
    )
    return tx.list(AuditEntry, on_object.order_by(audit_entries.c.seq.desc()).limit(limit))


def count_audit_entries(tx: Tx, business_id: str) -> int:
    in_business = select(func.count()).where(audit_entries.c.business_id == business_id)
    return int(tx.scalar(in_business))
