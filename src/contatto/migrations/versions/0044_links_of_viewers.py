"""links between a publisher's viewers and the persons of our own chat."""

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "viewer_links",
        sa.Column("business_id", sa.String(length=36), nullable=False),
        sa.Column("viewer_id", sa.String(length=36), nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("linked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("business_id", "viewer_id", "person_id", name=op.f("pk_viewer_links")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_viewer_links_of_person", "viewer_links", ["business_id", "person_id", "linked_at"], unique=False
    )
