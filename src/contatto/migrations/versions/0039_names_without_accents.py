"""Keys of names lose their accents, and persons are found by them."""

import sqlalchemy as sa
from alembic import op

from contatto.leads.rules.records import name_key

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

_AT_ONCE = 1_000


def upgrade() -> None:
    for table in ("leads", "persons"):
        fold_keys(table)
    op.create_index("ix_persons_by_name", "persons", ["business_id", "name_key", "id"])


def fold_keys(name: str) -> None:
    """Fold the keys of all named rows of a table, some thousand at once."""
    table = sa.table(name, sa.column("id", sa.String), sa.column("name_key", sa.Text))
    connection, last = op.get_bind(), ""
    named = sa.select(table.c.id, table.c.name_key).where(table.c.name_key != "").order_by(table.c.id)
    change = table.update().where(table.c.id == sa.bindparam("of")).values(name_key=sa.bindparam("key"))
    while rows := connection.execute(named.where(table.c.id > last).limit(_AT_ONCE)).all():
        last = rows[-1].id
        keys = [(row, name_key(row.name_key)) for row in rows if not row.name_key.isascii()]
        changed = [{"of": row.id, "key": key} for row, key in keys if key != row.name_key]
        if changed:
            connection.execute(change, changed)
