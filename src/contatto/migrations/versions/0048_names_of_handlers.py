"""jobs carry the names of their handlers and not their places in the code; what failed says since when."""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox_jobs", sa.Column("failed_at", sa.BigInteger(), nullable=True))
    jobs = sa.table("outbox_jobs", sa.column("handler", sa.String), sa.column("state", sa.String))
    connection = op.get_bind()
    for (place,) in connection.execute(sa.select(jobs.c.handler).distinct()).all():
        named = sa.update(jobs).where(jobs.c.handler == place)
        connection.execute(named.values(handler=place.rpartition(".")[2]))
    for name in ("ix_outbox_jobs_done", "ix_outbox_jobs_dead"):
        op.drop_index(name, "outbox_jobs")
    over = sa.text("state IN ('done', 'dismissed')")
    failed = sa.text("(state = 'dead' OR (state = 'due' AND last_error IS NOT NULL))")
    for name, columns, which in (
        ("ix_outbox_jobs_over", ["due_at"], over),
        ("ix_outbox_jobs_failed", ["business_id", "id"], failed),
    ):
        op.create_index(name, "outbox_jobs", columns, sqlite_where=which, postgresql_where=which)
