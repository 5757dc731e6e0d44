"""What was foretold of ads and came, by day; what models go by; how models of leads did on others."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "delivery_foretold",
        sa.Column("business_id", sa.String(36), nullable=False),
        sa.Column("ad_account_id", sa.String(36), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("question", sa.String(32), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "business_id", "ad_account_id", "day", "question", name=op.f("pk_delivery_foretold")
        ),
    )
    op.create_index("ix_delivery_foretold_day", "delivery_foretold", ["day"])
    op.create_table(
        "delivery_influences",
        sa.Column("business_id", sa.String(36), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("business_id", name=op.f("pk_delivery_influences")),
    )
    op.add_column("lead_models", sa.Column("held", sa.LargeBinary(), nullable=True))
