"""how sure the lift of lookalikes is."""

import sqlalchemy as sa
from alembic import op

revision = '0028'
down_revision = '0027'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('audience_lookalikes', sa.Column('low', sa.Float(), nullable=True))
    op.add_column('audience_lookalikes', sa.Column('high', sa.Float(), nullable=True))
