"""Leads carry their scores, so that a list in their order comes from an index."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_TAKE_OVER = """
    UPDATE leads SET score = (
        SELECT s.score FROM lead_scores s WHERE s.business_id = leads.business_id AND s.lead_id = leads.id
    )
    WHERE EXISTS (
        SELECT 1 FROM lead_scores s WHERE s.business_id = leads.business_id AND s.lead_id = leads.id
    )
"""


def upgrade() -> None:
    op.add_column("leads", sa.Column("score", sa.Integer(), nullable=False, server_default=sa.text("-1")))
    op.execute(_TAKE_OVER)
    shown = sa.text("hidden_at IS NULL")
    columns = ["business_id", "score", "id", "hidden_at"]
    op.create_index(
        "ix_leads_by_score", "leads", columns, sqlite_where=shown, postgresql_where=shown
    )
