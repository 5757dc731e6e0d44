"""CRMs are compared with the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("crm_records", schema=None) as batch_op:
        batch_op.add_column(sa.Column("seen_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("gone_at", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("crm_targets", schema=None) as batch_op:
        batch_op.add_column(sa.Column("comparison", sa.Text(), server_default="null", nullable=False))
    op.create_index(
        "ix_crm_records_merged",
        "crm_records",
        ["business_id", "target_id", "merged_into"],
        sqlite_where=sa.text("(merged_into IS NOT NULL)"),
        postgresql_where=sa.text("(merged_into IS NOT NULL)"),
    )
