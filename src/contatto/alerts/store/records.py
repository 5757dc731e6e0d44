"""Tables of how members want to be alerted, and of alerts that wait to be told."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, exists, or_, select, tuple_

from contatto.alerts.model import Alert, Choices, Kind, Way
from contatto.kit.db.hot import Query
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Words, instant, metadata, row_of, tenant

alert_choices = Table(
    "alert_choices",
    metadata,
    Column("member_id", String(36), primary_key=True),
    tenant(),
    Column("mailed", Words, nullable=False),
    Column("digested", Words, nullable=False),
    Column("pushed", Words, nullable=False, server_default="[]"),
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
    instant("push_at", nullable=True),
    Index("ix_alerts_mail_at", "mail_at"),
    Index("ix_alerts_push_at", "push_at"),
    Index("ix_alerts_created_at", "created_at"),
    Index("ix_alerts_told", "business_id", "kind", "created_at"),
)
"""A row stays for a while after it was told, so that the same thing is not told twice."""
_DUE: Final = {Way.MAIL: alerts.c.mail_at, Way.PUSH: alerts.c.push_at}
_KEYS: Final = alerts.c.member_id, alerts.c.kind, alerts.c.subject_id, alerts.c.stamp


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


_WAYS: Final = alert_choices.c.mailed, alert_choices.c.digested, alert_choices.c.pushed
_ALERTED: Final = Query(
    select(alert_choices.c.business_id).where(or_(*(way != () for way in _WAYS))).distinct()
)


def list_alerted_businesses(tx: Tx) -> set[str]:
    """The businesses in which somebody wants more than what open pages show."""
    return {business_id for (business_id,) in _ALERTED.rows(tx, {})}


def append_alert(tx: Tx, alert: Alert, due: Mapping[Way, datetime | None]) -> bool:
    """Keep an alert, and when it is told in which way; False when the same thing was told before."""
    return tx.insert_ignore(alerts, row_of(alert) | {_DUE[way].name: at for way, at in due.items()})


def list_told(tx: Tx, business_id: str, kind: Kind, since: datetime) -> set[tuple[str, str]]:
    """Of what a business was alerted since a time: subjects and stamps."""
    mine = alerts.c.business_id == business_id, alerts.c.kind == kind, alerts.c.created_at >= since
    told = select(alerts.c.subject_id, alerts.c.stamp).where(*mine).distinct()
    return {(row.subject_id, row.stamp) for row in tx.execute(told)}


def has_due_alert(tx: Tx, way: Way) -> bool:
    """Whether any alert is due in a way."""
    return bool(tx.scalar(select(exists().where(_DUE[way] <= tx.now))))


def list_due_alerts(tx: Tx, way: Way, limit: int) -> list[Alert]:
    """Alerts that are due in a way, of whatever business, those of one member together."""
    due = select(alerts).where(_DUE[way] <= tx.now)
    return tx.list(Alert, due.order_by(alerts.c.business_id, alerts.c.member_id).limit(limit))


def mark_alerts_told(tx: Tx, way: Way, told: Collection[Alert]) -> None:
    """Note that alerts wait no more, in this way."""
    wanted = [(each.member_id, each.kind, each.subject_id, each.stamp) for each in told]
    tx.execute(alerts.update().where(tuple_(*_KEYS).in_(wanted)).values({_DUE[way]: None}))


def delete_old_alerts(tx: Tx, before: datetime) -> int:
    """Delete some alerts from before a time; say how many."""
    return tx.delete_some(alerts, alerts.c.created_at < before)
