"""each business names its own apps: an id that one has named is not taken for the others."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None
COLUMNS = "business_id, app_id, platform, secret, created_at"


def upgrade() -> None:
    op.rename_table("channel_apps", "channel_apps_before")
    if op.get_bind().dialect.name == "postgresql":  # else its name is taken
        op.execute("ALTER TABLE channel_apps_before RENAME CONSTRAINT pk_channel_apps TO pk_channel_apps_before")
    op.create_table(
        "channel_apps",
        sa.Column("business_id", sa.String(36), nullable=False),
        sa.Column("app_id", sa.String(64), nullable=False),
        sa.Column("platform", sa.String(32), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("business_id", "app_id", name=op.f("pk_channel_apps")),
    )
    op.execute(f"INSERT INTO channel_apps ({COLUMNS}) SELECT {COLUMNS} FROM channel_apps_before")
    op.drop_table("channel_apps_before")
    op.create_index("ix_channel_apps_app_id", "channel_apps", ["app_id", "created_at"])
