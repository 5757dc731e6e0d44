"""tokens know their maker, and may be limited to ad accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("api_tokens", "auth_codes"):
        op.add_column(table, sa.Column("made_by", sa.String(36), server_default="", nullable=False))
        op.add_column(table, sa.Column("ad_account_ids", sa.Text(), nullable=True))
