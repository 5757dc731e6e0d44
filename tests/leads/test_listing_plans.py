"""Pages of the Leads Center come in the order of an index: no engine sorts all leads to show fifty."""

import pytest
from sqlalchemy import event

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.leads.rules.filters import LeadFilter
from contatto.leads.store import listing
from tests import make

SORTS = ("-created", "created", "-last_activity", "status", "-status", "name")


def plan_of_page(tx: Tx, business_id: str, sort: str) -> str:
    """How the engine finds a page when it may not just read the whole table, as it does with few rows."""
    asked: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, values: object, *_more: object) -> None:
        asked.append((statement, values))

    event.listen(tx.connection, "before_cursor_execute", note)
    listing.list_leads(tx, business_id, LeadFilter(), sort)
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
    plan = database.read_now(lambda tx: plan_of_page(tx, business_id, sort))
    assert "ix_leads_by_" in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan
