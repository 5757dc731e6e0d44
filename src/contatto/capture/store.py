"""The capture switch of each channel account, with the company data that turning it on needs."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Boolean, Column, String, Table, select

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, metadata, tenant, text

capture_switches = Table(
    "capture_switches",
    metadata,
    Column("channel_account_id", String(36), primary_key=True),
    tenant(),
    Column("is_on", Boolean, nullable=False),
    text("company_name"),
    text("company_site"),
    text("privacy_policy_url"),
    instant("turned_on_at", nullable=True),
    instant("changed_at"),
)


@dataclass(frozen=True, slots=True)
class CaptureSwitch:
    """Whether capture is on for an account, and since when; older messages are never read."""

    channel_account_id: str
    business_id: str
    is_on: bool
    company_name: str
    company_site: str
    privacy_policy_url: str
    turned_on_at: datetime | None
    changed_at: datetime


def save_switch(tx: Tx, switch: CaptureSwitch) -> None:
    row = {name: getattr(switch, name) for name in CaptureSwitch.__dataclass_fields__}
    changed = {
        name: value for name, value in row.items() if name not in ("channel_account_id", "business_id")
    }
    insert = tx.upsert(capture_switches).values(**row)
    tx.execute(insert.on_conflict_do_update(index_elements=["channel_account_id"], set_=changed))


def find_switch(tx: Tx, business_id: str, channel_account_id: str) -> CaptureSwitch | None:
    mine = select(capture_switches).where(
        capture_switches.c.business_id == business_id,
        capture_switches.c.channel_account_id == channel_account_id,
    )
    return tx.find(CaptureSwitch, mine)


def is_capture_on(tx: Tx, business_id: str, channel_account_id: str) -> bool:
    switch = find_switch(tx, business_id, channel_account_id)
    return switch is not None and switch.is_on


def list_switches(tx: Tx, business_id: str) -> dict[str, CaptureSwitch]:
    """Switches of a business by channel account."""
    mine = select(capture_switches).where(capture_switches.c.business_id == business_id)
    return {switch.channel_account_id: switch for switch in tx.list(CaptureSwitch, mine)}
