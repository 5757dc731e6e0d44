"""The index of conversions by ad holds those alone that an ad earned."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    is_earned = sa.text("ad_id IS NOT NULL")
    op.drop_index("ix_conversions_of_ad", "conversions")
    op.create_index(
        "ix_conversions_of_ad",
        "conversions",
        ["business_id", "ad_id", "kind", "subject_id"],
        sqlite_where=is_earned,
        postgresql_where=is_earned,
    )
