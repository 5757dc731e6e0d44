"""Ad groups have a frequency cap, and promises name the viewer where one applies."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

_CAPPED = sa.text("viewer <> ''")


def upgrade() -> None:
    for name in ("frequency", "frequency_schedule"):
        op.add_column("ad_groups", sa.Column(name, sa.Integer()))
    op.add_column("delivery_promises", sa.Column("viewer", sa.String(36), nullable=False, server_default=""))
    op.create_index(
        "ix_delivery_promises_viewer",
        "delivery_promises",
        ["business_id", "ad_group_id", "viewer"],
        sqlite_where=_CAPPED,
        postgresql_where=_CAPPED,
    )
