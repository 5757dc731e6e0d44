"""Times of appointments that people chose in forms, each of one person."""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "form_bookings",
        sa.Column("business_id", sa.String(36), nullable=False),
        sa.Column("form_id", sa.String(36), nullable=False),
        sa.Column("person_id", sa.String(36), nullable=False),
        sa.Column("answer_id", sa.String(36), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("business_id", "form_id", "starts_at", name=op.f("pk_form_bookings")),
    )
    op.create_index("ix_form_bookings_of_person", "form_bookings", ["business_id", "person_id"])
