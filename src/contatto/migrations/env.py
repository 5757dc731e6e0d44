"""Entry point of Alembic, with the connection of `migrations.steps`."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy.types import TypeDecorator

from contatto.kit.db.tx import metadata


def _plain_type(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Render our column types in a new step as SQLAlchemy's own, so that steps outlive our code."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    render_item=_plain_type,
    compare_type=False,
)
with context.begin_transaction():
    context.run_migrations()
