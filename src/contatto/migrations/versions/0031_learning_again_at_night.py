"""The last time that files of decisions were learned again, and what came of it."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "delivery_relearnings",
        sa.Column("business_id", sa.String(36), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("views", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("compared", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("business_id", name=op.f("pk_delivery_relearnings")),
    )
