"""Tables of signals, of the settings of each ad account, of test events and of erasures."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from contatto.integrations.model import ErasureState, TrialState
from contatto.integrations.store import IS_WAITING, DeliveryLedger, ledger_columns
from contatto.kit.db.statements import PreparedQuery
from contatto.kit.db.tx import Choice, JsonText, Serial, Tx, instant, metadata, only, rows_of, tenant, text
from contatto.signals.model import (
    AdSignal,
    ConsentRule,
    SignalErasure,
    SignalMode,
    SignalSettings,
    SignalStep,
    SignalTest,
)

signal_settings = sa.Table(
    "signal_settings",
    metadata,
    sa.Column("outside_account_id", sa.String(36), primary_key=True),
    tenant(),
    sa.Column("mode", Choice(SignalMode), nullable=False),
    sa.Column("reason", sa.String(64), nullable=False),
    sa.Column("dataset_id", sa.String(64), nullable=False),
    sa.Column("whatsapp_id", sa.String(64), nullable=False),
    sa.Column("steps", JsonText(tuple[SignalStep, ...]), nullable=False),
    sa.Column("names", JsonText(dict[SignalStep, str]), nullable=False),
    sa.Column("consent", Choice(ConsentRule), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("value_micros", sa.BigInteger),
    instant("started_at"),
    instant("changed_at"),
    instant("arrived_at", nullable=True),
    sa.Index("ix_signal_settings_business_id", "business_id", "mode"),
)

signal_tests = sa.Table(
    "signal_tests",
    metadata,
    sa.Column("outside_account_id", sa.String(36), primary_key=True),
    tenant(),
    sa.Column("step", Choice(SignalStep), nullable=False),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("state", Choice(TrialState), nullable=False),
    sa.Column("reason", sa.String(64), nullable=False),
    text("answer"),
    instant("created_at"),
    instant("settled_at", nullable=True),
)
"""A test event has made-up contact details, and a code of the platform."""


def record_signal_settings(tx: Tx, settings: SignalSettings, **changes: Any) -> SignalSettings:
    """Change some settings, and return the result."""
    own = rows_of(signal_settings, settings.business_id, outside_account_id=settings.outside_account_id)
    tx.execute(sa.update(signal_settings).where(*own).values(**changes))
    return replace(settings, **changes)


def find_signal_settings(tx: Tx, business_id: str, outside_account_id: str) -> SignalSettings | None:
    own = rows_of(signal_settings, business_id, outside_account_id=outside_account_id)
    return tx.find(SignalSettings, sa.select(signal_settings).where(*own))


_ON: Final = PreparedQuery(
    SignalSettings,
    sa.select(signal_settings)
    .where(
        signal_settings.c.business_id == sa.bindparam("business_id"), signal_settings.c.mode != SignalMode.OFF
    )
    .order_by(signal_settings.c.outside_account_id),
)


def list_signal_settings(tx: Tx, business_id: str) -> list[SignalSettings]:
    """Return the settings of all accounts except those that are off."""
    return _ON.list(tx, {"business_id": business_id})


def list_signal_businesses(tx: Tx) -> list[str]:
    """Return the businesses with signal settings, for alarms of the installation."""
    query = sa.select(signal_settings.c.business_id).distinct()
    return sorted(tx.execute(query).scalars())


def find_signal_test(tx: Tx, business_id: str, outside_account_id: str) -> SignalTest | None:
    own = rows_of(signal_tests, business_id, outside_account_id=outside_account_id)
    return tx.find(SignalTest, sa.select(signal_tests).where(*own))


def record_signal_test(tx: Tx, test: SignalTest, **changes: Any) -> None:
    own = rows_of(signal_tests, test.business_id, outside_account_id=test.outside_account_id)
    tx.execute(sa.update(signal_tests).where(*own).values(**changes))


ad_signals = sa.Table(
    "ad_signals",
    metadata,
    *ledger_columns(),
    sa.Column("outside_account_id", sa.String(36), nullable=False),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("step", Choice(SignalStep), nullable=False),
    sa.Column("event_id", sa.String(36), nullable=False),
    sa.Column("value_micros", sa.BigInteger),
    sa.Column("currency", sa.String(3), nullable=False),
    instant("occurred_at"),
    instant("asked_at", nullable=True),
    instant("unsure_at", nullable=True),
    sa.UniqueConstraint("business_id", "outside_account_id", "lead_id", "step"),
    sa.Index("ix_ad_signals_of_account", "business_id", "outside_account_id", "state", "id"),
    sa.Index("ix_ad_signals_of_lead", "business_id", "lead_id"),
    sa.Index("ix_ad_signals_held", "outside_account_id", "id", **only(IS_WAITING)),
)
ledger: Final = DeliveryLedger(
    ad_signals,
    AdSignal,
    ad_signals.c.outside_account_id,
    signal_settings.c.outside_account_id,
    signal_settings.c.mode == SignalMode.ACTIVE,
)


def list_signals_of_leads(tx: Tx, business_id: str, lead_ids: Collection[str]) -> list[AdSignal]:
    query = sa.select(ad_signals).where(*rows_of(ad_signals, business_id, lead_id=sorted(lead_ids)))
    return tx.list(AdSignal, query.order_by(ad_signals.c.id))


signal_erasures = sa.Table(
    "signal_erasures",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    sa.Column("outside_account_id", sa.String(36), nullable=False),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("state", Choice(ErasureState), nullable=False),
    sa.Column("sent", sa.Integer, nullable=False),
    instant("created_at"),
    sa.UniqueConstraint("business_id", "outside_account_id", "lead_id"),
)


def list_signal_erasures(
    tx: Tx, business_id: str, outside_account_id: str, limit: int = 50
) -> list[SignalErasure]:
    own = rows_of(signal_erasures, business_id, outside_account_id=outside_account_id)
    query = sa.select(signal_erasures).where(*own).order_by(signal_erasures.c.id.desc())
    return tx.list(SignalErasure, query.limit(limit))
