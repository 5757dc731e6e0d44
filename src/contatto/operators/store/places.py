"""Operators, their placements, the businesses that they admit, and the codes that let one in."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, func, select, update

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Words, instant, key, metadata, row_of, tenant, text
from contatto.operators.model import Admission, AdmissionState, Category, Operator, Placement

operators = Table(
    "operators",
    metadata,
    Column("business_id", String(36), primary_key=True),
    text("name"),
    Column("timezone", String(64), nullable=False),
    Column("is_listed", Boolean, nullable=False),
    instant("created_at"),
)

placements = Table(
    "placements",
    metadata,
    key(),
    tenant(),
    Column("name", String(64), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("floor_micros", BigInteger, nullable=False),
    Column("categories", Words, nullable=False),
    Column("blocked", Words, nullable=False),
    Column("most_views", Integer, nullable=False),
    Column("is_on", Boolean, nullable=False),
    instant("created_at"),
    Index("uq_placements_name", "business_id", "name", unique=True),
)

admissions = Table(
    "admissions",
    metadata,
    Column("operator_id", String(36), primary_key=True),
    Column("business_id", String(36), primary_key=True),
    text("operator_name"),
    text("business_name"),
    Column("state", Choice(AdmissionState), nullable=False),
    Column("category", Choice(Category), nullable=False),
    text("reason"),
    instant("asked_at"),
    instant("decided_at", nullable=True),
    Index("ix_admissions_business_id", "business_id"),
)

admission_codes = Table(
    "admission_codes",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    tenant(),
    instant("created_at"),
    instant("expires_at"),
)
"""What an operator hands to a business, so that it is admitted at once; kept as hashes."""


def save_operator(tx: Tx, operator: Operator) -> bool:
    """Make a tenant an operator; False when it is one."""
    return tx.insert_ignore(operators, row_of(operator))


def record_operator(tx: Tx, operator_id: str, **values: Any) -> None:
    """Change what is kept of an operator."""
    tx.execute(update(operators).where(operators.c.business_id == operator_id).values(**values))


def find_operator(tx: Tx, operator_id: str) -> Operator | None:
    return tx.find(Operator, select(operators).where(operators.c.business_id == operator_id))


def list_operators(tx: Tx, *, listed_only: bool = False) -> list[Operator]:
    """The operators of the installation; the transaction must act for nobody."""
    wanted = select(operators).order_by(operators.c.name, operators.c.business_id)
    return tx.list(Operator, wanted.where(operators.c.is_listed) if listed_only else wanted)


def save_placement(tx: Tx, placement: Placement) -> None:
    """Keep a placement as it is now."""
    row = row_of(placement)
    kept = tx.upsert(placements).values(row)
    tx.execute(kept.on_conflict_do_update(index_elements=["id"], set_=row))


def find_placement(tx: Tx, operator_id: str, placement_id: str) -> Placement | None:
    mine = placements.c.business_id == operator_id, placements.c.id == placement_id
    return tx.find(Placement, select(placements).where(*mine))


def list_placements(tx: Tx, operator_id: str) -> list[Placement]:
    """The placements of an operator, by name."""
    mine = select(placements).where(placements.c.business_id == operator_id)
    return tx.list(Placement, mine.order_by(placements.c.name))


def list_owners_of_placements(tx: Tx, placement_ids: Collection[str]) -> dict[str, str]:
    """The operators of placements of which only the ids are known; the transaction must act for nobody."""
    wanted = select(placements.c.id, placements.c.business_id)
    return dict(map(tuple, tx.execute(wanted.where(placements.c.id.in_(sorted(placement_ids))))))


def list_placement_names(tx: Tx, placement_ids: Collection[str]) -> dict[str, str]:
    """What placements are called; the transaction must act for nobody."""
    wanted = select(placements.c.id, placements.c.name)
    return dict(map(tuple, tx.execute(wanted.where(placements.c.id.in_(sorted(placement_ids))))))


def save_admission(tx: Tx, admission: Admission) -> None:
    """Keep how a business stands with an operator."""
    row = row_of(admission)
    kept = tx.upsert(admissions).values(row)
    tx.execute(kept.on_conflict_do_update(index_elements=["operator_id", "business_id"], set_=row))


def find_admission(tx: Tx, operator_id: str, business_id: str) -> Admission | None:
    """How a business stands with an operator; held until the end of the transaction."""
    both = admissions.c.operator_id == operator_id, admissions.c.business_id == business_id
    wanted = select(admissions).where(*both)
    return tx.find(Admission, wanted.with_for_update() if tx.locks_rows else wanted)


def list_admissions(tx: Tx, operator_id: str, state: AdmissionState | None = None) -> list[Admission]:
    """The businesses of an operator: who waits first, then by name."""
    mine = select(admissions).where(admissions.c.operator_id == operator_id)
    if state is not None:
        mine = mine.where(admissions.c.state == state)
    waits = admissions.c.state != AdmissionState.ASKED
    return tx.list(Admission, mine.order_by(waits, admissions.c.business_name, admissions.c.business_id))


def list_admissions_of_business(tx: Tx, business_id: str) -> list[Admission]:
    """The operators with which a business has to do, by name."""
    mine = select(admissions).where(admissions.c.business_id == business_id)
    return tx.list(Admission, mine.order_by(admissions.c.operator_name, admissions.c.operator_id))


def list_admitted(tx: Tx) -> list[Admission]:
    """The admissions that hold, of all operators; for work in the background, which acts for nobody."""
    wanted = select(admissions).where(admissions.c.state == AdmissionState.ADMITTED)
    return tx.list(Admission, wanted.order_by(admissions.c.operator_id, admissions.c.business_id))


def has_admitted(tx: Tx) -> bool:
    """Whether any business is admitted anywhere."""
    one = select(admissions.c.business_id).where(admissions.c.state == AdmissionState.ADMITTED).limit(1)
    return tx.scalar(one) is not None


def count_admitted(tx: Tx, operator_id: str) -> int:
    """How many businesses an operator admits now."""
    mine = admissions.c.operator_id == operator_id, admissions.c.state == AdmissionState.ADMITTED
    return int(tx.scalar(select(func.count()).select_from(admissions).where(*mine)))


def save_code(tx: Tx, code_hash: str, operator_id: str, expires_at: datetime) -> None:
    """Keep a code that lets one business in."""
    row = {"code_hash": code_hash, "business_id": operator_id, "created_at": tx.now}
    tx.insert(admission_codes, row | {"expires_at": expires_at})


def delete_code(tx: Tx, code_hash: str) -> str | None:
    """Use a code up: whose it is, if it is still good. The transaction must act for nobody."""
    live = admission_codes.c.code_hash == code_hash, admission_codes.c.expires_at > tx.now
    return tx.execute(
        admission_codes.delete().where(*live).returning(admission_codes.c.business_id)
    ).scalar_one_or_none()


def delete_old_codes(tx: Tx) -> int:
    return tx.execute(admission_codes.delete().where(admission_codes.c.expires_at <= tx.now)).rowcount
