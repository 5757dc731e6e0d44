"""What is in the database of one tenant, and whether something in it or in an answer is another's."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from contatto.kit.db.postgres import tenant_column
from contatto.kit.db.tx import Tx, metadata
from tests.journeys.running import flush_decisions
from tests.security.world import Tenant, World
from tests.unchanged import COUNTED_AHEAD, Rows, texts_of

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b\d{15,19}\b")
AS_SENT: Final = frozenset({"audit_entries", "lead_job_items", "lead_jobs", "lead_views", "saved_reports"})
"""They keep what was asked for, as it was sent: which ids a request named, a filter, leads that were skipped.
An id in them opens nothing; that it does not is asked of the routes that read them."""

NAMED: Final = {
    "ad_groups": ("page_id",),
    "ads": ("auto_message_id", "page_id"),
    "measured_ads": ("page_id",),
}
"""What an ad names is kept as a program sent it, since it may be of a platform; it is looked up among the
business's own: test_an_ad_that_names_what_is_another_tenants_shows_nothing_of_it."""


def rows_of(world: World, tenant: Tenant) -> Rows:
    """Every row of a tenant as text, by table; what decisions still have to write down is written before.

    While nobody commits anything, that is what was read the last time.
    """
    flush_decisions(world.client)
    version = world.version()
    if (known := world.seen.get(tenant.business_id)) and known[0] == version:
        return known[1]

    def read(tx: Tx) -> Rows:
        cursor = tx.connection.connection.cursor()
        # An id is made of letters, digits and dashes alone.
        return {
            name: sorted(texts_of(cursor, query.format(tenant.business_id)))
            for name, query in _QUERIES.items()
        }

    rows = world.context.db.read_now(read)
    world.seen[tenant.business_id] = (version, rows)
    return rows


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


def ids_in(text: str) -> frozenset[str]:
    return frozenset(_ID.findall(text))


@lru_cache(100_000)
def _ids_of_row(row: str) -> frozenset[str]:
    """Remembered: from one attack to the next hardly a row is another, and to look took longest of all."""
    return ids_in(row)


def foreign_ids(rows: Mapping[str, list[str]], other: Tenant) -> dict[str, set[str]]:
    """Ids of another tenant in the rows of a tenant, by table."""
    ids = all_ids(other)
    named = {table: {each for name in names for each in other.ids[name]} for table, names in NAMED.items()}
    found = {
        name: (ids - named.get(name, set())) & set().union(*map(_ids_of_row, rows[name]))
        for name in rows
        if name not in AS_SENT
    }
    return {name: held for name, held in found.items() if held}


def told_of(tenant: Tenant, ids: set[str], answer: str, sent: str) -> str:
    """What an answer tells of a tenant beyond what the request itself named."""
    leaked = (ids & ids_in(answer)) - ids_in(sent)
    return tenant.tells_of(answer) or " ".join(sorted(leaked)[:3])
