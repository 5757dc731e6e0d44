"""Days of placements tell what was earned there: conversations and leads."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("conversations", "leads"):
        op.add_column("placed_days", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
