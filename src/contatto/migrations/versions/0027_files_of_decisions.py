"""Decisions and what became of them are kept as files too; entries of the log say when they came."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("delivery_log", sa.Column("arrived_ts", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column(
        "delivery_streams", sa.Column("sealed_seq", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.create_table(
        "decision_files",
        sa.Column("business_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("business_id", "name", name=op.f("pk_decision_files")),
    )
    op.create_table(
        "forgotten_viewers",
        sa.Column("business_id", sa.String(36), nullable=False),
        sa.Column("person_id", sa.String(36), nullable=False),
        sa.Column("forgotten_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("business_id", "person_id", name=op.f("pk_forgotten_viewers")),
    )
