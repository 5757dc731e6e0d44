"""Row-level security on PostgreSQL: a second lock on tenancy, below every query.

A request that has a caller acts for one business: from then on its transactions see and change rows of that
business alone, whatever a query asks for. The worker, log-ins and webhooks act for nobody in particular.
SQLite has no such thing; there the one query layer and its tests keep tenants apart.

Source: https://www.postgresql.org/docs/current/ddl-rowsecurity.html
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from sqlalchemy import Connection, Table, text

from contatto.kit.db.types import metadata
from contatto.kit.log import logger

_acting_for: ContextVar[str] = ContextVar("acting_for", default="")
POLICY: Final = "own_business"
_EARLIER: Final = "one_business"
"""It read the setting for each row that it let through: of a hundred thousand, that took most of the time."""
_SETTING: Final = "contatto.business_id"
_ACT: Final = text(f"SELECT set_config('{_SETTING}', :business_id, true)")
_PROTECTED: Final = text("SELECT tablename FROM pg_policies WHERE policyname = :policy")
_ABOVE_POLICIES: Final = text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")


def act_for(business_id: str) -> None:
    """From here on, transactions of this request concern this business alone."""
    _acting_for.set(business_id)


@contextmanager
def acting(business_id: str) -> Iterator[None]:
    """For a while, transactions and tasks that begin here concern another business; with an empty id, all."""
    before = _acting_for.set(business_id)
    try:
        yield
    finally:
        _acting_for.reset(before)


def acting_for() -> str:
    """The business that this request acts for; empty where there is none."""
    return _acting_for.get()


def narrow(connection: Connection, business_id: str) -> None:
    """Let the open transaction see the rows of one business; with an empty id, all."""
    if business_id:
        connection.execute(_ACT, {"business_id": business_id})


def tenant_column(table: Table) -> str | None:
    """The column that names the tenant of a row."""
    return "id" if table.name == "businesses" else "business_id" if "business_id" in table.c else None


def tenant_columns(table: Table) -> tuple[str, ...]:
    """The columns that name whose a row is: what an operator and a business share is of both."""
    column = tenant_column(table)
    shared = ("operator_id",) if column and "operator_id" in table.c else ()
    return (*shared, column) if column else ()


def protect_tables(connection: Connection) -> None:
    """Give every table of a tenant its policy; those that have it stay as they are.

    A role that no policy holds (a superuser, or one with BYPASSRLS) is warned about in the log.
    """
    if connection.dialect.name != "postgresql":
        return
    if connection.execute(_ABOVE_POLICIES).scalar():
        logger().warning("database.above_policies")
    protected = set(connection.execute(_PROTECTED, {"policy": POLICY}).scalars())
    for table in metadata.sorted_tables:
        columns = tenant_columns(table)
        if not columns or table.name in protected:
            continue
        # As a sub-select the setting is read once for a statement, not once for each row.
        allowed = f"(SELECT coalesce(current_setting('{_SETTING}', true), '')) IN ('', {', '.join(columns)})"
        for statement in (
            f"DROP POLICY IF EXISTS {_EARLIER} ON {table.name}",
            f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY {POLICY} ON {table.name} USING ({allowed}) WITH CHECK ({allowed})",
        ):
            connection.execute(text(statement))
