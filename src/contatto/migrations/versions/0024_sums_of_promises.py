"""Sums of promises come from an index, and so do the promises that have expired."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_delivery_promises_sums", "delivery_promises", ["business_id", "ad_group_id", "micros"]
    )
    op.create_index("ix_delivery_promises_expires_at", "delivery_promises", ["business_id", "expires_at"])
    op.drop_index("ix_delivery_promises_ad_group_id", "delivery_promises")
