"""Pages of the Leads Center come in the order of an index: no engine sorts all leads to show fifty."""

from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import event

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.leads.rules.records import Has, LeadFilter
from contatto.leads.store import listing
from tests import make

SORTS = ("-created", "created", "-last_activity", "status", "-status", "name", "-score")


def plan_of(tx: Tx, ask: Callable[[Tx], object]) -> str:
    """How the engine answers the last query when it may not just read a whole table, as with few rows."""
    asked: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, values: object, *_more: object) -> None:
        asked.append((statement, values))

    event.listen(tx.connection, "before_cursor_execute", note)
    ask(tx)
    event.remove(tx.connection, "before_cursor_execute", note)
    statement, values = asked[-1]
    if tx.locks_rows:
        for way in ("seqscan", "bitmapscan"):
            tx.connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
    explain = "EXPLAIN" if tx.locks_rows else "EXPLAIN QUERY PLAN"
    rows = tx.connection.exec_driver_sql(f"{explain} {statement}", values)  # type: ignore[arg-type]
    return "\n".join(str(row) for row in rows)


@pytest.mark.parametrize("sort", SORTS)
def test_a_page_comes_in_the_order_of_an_index(database: Database, sort: str) -> None:
    business_id = new_id()
    database.write_now(lambda tx: make.lead(tx, business_id))
    page = partial(listing.list_leads, business_id=business_id, lead_filter=LeadFilter(), sort=sort)
    plan = database.read_now(lambda tx: plan_of(tx, page))
    assert "ix_leads_by_" in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize(
    "wanted", [LeadFilter(has=(Has.PHONE,)), LeadFilter(labels=("none",), owners=("m1",))]
)
def test_leads_are_counted_by_the_texts_of_their_facets_and_not_one_by_one(
    database: Database, wanted: LeadFilter
) -> None:
    business_id = new_id()
    database.write_now(lambda tx: make.lead(tx, business_id))
    count = partial(listing.count_leads, business_id=business_id, lead_filter=wanted)
    plan = database.read_now(lambda tx: plan_of(tx, count))
    steps = [line for line in plan.splitlines() if "facets=?" in line or "facets = ANY" in line]
    assert len(steps) == 1, plan
    assert "ix_leads_by_facets" in plan
