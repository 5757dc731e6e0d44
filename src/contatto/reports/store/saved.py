"""The table of saved reports: questions of the report page that members keep under a name."""

from sqlalchemy import Boolean, Column, Index, String, Table, func, or_, select

from contatto.kit.db.tx import Tx
from contatto.kit.db.types import instant, key, metadata, row_of, tenant, text
from contatto.reports.model import SavedReport

saved_reports = Table(
    "saved_reports",
    metadata,
    key(),
    tenant(),
    Column("member_id", String(36), nullable=False),
    Column("name", String(60), nullable=False),
    text("query"),
    Column("is_shared", Boolean, nullable=False),
    instant("created_at"),
    Index("ix_saved_reports_business_id", "business_id", "created_at"),
)


def save_report(tx: Tx, report: SavedReport) -> None:
    tx.insert(saved_reports, row_of(report))


def list_saved_reports(tx: Tx, business_id: str, member_id: str) -> list[SavedReport]:
    """The reports that a member sees: the own ones and those that others share."""
    seen = or_(saved_reports.c.member_id == member_id, saved_reports.c.is_shared.is_(True))
    query = select(saved_reports).where(saved_reports.c.business_id == business_id, seen)
    return tx.list(SavedReport, query.order_by(saved_reports.c.created_at, saved_reports.c.id))


def find_saved_report(tx: Tx, business_id: str, report_id: str) -> SavedReport | None:
    query = select(saved_reports).where(saved_reports.c.business_id == business_id)
    return tx.find(SavedReport, query.where(saved_reports.c.id == report_id))


def count_saved_reports(tx: Tx, business_id: str, member_id: str) -> int:
    """The reports that a member keeps."""
    query = select(func.count()).where(saved_reports.c.business_id == business_id)
    return int(tx.scalar(query.where(saved_reports.c.member_id == member_id)))


def delete_saved_report(tx: Tx, business_id: str, report_id: str) -> None:
    mine = saved_reports.c.business_id == business_id
    tx.execute(saved_reports.delete().where(mine, saved_reports.c.id == report_id))
