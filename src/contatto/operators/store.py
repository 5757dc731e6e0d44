"""Tables of marketplaces: members, placements, reviews, payments."""

from collections.abc import Collection
from typing import Final

import sqlalchemy as sa

from contatto.kit.db.statements import PreparedQuery
from contatto.kit.db.tx import Choice, Tx, Words, instant, key, metadata, tenant, text, within
from contatto.operators import model

balances = sa.Table(
    "balances",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("ad_account_id", sa.String(36), primary_key=True),
    sa.Column("operator_id", sa.String(36), primary_key=True),
    sa.Column("is_limited", sa.Boolean, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    text("name"),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("paid_in_micros", sa.BigInteger, nullable=False),
    sa.Column("credit_micros", sa.BigInteger, nullable=False),
    sa.Column("charged_micros", sa.BigInteger, nullable=False),
    sa.Index("ix_balances_operator_id", "operator_id", "ad_account_id"),
)

balance_entries = sa.Table(
    "balance_entries",
    metadata,
    key(),
    sa.Column("operator_id", sa.String(36), nullable=False),
    tenant(),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    instant("at"),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("micros", sa.BigInteger, nullable=False),
    text("note"),
    sa.Index("ix_balance_entries_ad_account_id", "ad_account_id", "operator_id", "at"),
)

placed_days = sa.Table(
    "placed_days",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("ad_group_id", sa.String(36), primary_key=True),
    sa.Column("placement_id", sa.String(36), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("operator_id", sa.String(36), nullable=False),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    sa.Column("views", sa.BigInteger, nullable=False),
    sa.Column("clicks", sa.BigInteger, nullable=False),
    sa.Column("charged_micros", sa.BigInteger, nullable=False),
    sa.Column("conversations", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("leads", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index("ix_placed_days_operator_id", "operator_id", "day"),
    sa.Index("ix_placed_days_ad_account_id", "business_id", "ad_account_id", "day"),
)

request_days = sa.Table(
    "asked_days",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("placement_id", sa.String(36), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("asked", sa.BigInteger, nullable=False),
    sa.Column("filled", sa.BigInteger, nullable=False),
)

sightings = sa.Table(
    "placement_sightings",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("placement_id", sa.String(36), primary_key=True),
    sa.Column("viewer", sa.String(36), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("shown", sa.Integer, nullable=False),
    sa.Index("ix_placement_sightings_day", "day"),
)
"""Ads that a viewer, by a pseudonym of the operator's, saw in a placement on a day."""

BALANCE_SUMS: Final = ("paid_in_micros", "charged_micros")


def list_balances(tx: Tx, operator_id: str) -> list[model.Balance]:
    """List the balances with an operator, by name."""
    query = sa.select(balances).where(balances.c.operator_id == operator_id)
    return tx.list(model.Balance, query.order_by(balances.c.name, balances.c.ad_account_id))


def list_balances_of_business(tx: Tx, business_id: str) -> list[model.Balance]:
    """List the balances of a business with operators."""
    query = sa.select(balances).where(balances.c.business_id == business_id, balances.c.operator_id != "")
    return tx.list(model.Balance, query.order_by(balances.c.operator_id, balances.c.name))


_LIMITED: Final = PreparedQuery(
    model.Balance,
    sa.select(balances).where(
        balances.c.business_id == sa.bindparam("business", type_=sa.String),
        within(balances.c.ad_account_id, "named"),
        balances.c.is_limited,
    ),
)


def list_limited_balances(tx: Tx, business_id: str, ad_account_ids: Collection[str]) -> list[model.Balance]:
    """List the balances that limit ad accounts: their own if limited, and all with operators."""
    return _LIMITED.list(tx, {"business": business_id, "named": ad_account_ids})


def find_balance(tx: Tx, business_id: str, ad_account_id: str) -> model.Balance:
    """Return an ad account's own balance; without a row only its budgets limit it."""
    place = ("", business_id, ad_account_id)
    where = balances.c.business_id == business_id, balances.c.ad_account_id == ad_account_id
    own = tx.find(model.Balance, sa.select(balances).where(*where, balances.c.operator_id == ""))
    return own or model.Balance(*place)


def list_placed_days(
    tx: Tx, operator_id: str, first: str = "", ad_account_id: str = ""
) -> list[model.PlacedDay]:
    """List the charges in an operator's placements by day, of all ad accounts or of one."""
    table = placed_days
    query = sa.select(table).where(table.c.operator_id == operator_id, table.c.day >= first)
    if ad_account_id:
        query = query.where(table.c.ad_account_id == ad_account_id)
    order = table.c.day, table.c.placement_id, table.c.ad_group_id
    return tx.list(model.PlacedDay, query.order_by(*order))


def list_placed_days_of_account(
    tx: Tx, business_id: str, ad_account_id: str, first: str = "", last: str = "9999-99-99"
) -> list[model.PlacedDay]:
    """List the charges of an ad account in all placements, oldest day first."""
    table = placed_days
    where = table.c.business_id == business_id, table.c.ad_account_id == ad_account_id
    order = table.c.day, table.c.ad_group_id, table.c.placement_id
    return tx.list(
        model.PlacedDay, sa.select(table).where(*where, table.c.day.between(first, last)).order_by(*order)
    )


def list_used_placements(tx: Tx, business_id: str) -> set[str]:
    """Return the placements that charged ads of a business."""
    query = sa.select(placed_days.c.placement_id).where(placed_days.c.business_id == business_id)
    return set(tx.execute(query.distinct()).scalars())


def list_request_days(tx: Tx, operator_id: str, first: str) -> list[model.RequestDay]:
    """List the requests for the placements of an operator from a day on."""
    table = request_days
    query = sa.select(table).where(table.c.business_id == operator_id, table.c.day >= first)
    return tx.list(model.RequestDay, query.order_by(table.c.day, table.c.placement_id))


operators = sa.Table(
    "operators",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    text("name"),
    sa.Column("timezone", sa.String(64), nullable=False),
    sa.Column("is_listed", sa.Boolean, nullable=False),
    instant("created_at"),
)

placements = sa.Table(
    "placements",
    metadata,
    key(),
    tenant(),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("floor_micros", sa.BigInteger, nullable=False),
    sa.Column("categories", Words, nullable=False),
    sa.Column("blocked", Words, nullable=False),
    sa.Column("most_views", sa.Integer, nullable=False),
    sa.Column("is_on", sa.Boolean, nullable=False),
    instant("created_at"),
    sa.Index("uq_placements_name", "business_id", "name", unique=True),
)

admissions = sa.Table(
    "admissions",
    metadata,
    sa.Column("operator_id", sa.String(36), primary_key=True),
    sa.Column("business_id", sa.String(36), primary_key=True),
    text("operator_name"),
    text("business_name"),
    sa.Column("state", Choice(model.AdmissionState), nullable=False),
    sa.Column("category", Choice(model.Category), nullable=False),
    text("reason"),
    instant("asked_at"),
    instant("decided_at", nullable=True),
    sa.Index("ix_admissions_business_id", "business_id"),
)

admission_codes = sa.Table(
    "admission_codes",
    metadata,
    sa.Column("code_hash", sa.String(64), primary_key=True),
    tenant(),
    instant("created_at"),
    instant("expires_at"),
)
"""Hashes of codes that admit one business each."""


def find_operator(tx: Tx, operator_id: str) -> model.Operator | None:
    return tx.find(model.Operator, sa.select(operators).where(operators.c.business_id == operator_id))


def list_operators(tx: Tx, *, listed_only: bool = False) -> list[model.Operator]:
    """List the operators of the installation, in a transaction that acts for no tenant."""
    query = sa.select(operators).order_by(operators.c.name, operators.c.business_id)
    return tx.list(model.Operator, query.where(operators.c.is_listed) if listed_only else query)


def list_placements(tx: Tx, operator_id: str) -> list[model.Placement]:
    """List the placements of an operator, by name."""
    query = sa.select(placements).where(placements.c.business_id == operator_id)
    return tx.list(model.Placement, query.order_by(placements.c.name))


def list_owners_of_placements(tx: Tx, placement_ids: Collection[str]) -> dict[str, str]:
    """Return the operators of placements by id, in a transaction that acts for no tenant."""
    query = sa.select(placements.c.id, placements.c.business_id)
    return dict(map(tuple, tx.execute(query.where(placements.c.id.in_(sorted(placement_ids))))))


def list_placement_names(tx: Tx, placement_ids: Collection[str]) -> dict[str, str]:
    """Return the names of placements by id, in a transaction that acts for no tenant."""
    query = sa.select(placements.c.id, placements.c.name)
    return dict(map(tuple, tx.execute(query.where(placements.c.id.in_(sorted(placement_ids))))))


def find_admission(tx: Tx, operator_id: str, business_id: str) -> model.Admission | None:
    """Return the admission of a business, and lock it until the end of the transaction."""
    both = admissions.c.operator_id == operator_id, admissions.c.business_id == business_id
    query = sa.select(admissions).where(*both)
    return tx.find(model.Admission, query.with_for_update())


def list_admissions(
    tx: Tx, operator_id: str, state: model.AdmissionState | None = None
) -> list[model.Admission]:
    """List the admissions of an operator: pending ones first, then by name."""
    query = sa.select(admissions).where(admissions.c.operator_id == operator_id)
    if state is not None:
        query = query.where(admissions.c.state == state)
    is_decided = admissions.c.state != model.AdmissionState.REQUESTED
    return tx.list(
        model.Admission, query.order_by(is_decided, admissions.c.business_name, admissions.c.business_id)
    )


def list_admissions_of_business(tx: Tx, business_id: str) -> list[model.Admission]:
    """List the admissions of a business by all operators, by name."""
    query = sa.select(admissions).where(admissions.c.business_id == business_id)
    return tx.list(model.Admission, query.order_by(admissions.c.operator_name, admissions.c.operator_id))


ad_reviews = sa.Table(
    "ad_reviews",
    metadata,
    sa.Column("operator_id", sa.String(36), primary_key=True),
    sa.Column("ad_id", sa.String(36), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("business_id", sa.String(36), nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    text("business_name"),
    text("name"),
    text("headline"),
    text("text"),
    text("ad_format"),
    text("call_to_action"),
    text("video_id"),
    sa.Column("state", Choice(model.ReviewState), nullable=False),
    text("reason"),
    instant("sent_at"),
    instant("reviewed_at", nullable=True),
    sa.Index("ix_ad_reviews_business_id", "business_id", "operator_id"),
    sa.Index("ix_ad_reviews_state", "operator_id", "state", "sent_at"),
)


def list_reviews(
    tx: Tx, operator_id: str, state: model.ReviewState | None = None, limit: int = 200
) -> list[model.AdReview]:
    """List the revisions that an operator has: pending ones oldest first, others latest first."""
    query = sa.select(ad_reviews).where(ad_reviews.c.operator_id == operator_id)
    if state is not None:
        query = query.where(ad_reviews.c.state == state)
    at = ad_reviews.c.sent_at
    order = (
        (at, ad_reviews.c.number) if state is model.ReviewState.PENDING else (at.desc(), ad_reviews.c.number)
    )
    return tx.list(model.AdReview, query.order_by(*order).limit(limit))


def list_reviews_of_business(tx: Tx, business_id: str) -> list[model.AdReview]:
    """List the reviews of a business's ads by all operators, latest first."""
    query = sa.select(ad_reviews).where(ad_reviews.c.business_id == business_id)
    return tx.list(
        model.AdReview, query.order_by(ad_reviews.c.sent_at.desc(), ad_reviews.c.number).limit(500)
    )
