"""tries to log in are counted for browsers, networks and e-mails; members may be deactivated."""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rate_limits",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("busy_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rate_limits")),
    )
    op.create_index("ix_rate_limits_busy_until", "rate_limits", ["busy_until"])
    op.create_table(
        "known_logins",
        sa.Column("member_id", sa.String(36), nullable=False),
        sa.Column("mark", sa.String(32), nullable=False),
        sa.Column("business_id", sa.String(36), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("member_id", "mark", name=op.f("pk_known_logins")),
    )
    op.create_index("ix_known_logins_last_at", "known_logins", ["last_at"])
    # What was counted counts for a quarter of an hour only, and lay in another form.
    op.drop_table("failed_logins")
    op.create_table(
        "failed_logins",
        sa.Column("email_mark", sa.String(32), nullable=False),
        sa.Column("mark", sa.String(32), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("email_mark", "mark", name=op.f("pk_failed_logins")),
    )
    op.create_index("ix_failed_logins_last_at", "failed_logins", ["last_at"])
    op.add_column("members", sa.Column("deactivated_at", sa.BigInteger(), nullable=True))
    op.add_column("sessions", sa.Column("failed_tries", sa.Integer(), server_default="0", nullable=False))
    op.add_column("sessions", sa.Column("failed_since", sa.BigInteger(), nullable=True))
    op.create_index("ix_sessions_member_id", "sessions", ["member_id"])
