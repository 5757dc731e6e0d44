"""Models of what becomes of leads, and what they said of each before it was corrected."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lead_models",
        sa.Column("business_id", sa.String(36), nullable=False),
        sa.Column("learned_at", sa.BigInteger(), nullable=False),
        sa.Column("outcomes", sa.Integer(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("loss", sa.Float(), nullable=False),
        sa.Column("correction", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("business_id", name=op.f("pk_lead_models")),
    )
    op.add_column("lead_scores", sa.Column("log_odds", sa.Float(), nullable=True))
    op.add_column(
        "lead_scores", sa.Column("is_counted", sa.Boolean(), nullable=False, server_default=sa.text("FALSE"))
    )
