"""Tables of capture switches, and of values marked as no contact."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from contatto.capture.model import CaptureSwitch, Field, MessageContacts, Review
from contatto.kit.db.statements import PreparedQuery, Query
from contatto.kit.db.tx import Choice, Tx, instant, key, metadata, rows_of, tenant, text, within

capture_switches = sa.Table(
    "capture_switches",
    metadata,
    sa.Column("channel_account_id", sa.String(36), primary_key=True),
    tenant(),
    sa.Column("is_on", sa.Boolean, nullable=False),
    text("company_name"),
    text("company_site"),
    text("privacy_policy_url"),
    instant("turned_on_at", nullable=True),
    sa.Column("review", Choice(Review), nullable=False, server_default="approved"),
    text("refused_reason", default=""),
    instant("applied_at", nullable=True),
    instant("changed_at"),
)


capture_corrections = sa.Table(
    "capture_corrections",
    metadata,
    key(),
    tenant(),
    sa.Column("field", Choice(Field), nullable=False),
    sa.Column("value_index", sa.LargeBinary(16), nullable=False),
    text("actor"),
    instant("created_at"),
    sa.UniqueConstraint("business_id", "field", "value_index"),
)


_SWITCH: Final = PreparedQuery(
    CaptureSwitch,
    sa.select(capture_switches).where(
        *rows_of(capture_switches, sa.bindparam("of"), channel_account_id=sa.bindparam("account"))
    ),
)


def find_switch(tx: Tx, business_id: str, channel_account_id: str) -> CaptureSwitch | None:
    switches = _SWITCH.list(tx, {"of": business_id, "account": channel_account_id})
    return switches[0] if switches else None


def find_application(tx: Tx, channel_account_id: str) -> CaptureSwitch | None:
    """Return the switch of an account of any business; for the operator, who reviews all of them."""
    condition = capture_switches.c.channel_account_id == channel_account_id
    return tx.find(CaptureSwitch, sa.select(capture_switches).where(condition))


def list_applications(tx: Tx) -> list[CaptureSwitch]:
    """List the pending applications of all businesses, oldest first; for the operator."""
    waiting = sa.select(capture_switches).where(capture_switches.c.review == Review.PENDING)
    return tx.list(CaptureSwitch, waiting.order_by(capture_switches.c.applied_at))


def list_capturing(tx: Tx, business_id: str) -> set[str]:
    """Return the ids of the channel accounts with capture on."""
    return {channel_id for channel_id, switch in list_switches(tx, business_id).items() if switch.is_on}


_SWITCHES: Final = PreparedQuery(
    CaptureSwitch, sa.select(capture_switches).where(capture_switches.c.business_id == sa.bindparam("of"))
)


def list_switches(tx: Tx, business_id: str) -> dict[str, CaptureSwitch]:
    return {switch.channel_account_id: switch for switch in _SWITCHES.list(tx, {"of": business_id})}


_CORRECTED: Final = Query(
    sa.select(capture_corrections.c.field, capture_corrections.c.value_index).where(
        capture_corrections.c.business_id == sa.bindparam("of"),
        within(capture_corrections.c.value_index, "values"),
    )
)
_ANY_CORRECTED: Final = Query(
    sa.select(capture_corrections.c.id)
    .where(capture_corrections.c.business_id == sa.bindparam("of"))
    .limit(1)
)


def list_uncorrected(
    tx: Tx, business_id: str, candidates: Sequence[MessageContacts]
) -> list[MessageContacts]:
    """Return the contacts of messages in order, without values that a member marked "not a contact"."""
    values = {(contact.field, contact.value) for candidate in candidates for contact in candidate.contacts}
    if not values:
        return list(candidates)
    if not _ANY_CORRECTED.rows(tx, {"of": business_id}):
        return list(candidates)
    values_by_index = {(field, tx.vault.blind(value, business_id)): (field, value) for field, value in values}
    parameters = {"of": business_id, "values": {index for _, index in values_by_index}}
    rows = _CORRECTED.rows(tx, parameters)
    corrected = {values_by_index.get((field, bytes(index))) for field, index in rows}
    return [
        replace(
            candidate,
            contacts=tuple(
                contact for contact in candidate.contacts if (contact.field, contact.value) not in corrected
            ),
        )
        for candidate in candidates
    ]
