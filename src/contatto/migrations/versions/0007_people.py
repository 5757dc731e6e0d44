"""people who work in several businesses, their invitations, and mails."""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('users',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('email', sa.String(length=320), nullable=False),
    sa.Column('password_hash', sa.Text(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('language', sa.String(length=16), server_default='', nullable=False),
    sa.Column('timezone', sa.String(length=64), server_default='', nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_users')),
    sa.UniqueConstraint('email', name=op.f('uq_users_email'))
    )
    # An e-mail was in one business alone, so each member becomes a person of the same id.
    op.execute(
        "INSERT INTO users (id, email, password_hash, created_at, language) "
        "SELECT id, email, password_hash, created_at, language FROM members"
    )
    op.execute("CREATE TABLE members_before AS SELECT * FROM members")
    op.drop_table('members')
    op.create_table('members',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('business_id', sa.String(length=36), nullable=False),
    sa.Column('user_id', sa.String(length=36), nullable=False),
    sa.Column('display_name', sa.Text(), nullable=False),
    sa.Column('role', sa.String(length=32), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('last_login_at', sa.BigInteger(), nullable=True),
    sa.Column('deactivated_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_members')),
    sa.UniqueConstraint('business_id', 'user_id', name=op.f('uq_members_business_id_user_id'))
    )
    op.execute(
        "INSERT INTO members (id, business_id, user_id, display_name, role, created_at, deactivated_at) "
        "SELECT id, business_id, id, display_name, role, created_at, deactivated_at FROM members_before"
    )
    op.drop_table('members_before')
    op.create_index('ix_members_user_id', 'members', ['user_id'], unique=False)

    # Everybody signs in anew: what a session tells of itself was not kept before.
    op.drop_table('sessions')
    op.create_table('sessions',
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('business_id', sa.String(length=36), nullable=False),
    sa.Column('member_id', sa.String(length=36), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('last_used_at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.Column('browser', sa.String(length=80), server_default='', nullable=False),
    sa.Column('failed_tries', sa.Integer(), server_default='0', nullable=False),
    sa.Column('failed_since', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('token_hash', name=op.f('pk_sessions'))
    )
    op.create_index('ix_sessions_member_id', 'sessions', ['member_id'], unique=False)

    op.drop_table('known_logins')
    op.create_table('known_logins',
    sa.Column('user_id', sa.String(length=36), nullable=False),
    sa.Column('mark', sa.String(length=32), nullable=False),
    sa.Column('last_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('user_id', 'mark', name=op.f('pk_known_logins'))
    )
    op.create_index('ix_known_logins_last_at', 'known_logins', ['last_at'], unique=False)

    op.create_table('invitations',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('business_id', sa.String(length=36), nullable=False),
    sa.Column('email', sa.String(length=320), server_default='', nullable=False),
    sa.Column('role', sa.String(length=32), nullable=False),
    sa.Column('made_by', sa.String(length=36), server_default='', nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_invitations'))
    )
    op.create_index('ix_invitations_business_id', 'invitations', ['business_id'], unique=False)
    op.create_index('ix_invitations_expires_at', 'invitations', ['expires_at'], unique=False)

    op.create_table('mails',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('business_id', sa.String(length=36), nullable=False),
    sa.Column('recipient', sa.LargeBinary(), nullable=False),
    sa.Column('subject', sa.LargeBinary(), nullable=False),
    sa.Column('text', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_mails'))
    )
    op.create_index('ix_mails_created_at', 'mails', ['created_at'], unique=False)
