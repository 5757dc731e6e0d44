"""A mark on the tenants that run a marketplace, so that every page knows its reader's start page."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "businesses", sa.Column("is_operator", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    businesses = sa.table("businesses", sa.column("id"), sa.column("is_operator"))
    operators = sa.table("operators", sa.column("business_id"))
    is_operator = businesses.c.id.in_(sa.select(operators.c.business_id))
    op.execute(businesses.update().where(is_operator).values(is_operator=sa.true()))
