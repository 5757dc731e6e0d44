"""Tables of how members want to be alerted, and of alerts that wait for their mail."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, exists, or_, select, tuple_

from contatto.alerts.model import Alert, Choices, Kind
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Words, instant, metadata, tenant
from contatto.kit.rows import row_of

alert_choices = Table(
    "alert_choices",
    metadata,
    Column("member_id", String(36), primary_key=True),
    tenant(),
    Column("mailed", Words, nullable=False),
    Column("digested", Words, nullable=False),
    Column("shown", Words, nullable=False),
    Column("has_sound", Boolean, nullable=False),
    Column("quiet_from", Integer, nullable=False),
    Column("quiet_until", Integer, nullable=False),
    Column("digest_at", Integer, nullable=False),
    Index("ix_alert_choices_business_id", "business_id"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("member_id", String(36), primary_key=True),
    Column("kind", Choice(Kind), primary_key=True),
    Column("subject_id", String(36), primary_key=True),
    Column("stamp", String(40), primary_key=True),
    tenant(),
    instant("created_at"),
    instant("mail_at", nullable=True),
    Index("ix_alerts_mail_at", "mail_at"),
    Index("ix_alerts_created_at", "created_at"),
    Index("ix_alerts_told", "business_id", "kind", "created_at"),
)
"""A row stays for a while after it was told, so that the same thing is not told twice."""
_KEYS = alerts.c.member_id, alerts.c.kind, alerts.c.subject_id, alerts.c.stamp


def save_choices(tx: Tx, row: dict[str, Any]) -> None:
    """Keep how a member wants to be alerted, in the place of what they chose before."""
    insert = tx.upsert(alert_choices).values(row)
    tx.execute(insert.on_conflict_do_update(index_elements=["member_id"], set_=row))


def find_choices(tx: Tx, business_id: str, member_id: str) -> Choices | None:
    mine = alert_choices.c.business_id == business_id, alert_choices.c.member_id == member_id
    return tx.find(Choices, select(alert_choices).where(*mine))


def list_choices(tx: Tx, business_id: str) -> dict[str, Choices]:
    """What the members of a business chose, by member; who never did is left out."""
    mine = select(alert_choices).where(alert_choices.c.business_id == business_id)
    return {each.member_id: each for each in tx.list(Choices, mine)}


def list_alerted_businesses(tx: Tx) -> set[str]:
    """The businesses in which somebody wants more than what open pages show."""
    wanted = or_(alert_choices.c.mailed != (), alert_choices.c.digested != ())
    return set(tx.execute(select(alert_choices.c.business_id).where(wanted).distinct()).scalars())


def append_alert(tx: Tx, alert: Alert, mail_at: datetime | None) -> bool:
    """Keep an alert, and when it is mailed; False when the same thing was told before."""
    return tx.insert_ignore(alerts, row_of(alert) | {"mail_at": mail_at})


def list_told(tx: Tx, business_id: str, kind: Kind, since: datetime) -> set[tuple[str, str]]:
    """Of what a business was alerted since a time: subjects and stamps."""
    mine = alerts.c.business_id == business_id, alerts.c.kind == kind, alerts.c.created_at >= since
    told = select(alerts.c.subject_id, alerts.c.stamp).where(*mine).distinct()
    return {(row.subject_id, row.stamp) for row in tx.execute(told)}


def has_due_alert(tx: Tx) -> bool:
    """Whether the mail of any alert is due."""
    return bool(tx.scalar(select(exists().where(alerts.c.mail_at <= tx.now))))


def list_due_alerts(tx: Tx, limit: int) -> list[Alert]:
    """Alerts whose mail is due, of whatever business, those of one member together."""
    due = select(alerts).where(alerts.c.mail_at <= tx.now)
    return tx.list(Alert, due.order_by(alerts.c.business_id, alerts.c.member_id).limit(limit))


def mark_alerts_mailed(tx: Tx, mailed: Collection[Alert]) -> None:
    """Note that alerts wait for no mail any more."""
    wanted = [(each.member_id, each.kind, each.subject_id, each.stamp) for each in mailed]
    tx.execute(alerts.update().where(tuple_(*_KEYS).in_(wanted)).values(mail_at=None))


def delete_old_alerts(tx: Tx, before: datetime) -> int:
    """Delete some alerts from before a time; say how many."""
    return tx.delete_some(alerts, alerts.c.created_at < before)
