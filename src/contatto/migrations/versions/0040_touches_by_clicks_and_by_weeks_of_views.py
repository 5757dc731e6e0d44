"""winners are looked up by clicks, and by views of a week, so that new touches go to a small part of an index."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_touches_of_person", "touches")
    ends = ["person_id", "ts", "touch_id", "expires_ts"]
    for name, kind, first in (
        ("ix_touches_clicked", "click", ["business_id"]),
        ("ix_touches_viewed", "view", ["business_id", sa.text("(ts / 604800000000)")]),
    ):
        which = sa.text(f"kind = '{kind}'")
        op.create_index(name, "touches", [*first, *ends], sqlite_where=which, postgresql_where=which)
