"""Entry point of Alembic, with the connection of `migrations.steps`."""

from alembic import context

from contatto.kit.db.tx import metadata
from contatto.migrations.steps import plain_type

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    render_item=plain_type,
    compare_type=False,
)
with context.begin_transaction():
    context.run_migrations()
