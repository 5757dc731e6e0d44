"""sealed steps and events of leads."""

import sqlalchemy as sa
from alembic import context, op

revision = '0050'
down_revision = '0049'
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, column in (('lead_steps', 'detail'), ('lead_events', 'name')):
        _seal(table, column)


def _seal(table: str, column: str) -> None:
    op.execute(f'ALTER TABLE {table} RENAME COLUMN {column} TO clear_{column}')
    op.add_column(table, sa.Column(column, sa.LargeBinary(), nullable=True))
    of = sa.table(table, sa.column('id'), sa.column('business_id'), sa.column(column),
                  sa.column(f'clear_{column}'))
    rows = op.get_bind().execute(sa.select(of.c.id, of.c.business_id, of.c[f'clear_{column}'])).all()
    for row_id, tenant, clear in rows:
        if clear:
            sealed = context.config.attributes['vault'].seal(clear, tenant)
            op.get_bind().execute(sa.update(of).where(of.c.id == row_id).values({column: sealed}))
    op.drop_column(table, f'clear_{column}')
