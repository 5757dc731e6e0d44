"""sealed names, reasons of merges, drafts of ads, and texts of ads that opened chats."""

import sqlalchemy as sa
from alembic import context, op

revision = '0045'
down_revision = '0044'
branch_labels = None
depends_on = None

SEALED = {
    'leads': ('name',),
    'persons': ('name', 'stated_name'),
    'lead_merges': ('reason',),
    'ad_referrals': ('headline', 'ad_text'),
    'ad_drafts': ('typed',),
}
"""What was in clear."""


def upgrade() -> None:
    op.add_column('persons', sa.Column('name_key', sa.Text(), server_default='', nullable=False))
    for table, columns in SEALED.items():
        for column in columns:
            _seal(table, column)
    _make_keys('leads')
    _make_keys('persons')


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


def _make_keys(table: str) -> None:
    """Names as they are sorted and searched by, without what may be a contact detail."""
    # Of today, and needed for rows that were there before alone.
    from contatto.leads.rules.records import name_key

    of = sa.table(table, sa.column('id'), sa.column('business_id'), sa.column('name'), sa.column('name_key'))
    for row_id, tenant, name in op.get_bind().execute(sa.select(of.c.id, of.c.business_id, of.c.name)).all():
        if name:
            key = name_key(context.config.attributes['vault'].open(bytes(name), tenant))
            op.get_bind().execute(sa.update(of).where(of.c.id == row_id).values(name_key=key))
