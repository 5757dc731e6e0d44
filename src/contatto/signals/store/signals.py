"""The table of signals: one row for each step of a lead and each ad account."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    String,
    Table,
    UniqueConstraint,
    and_,
    func,
    literal,
    literal_column,
    select,
    update,
)

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Instant, Serial, instant, metadata, tenant
from contatto.signals.model.events import AdSignal, SignalState
from contatto.signals.model.settings import SignalMode, SignalSettings, Step
from contatto.signals.store.settings import signal_settings

_HELD_TEXT: Final = "(ad_signals.state = 'due' AND NOT ad_signals.is_queued)"
_HELD: Final[ColumnElement[bool]] = literal_column("(state = 'due' AND NOT is_queued)")
"""Whether a signal is due and has no request, in the words of its index: its account was not active."""

ad_signals = Table(
    "ad_signals",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("outside_account_id", String(36), nullable=False),
    Column("lead_id", String(36), nullable=False),
    Column("step", Choice(Step), nullable=False),
    Column("event_id", String(36), nullable=False),
    Column("state", Choice(SignalState), nullable=False),
    Column("is_queued", Boolean, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("value_micros", BigInteger),
    Column("currency", String(3), nullable=False),
    instant("occurred_at"),
    instant("created_at"),
    instant("asked_at", nullable=True),
    instant("unsure_at", nullable=True),
    instant("settled_at", nullable=True),
    UniqueConstraint("business_id", "outside_account_id", "lead_id", "step"),
    Index("ix_ad_signals_of_account", "business_id", "outside_account_id", "state", "id"),
    Index("ix_ad_signals_of_lead", "business_id", "lead_id"),
    Index("ix_ad_signals_held", "outside_account_id", "id", sqlite_where=_HELD, postgresql_where=_HELD),
)


def append_signal(tx: Tx, signal: AdSignal, *, is_queued: bool) -> int | None:
    """Keep a signal; give its id, or None where this step of the lead was kept before."""
    row = {
        "business_id": signal.business_id,
        "outside_account_id": signal.outside_account_id,
        "lead_id": signal.lead_id,
        "step": signal.step,
        "event_id": signal.event_id,
        "state": signal.state,
        "is_queued": is_queued,
        "reason": signal.reason,
        "currency": "",
        "occurred_at": signal.occurred_at,
        "created_at": signal.created_at,
        "settled_at": signal.settled_at,
    }
    insert = tx.upsert(ad_signals).values(**row).on_conflict_do_nothing()
    made = tx.execute(insert.returning(ad_signals.c.id)).scalar()
    return None if made is None else int(made)


def find_signal(tx: Tx, business_id: str, signal_id: int) -> AdSignal | None:
    mine = ad_signals.c.business_id == business_id, ad_signals.c.id == signal_id
    return tx.find(AdSignal, select(ad_signals).where(*mine))


def list_signals(
    tx: Tx,
    business_id: str,
    outside_account_id: str,
    states: Collection[SignalState] = (),
    limit: int = 50,
) -> list[AdSignal]:
    """Signals of an account, the latest first."""
    query = select(ad_signals).where(
        ad_signals.c.business_id == business_id, ad_signals.c.outside_account_id == outside_account_id
    )
    if states:
        query = query.where(ad_signals.c.state.in_(list(states)))
    return tx.list(AdSignal, query.order_by(ad_signals.c.id.desc()).limit(limit))


def list_signals_of_leads(tx: Tx, business_id: str, lead_ids: Collection[str]) -> list[AdSignal]:
    mine = ad_signals.c.business_id == business_id, ad_signals.c.lead_id.in_(sorted(lead_ids))
    return tx.list(AdSignal, select(ad_signals).where(*mine).order_by(ad_signals.c.id))


def count_signals(tx: Tx, business_id: str) -> dict[str, dict[SignalState, int]]:
    """Return how many signals stand how, by account."""
    where = ad_signals.c.outside_account_id, ad_signals.c.state
    query = select(*where, func.count().label("count")).where(ad_signals.c.business_id == business_id)
    signals: dict[str, dict[SignalState, int]] = {}
    for row in tx.execute(query.group_by(*where)).mappings():
        signals.setdefault(row["outside_account_id"], {})[SignalState(row["state"])] = row["count"]
    return signals


def count_all_signals(tx: Tx, business_id: str) -> dict[str, int]:
    """Return how many signals each account has, counted by themselves."""
    account = ad_signals.c.outside_account_id
    query = select(account, func.count().label("count")).where(ad_signals.c.business_id == business_id)
    return {row["outside_account_id"]: row["count"] for row in tx.execute(query.group_by(account)).mappings()}


def find_oldest_due(tx: Tx, business_id: str, outside_account_id: str) -> datetime | None:
    """Since when the oldest signal that is due waits."""
    query = select(func.min(ad_signals.c.created_at)).where(
        ad_signals.c.business_id == business_id,
        ad_signals.c.outside_account_id == outside_account_id,
        ad_signals.c.state == SignalState.DUE,
    )
    oldest: datetime | None = tx.scalar(query)
    return oldest


def list_held_signals(tx: Tx, limit: int) -> list[AdSignal]:
    """Signals to active accounts that wait without a request, the oldest first; of all businesses."""
    query = (
        select(ad_signals)
        .join(signal_settings, signal_settings.c.outside_account_id == ad_signals.c.outside_account_id)
        .where(_held_of_active())
        .order_by(ad_signals.c.id)
        .limit(limit)
    )
    return tx.list(AdSignal, query.with_for_update(skip_locked=True, of=ad_signals)
                   if tx.locks_rows else query)  # fmt: skip


def has_held_signal(tx: Tx) -> bool:
    """Return whether any signal to an active account waits without a request."""
    joined = signal_settings.join(
        ad_signals, ad_signals.c.outside_account_id == signal_settings.c.outside_account_id
    )
    query = select(ad_signals.c.id).select_from(joined).where(_held_of_active())
    return tx.scalar(query.limit(1)) is not None


def _held_of_active() -> ColumnElement[bool]:
    held: ColumnElement[bool] = literal_column(_HELD_TEXT)
    return and_(held, signal_settings.c.mode == SignalMode.ACTIVE)


def _one(signal: AdSignal) -> Any:
    return update(ad_signals).where(
        ad_signals.c.business_id == signal.business_id, ad_signals.c.id == signal.id
    )


def mark_signal_queued(tx: Tx, signal: AdSignal) -> None:
    """Note that a signal has a request that brings it."""
    tx.execute(_one(signal).values(is_queued=True))


def record_signal_asked(tx: Tx, signal: AdSignal) -> None:
    """Note that a signal is sent now: from the first time on the platform may have it."""
    unsure_at = func.coalesce(ad_signals.c.unsure_at, literal(tx.now, Instant))
    tx.execute(_one(signal).values(asked_at=tx.now, unsure_at=unsure_at))


def record_signal_refused(tx: Tx, signal: AdSignal, reason: str, *, is_sure: bool) -> None:
    """Say why a signal is not there yet; of what surely was not taken no earlier try needs to be feared."""
    tx.execute(_one(signal).values(reason=reason[:64]))
    if is_sure:
        first = _one(signal).where(ad_signals.c.unsure_at == ad_signals.c.asked_at)
        tx.execute(first.values(unsure_at=None))


def record_signal_state(tx: Tx, signal: AdSignal, state: SignalState, reason: str = "") -> None:
    """Settle a signal, or make it due."""
    settled_at = None if state is SignalState.DUE else tx.now
    tx.execute(_one(signal).values(state=state, reason=reason[:64], settled_at=settled_at))


def record_signal_due(tx: Tx, signal: AdSignal, occurred_at: datetime, *, is_queued: bool) -> None:
    """Make a signal due again, with the time of its step."""
    values = {"state": SignalState.DUE, "reason": "", "settled_at": None, "is_queued": is_queued}
    tx.execute(_one(signal).values(**values, occurred_at=occurred_at))


def record_signal_value(tx: Tx, signal: AdSignal, value_micros: int | None, currency: str) -> None:
    """Put an amount into a signal, in the place of what it would have."""
    tx.execute(_one(signal).values(value_micros=value_micros, currency=currency))


def record_due_withheld(tx: Tx, settings: SignalSettings, reason: str) -> None:
    """Withhold all that is due of an account."""
    statement = update(ad_signals).where(
        ad_signals.c.business_id == settings.business_id,
        ad_signals.c.outside_account_id == settings.outside_account_id,
        ad_signals.c.state == SignalState.DUE,
    )
    tx.execute(statement.values(state=SignalState.WITHHELD, reason=reason, settled_at=tx.now))


def delete_signals_of(tx: Tx, business_id: str, lead_ids: Collection[str]) -> None:
    """Delete the signals of leads."""
    mine = ad_signals.c.business_id == business_id
    tx.execute(ad_signals.delete().where(mine, ad_signals.c.lead_id.in_(sorted(lead_ids))))
