"""Indexes that no query needs go, and those of ids are without the business, which the row has."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_evidence_business_id_source_id", "evidence")
    op.drop_index("ix_leads_business_id_conversation_id", "leads")
    op.drop_index("ix_contact_points_of_field", "contact_points")
    op.drop_index("ix_conversations_business_id_person_id", "conversations")
    op.create_index("ix_conversations_person_id", "conversations", ["person_id"])
    _put("contact_points", "of_country", ["business_id", "country"], only="country IS NOT NULL")
    _put("conversions", "of_person", ["person_id", "ts"])
    _put("conversions", "of_subject", ["subject_id"])
    for day in ("day", "rt_day"):
        columns = ["business_id", "ad_account_id", day]
        _put("conversions", f"of_{day}", columns, only="ad_account_id IS NOT NULL")


def _put(table: str, which: str, columns: list[str], only: str = "") -> None:
    """Make an index anew that was there; with ``only`` it holds the rows alone for which that is true."""
    name = f"ix_{table}_{which}"
    op.drop_index(name, table)
    where: dict[str, Any] = dict.fromkeys(("sqlite_where", "postgresql_where"), sa.text(only)) if only else {}
    op.create_index(name, table, columns, **where)
