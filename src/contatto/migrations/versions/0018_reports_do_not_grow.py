"""Conversions are counted ahead up to a moment, and ad groups by country."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_COUNTS = (
    "spend_micros",
    "impressions",
    "clicks",
    "conversations",
    "leads",
    "rt_conversations",
    "rt_leads",
    "conversations_by_view",
    "leads_by_view",
    "form_leads",
    "manual_leads",
    "qualified",
    "converted",
)

# What was counted of a day that is over held all of its conversions, and that of the last day none: now it is
# what happened before a moment. The days where that differs are counted anew.
_TO_COUNT_ANEW = """
    SELECT DISTINCT c.business_id, c.ad_account_id, c.{day}
    FROM conversions c JOIN report_progress p ON p.ad_account_id = c.ad_account_id
    WHERE c.{day} IS NOT NULL AND (c.ts >= p.counted_until OR c.{day} >= p.day)
"""


def upgrade() -> None:
    op.create_index("ix_conversions_of_ts", "conversions", ["business_id", "ad_account_id", "ts"])
    connection = op.get_bind()
    marks = {tuple(row) for day in ("day", "rt_day") for row in _rows(connection, day)}
    insert = sa.text(
        "INSERT INTO changed_days (id, business_id, ad_account_id, day, source)"
        " VALUES (:id, :business_id, :ad_account_id, :day, 'conversion')"
    )
    for business_id, ad_account_id, day in sorted(marks):
        values = {"business_id": business_id, "ad_account_id": ad_account_id, "day": day}
        connection.execute(insert, {"id": str(uuid.uuid4()), **values})
    sums = ", ".join(f"sum(r.{name})" for name in _COUNTS)
    op.execute(
        f"INSERT INTO report_counts (business_id, ad_account_id, grain, day, source, hour, place_id, country,"
        f" {', '.join(_COUNTS)})"
        f" SELECT r.business_id, r.ad_account_id, 'group_country_day', r.day, r.source, '', a.ad_group_id,"
        f" r.country, {sums}"
        f" FROM report_counts r JOIN measured_ads a ON a.ad_id = r.place_id AND a.business_id = r.business_id"
        f" WHERE r.grain = 'ad_country_day'"
        f" GROUP BY r.business_id, r.ad_account_id, r.day, r.source, a.ad_group_id, r.country"
    )


def _rows(connection: sa.Connection, day: str) -> sa.CursorResult[tuple[str, str, str]]:
    return connection.execute(sa.text(_TO_COUNT_ANEW.format(day=day)))
