"""the index of persons tells when a touch expires, so that a winner is looked up without reading its rivals."""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_touches_of_person", "touches")
    columns = ["business_id", "person_id", "kind", "ts", "touch_id", "expires_ts"]
    op.create_index("ix_touches_of_person", "touches", columns)
