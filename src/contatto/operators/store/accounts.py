"""What ad accounts have with operators, what was charged in placements by day, and who saw how much.

As with the ledger of delivery, charges are counted in the transaction of their touches: so at any moment what
was charged, what reports show as spend and what balances lost are one amount.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, func, select

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, row_of, tenant, text
from contatto.operators.model import AskedDay, OperatorBalance, OperatorPayment, PlacedDay

operator_balances = Table(
    "operator_balances",
    metadata,
    Column("operator_id", String(36), primary_key=True),
    Column("ad_account_id", String(36), primary_key=True),
    Column("business_id", String(36), nullable=False),
    Column("number", BigInteger, nullable=False),
    text("name"),
    Column("currency", String(3), nullable=False),
    Column("paid_in_micros", BigInteger, nullable=False),
    Column("credit_micros", BigInteger, nullable=False),
    Column("charged_micros", BigInteger, nullable=False),
    Index("ix_operator_balances_business_id", "business_id", "ad_account_id"),
)

operator_payments = Table(
    "operator_payments",
    metadata,
    key(),
    Column("operator_id", String(36), nullable=False),
    tenant(),
    Column("ad_account_id", String(36), nullable=False),
    instant("at"),
    Column("day", String(10), nullable=False),
    Column("micros", BigInteger, nullable=False),
    text("note"),
    Index("ix_operator_payments_ad_account_id", "operator_id", "ad_account_id", "at"),
)

placed_days = Table(
    "placed_days",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("ad_group_id", String(36), primary_key=True),
    Column("placement_id", String(36), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("operator_id", String(36), nullable=False),
    Column("ad_account_id", String(36), nullable=False),
    Column("views", BigInteger, nullable=False),
    Column("clicks", BigInteger, nullable=False),
    Column("charged_micros", BigInteger, nullable=False),
    Column("conversations", BigInteger, nullable=False, server_default="0"),
    Column("leads", BigInteger, nullable=False, server_default="0"),
    Index("ix_placed_days_operator_id", "operator_id", "day"),
    Index("ix_placed_days_ad_account_id", "business_id", "ad_account_id", "day"),
)

asked_days = Table(
    "asked_days",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("placement_id", String(36), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("asked", BigInteger, nullable=False),
    Column("filled", BigInteger, nullable=False),
)

sightings = Table(
    "placement_sightings",
    metadata,
    Column("business_id", String(36), primary_key=True),
    Column("placement_id", String(36), primary_key=True),
    Column("viewer", String(36), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("shown", Integer, nullable=False),
    Index("ix_placement_sightings_day", "day"),
)
"""How often somebody, by a pseudonym of the operator's, was shown an ad in a placement on a day."""


def save_balances(tx: Tx, fresh: Iterable[OperatorBalance]) -> int:
    """Open balances that there are not yet, and keep names and currencies as they are; say how many."""
    count = 0
    for each in fresh:
        names = {"name": each.name, "currency": each.currency}
        kept = tx.upsert(operator_balances).values(row_of(each))
        keys = ["operator_id", "ad_account_id"]
        count += tx.execute(kept.on_conflict_do_update(index_elements=keys, set_=names)).rowcount
    return count


def list_balances(tx: Tx, operator_id: str) -> list[OperatorBalance]:
    """What ad accounts have with an operator, by name."""
    table = operator_balances
    mine = select(table).where(table.c.operator_id == operator_id)
    return tx.list(OperatorBalance, mine.order_by(table.c.name, table.c.ad_account_id))


def list_balances_of_business(tx: Tx, business_id: str) -> list[OperatorBalance]:
    """What the ad accounts of a business have with operators."""
    table = operator_balances
    mine = select(table).where(table.c.business_id == business_id)
    return tx.list(OperatorBalance, mine.order_by(table.c.operator_id, table.c.name))


def list_balances_of_accounts(
    tx: Tx, business_id: str, ad_account_ids: Collection[str]
) -> list[OperatorBalance]:
    """What some ad accounts of a business have with operators."""
    table = operator_balances
    mine = table.c.business_id == business_id, table.c.ad_account_id.in_(sorted(ad_account_ids))
    return tx.list(OperatorBalance, select(table).where(*mine))


def find_operator_balance(tx: Tx, operator_id: str, ad_account_id: str) -> OperatorBalance | None:
    table = operator_balances
    mine = table.c.operator_id == operator_id, table.c.ad_account_id == ad_account_id
    return tx.find(OperatorBalance, select(table).where(*mine))


def record_credit(tx: Tx, balance: OperatorBalance, credit_micros: int) -> None:
    """Say what an ad account may owe an operator."""
    tx.execute(operator_balances.update().where(*_one(balance)).values(credit_micros=credit_micros))


def append_payment(tx: Tx, balance: OperatorBalance, payment: OperatorPayment) -> None:
    """Add a payment (or one back, below 0) to a balance."""
    tx.insert(operator_payments, row_of(payment))
    more = {"paid_in_micros": operator_balances.c.paid_in_micros + payment.micros}
    tx.execute(operator_balances.update().where(*_one(balance)).values(**more))


def _one(balance: OperatorBalance) -> tuple[Any, Any]:
    table = operator_balances
    return table.c.operator_id == balance.operator_id, table.c.ad_account_id == balance.ad_account_id


def list_payments(tx: Tx, operator_id: str, ad_account_id: str) -> list[OperatorPayment]:
    """The payments of an ad account to an operator, in the order of time."""
    table = operator_payments
    mine = table.c.operator_id == operator_id, table.c.ad_account_id == ad_account_id
    return tx.list(OperatorPayment, select(table).where(*mine).order_by(table.c.at, table.c.id))


def save_placed_days(tx: Tx, charged: Collection[PlacedDay]) -> None:
    """Add to the days of placements, and to what balances were charged."""
    save_earned_days(tx, charged)
    amounts: dict[tuple[str, str], int] = {}
    for each in charged:
        place = each.operator_id, each.ad_account_id
        amounts[place] = amounts.get(place, 0) + each.charged_micros
    table = operator_balances
    for (operator_id, ad_account_id), amount in sorted(amounts.items()):
        mine = table.c.operator_id == operator_id, table.c.ad_account_id == ad_account_id
        lost = {"charged_micros": table.c.charged_micros + amount}
        tx.execute(table.update().where(*mine).values(**lost))


def save_earned_days(tx: Tx, days: Collection[PlacedDay]) -> None:
    """Add to the days of placements alone."""
    insert = tx.upsert(placed_days)
    names = ("views", "clicks", "charged_micros", "conversations", "leads")
    more = {name: placed_days.c[name] + insert.excluded[name] for name in names}
    keys = ["business_id", "ad_group_id", "placement_id", "day"]
    tx.execute(insert.on_conflict_do_update(index_elements=keys, set_=more), list(map(row_of, days)))


def list_placed_days(
    tx: Tx, operator_id: str, first: str = "", last: str = "9999-99-99", ad_account_id: str = ""
) -> list[PlacedDay]:
    """What was charged in an operator's placements by day; of one ad account if it is given."""
    table = placed_days
    mine = select(table).where(table.c.operator_id == operator_id, table.c.day.between(first, last))
    if ad_account_id:
        mine = mine.where(table.c.ad_account_id == ad_account_id)
    order = table.c.day, table.c.placement_id, table.c.ad_group_id
    return tx.list(PlacedDay, mine.order_by(*order))


def list_placed_days_of_account(
    tx: Tx, business_id: str, ad_account_id: str, first: str = "", last: str = "9999-99-99"
) -> list[PlacedDay]:
    """What an ad account was charged in placements of all operators, in the order of days."""
    table = placed_days
    mine = table.c.business_id == business_id, table.c.ad_account_id == ad_account_id
    order = table.c.day, table.c.ad_group_id, table.c.placement_id
    return tx.list(PlacedDay, select(table).where(*mine, table.c.day.between(first, last)).order_by(*order))


def list_used_placements(tx: Tx, business_id: str) -> set[str]:
    """The placements in which ads of a business were charged."""
    wanted = select(placed_days.c.placement_id).where(placed_days.c.business_id == business_id)
    return set(tx.execute(wanted.distinct()).scalars())


def save_asked(tx: Tx, counted: Collection[AskedDay]) -> None:
    """Add to how often placements were asked for an ad."""
    if not counted:
        return
    insert = tx.upsert(asked_days)
    more = {name: asked_days.c[name] + insert.excluded[name] for name in ("asked", "filled")}
    keys = ["business_id", "placement_id", "day"]
    tx.execute(insert.on_conflict_do_update(index_elements=keys, set_=more), list(map(row_of, counted)))


def list_asked_days(tx: Tx, operator_id: str, first: str, last: str) -> list[AskedDay]:
    """How often the placements of an operator were asked for an ad."""
    table = asked_days
    mine = select(table).where(table.c.business_id == operator_id, table.c.day.between(first, last))
    return tx.list(AskedDay, mine.order_by(table.c.day, table.c.placement_id))


def save_sightings(tx: Tx, seen: Mapping[tuple[str, str, str, str], int]) -> None:
    """Add to what people were shown: by operator, placement, viewer and day."""
    if not seen:
        return
    names = ("business_id", "placement_id", "viewer", "day")
    insert = tx.upsert(sightings)
    more = {"shown": sightings.c.shown + insert.excluded.shown}
    rows = [dict(zip(names, place, strict=True)) | {"shown": count} for place, count in sorted(seen.items())]
    tx.execute(insert.on_conflict_do_update(index_elements=list(names), set_=more), rows)


def count_sightings(tx: Tx, operator_id: str, placement_id: str, viewer: str, day: str) -> int:
    """How often somebody was shown an ad in a placement on a day, as far as it is written down."""
    table = sightings
    mine = (
        table.c.business_id == operator_id, table.c.placement_id == placement_id,
        table.c.viewer == viewer, table.c.day == day,
    )  # fmt: skip
    return int(tx.scalar(select(func.coalesce(func.sum(table.c.shown), 0)).where(*mine)))


def delete_old_sightings(tx: Tx, before_day: str) -> int:
    """Forget some of what people were shown before a day; say how much."""
    return tx.delete_some(sightings, sightings.c.day < before_day)
