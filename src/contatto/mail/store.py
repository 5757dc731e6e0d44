"""Table of queued mails."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Table, select

from contatto.kit.db.tx import Tx, instant, key, metadata, sealed, tenant
from contatto.mail.model import Mail

mails = Table(
    "mails",
    metadata,
    key(),
    tenant(),
    sealed("recipient"),
    sealed("subject"),
    sealed("text"),
    instant("created_at"),
    Index("ix_mails_created_at", "created_at"),
)


def save_mail(tx: Tx, row: dict[str, Any]) -> None:
    tx.insert(mails, row)


def find_mail(tx: Tx, business_id: str, mail_id: str) -> Mail | None:
    in_business = mails.c.business_id == business_id
    return tx.find(Mail, select(mails).where(in_business, mails.c.id == mail_id))


def delete_mail(tx: Tx, business_id: str, mail_id: str) -> None:
    tx.execute(mails.delete().where(mails.c.business_id == business_id, mails.c.id == mail_id))


def delete_old_mails(tx: Tx, before: datetime) -> int:
    """Delete some mails from before a time; return their number."""
    return tx.delete_some(mails, mails.c.created_at < before)
