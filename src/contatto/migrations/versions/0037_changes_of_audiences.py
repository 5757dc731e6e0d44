"""Members of audiences change in pieces: changes under way, and a set of members that another can replace."""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audiences", sa.Column("members_id", sa.String(36), nullable=False, server_default=""))
    op.execute("UPDATE audiences SET members_id = id")
    op.create_table(
        "audience_changes",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("business_id", sa.String(36), nullable=False),
        sa.Column("audience_id", sa.String(36), nullable=False),
        sa.Column("members_id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("paths", sa.Text(), nullable=False),
        sa.Column("file_place", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audience_changes")),
    )
    op.create_index("ix_audience_changes_due", "audience_changes", ["business_id", "due_at"])
