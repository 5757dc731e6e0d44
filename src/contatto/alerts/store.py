"""Tables of alerts, of members' choices, and of browsers with push subscriptions."""

from typing import Final

import sqlalchemy as sa

from contatto.alerts.connectors.web_push import PushEndpoint
from contatto.alerts.model import AlertChoices, AlertKind, AlertMedium, PushBrowser
from contatto.kit.db.statements import Query
from contatto.kit.db.tx import Choice, Tx, Words, instant, metadata, rows_of, sealed, tenant

alert_choices = sa.Table(
    "alert_choices",
    metadata,
    sa.Column("member_id", sa.String(36), primary_key=True),
    tenant(),
    sa.Column("mailed", Words, nullable=False),
    sa.Column("digested", Words, nullable=False),
    sa.Column("pushed", Words, nullable=False, server_default="[]"),
    sa.Column("shown", Words, nullable=False),
    sa.Column("has_sound", sa.Boolean, nullable=False),
    sa.Column("quiet_from", sa.Integer, nullable=False),
    sa.Column("quiet_until", sa.Integer, nullable=False),
    sa.Column("digest_at", sa.Integer, nullable=False),
    sa.Index("ix_alert_choices_business_id", "business_id"),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("member_id", sa.String(36), primary_key=True),
    sa.Column("kind", Choice(AlertKind), primary_key=True),
    sa.Column("subject_id", sa.String(36), primary_key=True),
    sa.Column("stamp", sa.String(40), primary_key=True),
    tenant(),
    instant("created_at"),
    instant("mail_at", nullable=True),
    instant("push_at", nullable=True),
    sa.Index("ix_alerts_mail_at", "mail_at"),
    sa.Index("ix_alerts_push_at", "push_at"),
    sa.Index("ix_alerts_created_at", "created_at"),
    sa.Index("ix_alerts_told", "business_id", "kind", "created_at"),
)
"""A row stays for a while after it was sent, so that the same alert is not sent twice."""
DUE: Final = {AlertMedium.MAIL: alerts.c.mail_at, AlertMedium.PUSH: alerts.c.push_at}


def load_choices(tx: Tx, business_id: str, member_id: str) -> AlertChoices:
    """Return a member's choices; by default alerts appear on open pages only."""
    own = rows_of(alert_choices, business_id, member_id=member_id)
    choices = tx.find(AlertChoices, sa.select(alert_choices).where(*own))
    return choices or AlertChoices(business_id, member_id)


_CHOICE_COLUMNS: Final = alert_choices.c.mailed, alert_choices.c.digested, alert_choices.c.pushed
_ALERTED: Final = Query(
    sa.select(alert_choices.c.business_id)
    .where(sa.or_(*(column != () for column in _CHOICE_COLUMNS)))
    .distinct()
)


def list_alerted_businesses(tx: Tx) -> set[str]:
    """Return the businesses in which a member chose mail or push alerts."""
    return {business_id for (business_id,) in _ALERTED.rows(tx, {})}


def has_due_alert(tx: Tx, medium: AlertMedium) -> bool:
    return bool(tx.scalar(sa.select(sa.exists().where(DUE[medium] <= tx.now))))


push_browsers = sa.Table(
    "push_browsers",
    metadata,
    sa.Column("id", sa.String(36), nullable=False),
    sa.Column("member_id", sa.String(36), nullable=False),
    tenant(),
    sa.Column("user_id", sa.String(36), nullable=False),
    sealed("endpoint"),
    sealed("public_key"),
    sealed("secret"),
    sa.Column("name", sa.String(80), nullable=False),
    instant("created_at"),
    sa.PrimaryKeyConstraint("id", "member_id"),
    sa.Index("ix_push_browsers_member", "business_id", "member_id"),
)


def list_browsers(tx: Tx, business_id: str, member_id: str) -> list[PushBrowser]:
    own = rows_of(push_browsers, business_id, member_id=member_id)
    return tx.list(PushBrowser, sa.select(push_browsers).where(*own).order_by(push_browsers.c.created_at))


def find_browser(tx: Tx, business_id: str, member_id: str, browser_id: str) -> PushEndpoint | None:
    """Return the unsealed push endpoint of a member's browser."""
    is_browser = rows_of(push_browsers, business_id, member_id=member_id, id=browser_id)
    return tx.find(PushEndpoint, sa.select(push_browsers).where(*is_browser))
