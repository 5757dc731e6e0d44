"""Conversions by subject are those alone that an ad earned, and notices are found by their leads."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    earned = sa.text("ad_id IS NOT NULL")
    op.drop_index("ix_conversions_of_subject", "conversions")
    op.create_index(
        "ix_conversions_of_subject", "conversions", ["subject_id"], sqlite_where=earned, postgresql_where=earned
    )
    op.drop_index("ix_inline_notices_of_conversation", "inline_notices")
    op.create_index("ix_inline_notices_of_lead", "inline_notices", ["lead_id"])
