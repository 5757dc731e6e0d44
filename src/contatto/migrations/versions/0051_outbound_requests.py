"""one table of requests to outside systems, which replies and pushes share."""

from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None

TABLE = "outbound_requests"
KINDS = {"LEAD": "lead_push", "DIRECT_MESSAGE": "message_push"}
DUE = "state = 'due'"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("business_id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("destination", sa.String(300), nullable=False),
        sa.Column("line", sa.String(64), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("claim", sa.String(36), nullable=True),
        sa.Column("is_unsure", sa.Boolean(), nullable=False),
        sa.Column("progress", sa.LargeBinary(), nullable=True),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("failed_at", sa.BigInteger(), nullable=True),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbound_requests")),
    )
    for name, columns, which in (
        ("due", ["destination", "business_id", "due_at", "id"], DUE),
        ("waiting", ["destination", "due_at", "id"], DUE),
        ("lines", ["kind", "line", "id"], f"({DUE} AND line <> '')"),
        ("failed", ["business_id", "id"], f"(state = 'dead' OR ({DUE} AND failed_at IS NOT NULL))"),
        ("expires", ["expires_at"], DUE),
        ("subject", ["business_id", "kind", "subject"], None),
        ("settled", ["settled_at"], None),
    ):
        where = None if which is None else sa.text(which)
        op.create_index(f"ix_{TABLE}_{name}", TABLE, columns, sqlite_where=where, postgresql_where=where)
    _take_over()
    for table, indexes, columns in (
        ("sends", ["ix_sends_due", "ix_sends_waiting"], ["attempts", "due_at", "claimed_at"]),
        ("pushes", ["ix_pushes_due"], ["attempts", "due_at"]),
    ):
        for index in indexes:
            op.drop_index(index, table)
        with op.batch_alter_table(table) as changed:
            for column in columns:
                changed.drop_column(column)


def _take_over() -> None:
    """Requests for what still waits."""
    connection = op.get_bind()
    sends = connection.execute(
        sa.text(
            "SELECT s.business_id, s.message_id AS subject, a.platform AS destination, s.conversation_id AS line, "
            "s.attempts, s.due_at, s.claimed_at FROM sends s JOIN channel_accounts a ON a.id = s.channel_account_id "
            "WHERE s.state = 'due' ORDER BY s.id"
        )
    ).mappings()
    rows = [_row(each, "reply", each["destination"], each["line"], each["claimed_at"] is not None) for each in sends]
    pushes = connection.execute(
        sa.text(
            "SELECT p.business_id, p.id AS subject, u.callback_url, u.entity, p.attempts, p.due_at "
            "FROM pushes p JOIN subscriptions u ON u.id = p.subscription_id WHERE p.state = 'due' ORDER BY p.id"
        )
    ).mappings()
    for each in pushes:
        host = urlsplit(each["callback_url"]).netloc.rpartition("@")[2].lower()[:300]
        rows.append(_row(each, KINDS[each["entity"]], host, "", False))
    if rows:
        table = sa.table(TABLE, *(sa.column(name) for name in rows[0]))
        connection.execute(table.insert(), rows)


def _row(each: Any, kind: str, destination: str, line: str, is_unsure: bool) -> dict[str, Any]:
    return {
        "business_id": each["business_id"], "kind": kind, "subject": str(each["subject"]),
        "destination": destination, "line": line, "state": "due", "attempts": each["attempts"],
        "due_at": each["due_at"], "is_unsure": is_unsure, "reason": "", "created_at": each["due_at"],
    }
