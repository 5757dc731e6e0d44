"""work that waits is found by its business, so that businesses are served in turn."""

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    fresh, due = sa.text("NOT fanned_out"), sa.text("state = 'due'")
    waits = sa.text("state = 'received'")
    op.drop_index("ix_receipts_waiting", "receipts")
    op.add_column("receipts", sa.Column("due_at", sa.BigInteger(), nullable=True))
    op.execute("UPDATE receipts SET due_at = received_at + attempts * attempts * 4000000")
    with op.batch_alter_table("receipts") as receipts:
        receipts.alter_column("due_at", nullable=False)
    op.create_index(
        "ix_receipts_waiting", "receipts", ["business_id", "due_at", "id"], sqlite_where=waits, postgresql_where=waits
    )
    op.drop_index("ix_events_waiting", "events")
    op.create_index("ix_events_waiting", "events", ["business_id", "at", "seq"], sqlite_where=fresh, postgresql_where=fresh)
    op.drop_index("ix_outbox_jobs_due", "outbox_jobs")
    op.create_index("ix_outbox_jobs_due", "outbox_jobs", ["business_id", "due_at", "id"], sqlite_where=due, postgresql_where=due)
    for name, which, columns in (
        ("ix_outbox_jobs_done", "done", ["due_at"]),
        ("ix_outbox_jobs_dead", "dead", ["business_id", "id"]),
    ):
        of_state = sa.text(f"state = '{which}'")
        op.create_index(name, "outbox_jobs", columns, sqlite_where=of_state, postgresql_where=of_state)
    is_open = sa.text("state <> 'done'")
    op.add_column("lead_jobs", sa.Column("value", sa.String(36), nullable=False, server_default=""))
    op.add_column("lead_jobs", sa.Column("moved_at", sa.BigInteger(), nullable=True))
    op.execute("UPDATE lead_jobs SET moved_at = coalesce(ended_at, created_at)")
    with op.batch_alter_table("lead_jobs") as lead_jobs:
        lead_jobs.alter_column("value", server_default=None)
        lead_jobs.alter_column("moved_at", nullable=False)
    op.create_index("ix_lead_jobs_open", "lead_jobs", ["business_id", "state"], sqlite_where=is_open, postgresql_where=is_open)
    for table, name, which in (
        ("report_tasks", "ix_report_tasks_waiting", "status IN ('QUEUING', 'PROCESSING')"),
        ("lead_files", "ix_lead_files_waiting", "state = 'CREATED'"),
    ):
        op.drop_index(name, table)
        op.add_column(table, sa.Column("due_at", sa.BigInteger(), nullable=True))
        op.add_column(table, sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
        op.execute(f"UPDATE {table} SET due_at = created_at")
        with op.batch_alter_table(table) as files:
            files.alter_column("due_at", nullable=False)
            files.alter_column("attempts", server_default=None)
        where = sa.text(which)
        op.create_index(name, table, ["business_id", "due_at"], sqlite_where=where, postgresql_where=where)
    for table, name, columns in (
        ("scheduled_replies", "ix_scheduled_replies_due", ["business_id", "due_at"]),
        ("sends", "ix_sends_due", ["business_id", "due_at", "id"]),
        ("pushes", "ix_pushes_due", ["business_id", "due_at", "id"]),
    ):
        op.drop_index(name, table)
        op.create_index(name, table, columns, sqlite_where=due, postgresql_where=due)
    op.create_index("ix_sends_waiting", "sends", ["conversation_id", "id"], sqlite_where=due, postgresql_where=due)
