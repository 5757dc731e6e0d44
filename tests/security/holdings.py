"""What is in the database of one tenant, and whether something in it or in an answer is another's."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from contatto.kit.db.row_security import tenant_column
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import metadata
from tests.journeys.running import flush_decisions
from tests.security.world import Tenant, World
from tests.unchanged import COUNTED_AHEAD, NOTED

type Rows = dict[str, list[str]]
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b\d{15,19}\b")
AS_SENT: Final = frozenset({"audit_entries", "lead_job_items", "lead_jobs", "lead_views", "saved_reports"})
"""They keep what was asked for, as it was sent: which ids a request named, a filter, leads that were skipped.
An id in them opens nothing; that it does not is asked of the routes that read them."""


def rows_of(world: World, tenant: Tenant) -> Rows:
    """Every row of a tenant as text, by table; what decisions still have to write down is written before."""
    flush_decisions(world.client)

    def read(tx: Tx) -> Rows:
        cursor = tx.connection.connection.cursor()
        return {name: _rows(cursor, query, tenant.business_id) for name, query in _QUERIES.items()}

    return world.context.db.read_now(read)


def _rows(cursor: object, query: str, business_id: str) -> list[str]:
    # An id is made of letters, digits and dashes alone.
    cursor.execute(query.format(business_id))  # type: ignore[attr-defined]  # a cursor of either driver
    told = [number for number, column in enumerate(cursor.description) if column[0] not in NOTED]  # type: ignore[attr-defined]
    rows = cursor.fetchall()  # type: ignore[attr-defined]
    return sorted(repr([_plain(row[number]) for number in told]) for row in rows)


def _plain(cell: object) -> object:
    return bytes(cell) if isinstance(cell, memoryview) else cell


_QUERIES: Final = {
    table.name: f"SELECT * FROM {table.name} WHERE {tenant_column(table)} = '{{}}'"  # noqa: S608 - our own names
    for table in metadata.sorted_tables
    if tenant_column(table) and table.name not in COUNTED_AHEAD
}


def changed_tables(before: Rows, after: Rows) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def all_ids(tenant: Tenant) -> set[str]:
    """The ids of a tenant that are long enough to be nobody else's by chance."""
    return {each for values in tenant.ids.values() for each in values if _ID.fullmatch(each)}


def ids_in(texts: Iterable[str]) -> Iterator[str]:
    for each in texts:
        yield from _ID.findall(each)


def foreign_ids(rows: Mapping[str, list[str]], ids: set[str]) -> dict[str, set[str]]:
    """Ids of somebody else in the rows of a tenant, by table."""
    found = {name: ids & set(ids_in(rows[name])) for name in rows if name not in AS_SENT}
    return {name: held for name, held in found.items() if held}


def told_of(tenant: Tenant, ids: set[str], answer: str, sent: str) -> str:
    """What an answer tells of a tenant beyond what the request itself named."""
    leaked = (ids & set(ids_in([answer]))) - set(ids_in([sent]))
    return tenant.tells_of(answer) or " ".join(sorted(leaked)[:3])
