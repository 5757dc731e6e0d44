"""fingerprints of audiences, and sealed answers to repeated requests.

What was kept before were plain hashes, which anybody can try out. They go: upload the lists again.
"""

import sqlalchemy as sa
from alembic import op

revision = '0042'
down_revision = '0041'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table('audience_members')
    op.create_table('audience_members',
    sa.Column('audience_id', sa.String(length=36), nullable=False),
    sa.Column('fingerprint', sa.LargeBinary(length=16), nullable=False),
    sa.Column('business_id', sa.String(length=36), nullable=False),
    sa.PrimaryKeyConstraint('audience_id', 'fingerprint', name=op.f('pk_audience_members'))
    )
    op.drop_table('audience_files')
    op.create_table('audience_files',
    sa.Column('path', sa.String(length=80), nullable=False),
    sa.Column('business_id', sa.String(length=36), nullable=False),
    sa.Column('ad_account_id', sa.String(length=36), nullable=False),
    sa.Column('calculate_type', sa.String(length=32), nullable=False),
    sa.Column('prints', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('path', name=op.f('pk_audience_files'))
    )
    with op.batch_alter_table('audience_files', schema=None) as batch_op:
        batch_op.create_index('ix_audience_files_created_at', ['created_at'], unique=False)
    op.drop_table('answered_requests')
    op.create_table('answered_requests',
    sa.Column('key_hash', sa.String(length=64), nullable=False),
    sa.Column('business_id', sa.String(length=36), nullable=False),
    sa.Column('body_hash', sa.String(length=64), nullable=False),
    sa.Column('answer', sa.LargeBinary(), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('key_hash', name=op.f('pk_answered_requests'))
    )
    with op.batch_alter_table('answered_requests', schema=None) as batch_op:
        batch_op.create_index('ix_answered_requests_at', ['at'], unique=False)
