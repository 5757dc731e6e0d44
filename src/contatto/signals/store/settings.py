"""Tables of what is told to each ad account, and of its last test event."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Column, Index, String, Table, bindparam, select, update

from contatto.ad_platforms.store import outside_tokens
from contatto.kit.db.prepared import PreparedQuery
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Words, instant, metadata, row_of, tenant, text
from contatto.signals.model.events import SignalTest, SignalTestState
from contatto.signals.model.settings import ConsentRule, SignalMode, SignalSettings, Step

signal_settings = Table(
    "signal_settings",
    metadata,
    Column("outside_account_id", String(36), primary_key=True),
    tenant(),
    Column("mode", Choice(SignalMode), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("dataset_id", String(64), nullable=False),
    Column("whatsapp_id", String(64), nullable=False),
    Column("steps", Words, nullable=False),
    text("names"),
    Column("consent", Choice(ConsentRule), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("value_micros", BigInteger),
    instant("started_at"),
    instant("changed_at"),
    instant("arrived_at", nullable=True),
    Index("ix_signal_settings_business_id", "business_id", "mode"),
)

signal_tests = Table(
    "signal_tests",
    metadata,
    Column("outside_account_id", String(36), primary_key=True),
    tenant(),
    Column("step", Choice(Step), nullable=False),
    Column("code", String(64), nullable=False),
    Column("state", Choice(SignalTestState), nullable=False),
    Column("reason", String(64), nullable=False),
    text("answer"),
    instant("created_at"),
    instant("settled_at", nullable=True),
)
"""A test event is about nobody: made-up contact details, and a code that the platform gave."""


@dataclass(frozen=True, slots=True)
class _Row:
    outside_account_id: str
    business_id: str
    mode: SignalMode
    reason: str
    dataset_id: str
    whatsapp_id: str
    steps: tuple[str, ...]
    names: str
    consent: ConsentRule
    currency: str
    value_micros: int | None
    started_at: datetime
    changed_at: datetime
    arrived_at: datetime | None


_NAMES: Final = dict[Step, str]


def _settings(row: _Row) -> SignalSettings:
    values = row_of(row) | {
        "steps": tuple(Step(step) for step in row.steps),
        "names": msgspec.json.decode(row.names, type=_NAMES) if row.names else {},
    }
    return SignalSettings(**values)


def _as_row(changes: Mapping[str, Any]) -> dict[str, Any]:
    row = dict(changes)
    if "names" in row:
        row["names"] = msgspec.json.encode(row["names"]).decode()
    if "steps" in row:
        row["steps"] = tuple(step.value for step in row["steps"])
    return row


def save_signal_settings(tx: Tx, settings: SignalSettings) -> None:
    """Insert the settings of an account, or replace them."""
    row = _as_row(row_of(settings))
    new = {name: value for name, value in row.items() if name not in ("outside_account_id", "business_id")}
    insert = tx.upsert(signal_settings).values(**row)
    tx.execute(insert.on_conflict_do_update(index_elements=["outside_account_id"], set_=new))


def record_signal_settings(tx: Tx, settings: SignalSettings, **changes: Any) -> SignalSettings:
    """Change settings; those that they are now."""
    mine = (
        signal_settings.c.business_id == settings.business_id,
        signal_settings.c.outside_account_id == settings.outside_account_id,
    )
    tx.execute(update(signal_settings).where(*mine).values(**_as_row(changes)))
    return replace(settings, **changes)


def find_signal_settings(tx: Tx, business_id: str, outside_account_id: str) -> SignalSettings | None:
    mine = (
        signal_settings.c.business_id == business_id,
        signal_settings.c.outside_account_id == outside_account_id,
    )
    found = tx.find(_Row, select(signal_settings).where(*mine))
    return _settings(found) if found else None


_ON: Final = PreparedQuery(
    _Row,
    select(signal_settings)
    .where(signal_settings.c.business_id == bindparam("of"), signal_settings.c.mode != SignalMode.OFF)
    .order_by(signal_settings.c.outside_account_id),
)


def list_signal_settings(tx: Tx, business_id: str) -> list[SignalSettings]:
    """The settings of all accounts that signals go to, or are kept for."""
    return [_settings(row) for row in _ON.list(tx, {"of": business_id})]


def list_told_businesses(tx: Tx) -> list[str]:
    """Businesses any of whose ad accounts is, or was, told of leads; for who watches the installation."""
    query = select(signal_settings.c.business_id).distinct()
    return sorted(tx.execute(query).scalars())


def list_renewed_settings(tx: Tx, limit: int) -> list[SignalSettings]:
    """Settings that were shut out, and whose account has another token since; of all businesses."""
    renewed = (
        select(signal_settings)
        .join(outside_tokens, outside_tokens.c.outside_account_id == signal_settings.c.outside_account_id)
        .where(
            signal_settings.c.mode == SignalMode.SHUT_OUT,
            outside_tokens.c.business_id == signal_settings.c.business_id,
            outside_tokens.c.changed_at > signal_settings.c.changed_at,
        )
        .limit(limit)
    )
    return [_settings(row) for row in tx.list(_Row, renewed)]


def save_signal_test(tx: Tx, test: SignalTest) -> None:
    """Keep a test event in the place of the one before."""
    mine = (
        signal_tests.c.business_id == test.business_id,
        signal_tests.c.outside_account_id == test.outside_account_id,
    )
    tx.execute(signal_tests.delete().where(*mine))
    tx.insert(signal_tests, row_of(test))


def find_signal_test(tx: Tx, business_id: str, outside_account_id: str) -> SignalTest | None:
    mine = signal_tests.c.business_id == business_id, signal_tests.c.outside_account_id == outside_account_id
    return tx.find(SignalTest, select(signal_tests).where(*mine))


def record_signal_test(tx: Tx, test: SignalTest, **changes: Any) -> None:
    mine = (
        signal_tests.c.business_id == test.business_id,
        signal_tests.c.outside_account_id == test.outside_account_id,
    )
    tx.execute(update(signal_tests).where(*mine).values(**changes))
