"""days of reports are counted anew: a grain for countries and one for the hours of an account."""

from alembic import op

revision = '0025'
down_revision = '0024'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute('DELETE FROM report_counts')
    op.execute('DELETE FROM report_progress')
