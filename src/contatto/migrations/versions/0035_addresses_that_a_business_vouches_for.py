"""Accounts whose address only one business vouches for, and a revision that ends links to new passwords."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("users") as users:
        users.add_column(sa.Column("vouched_by", sa.String(length=36), server_default="", nullable=False))
        users.add_column(sa.Column("access_revision", sa.Integer(), server_default="0", nullable=False))
        users.drop_constraint("uq_users_email", type_="unique")
        users.create_unique_constraint("uq_users_email_vouched_by", ["email", "vouched_by"])
    # Nobody noted which addresses were confirmed: those with one place count there alone until they are.
    op.execute(
        "UPDATE users SET vouched_by = (SELECT min(business_id) FROM members WHERE user_id = users.id) "
        "WHERE (SELECT count(*) FROM members WHERE user_id = users.id) = 1"
    )
