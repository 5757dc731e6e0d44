"""A lead and what is due of it, in one transaction, beside the bare insert of the same rows.

A business has one linked CRM. Each pair is a transaction of its own: a person shares contact details, the
lead is made, and it is due at the CRM, as a delivery and a request. Then the rows that came of it are
deleted, and inserted once more, those of one pair in one transaction, by SQL alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table, select

from bench.harness import Cost, Report, measured
from contatto.capture.model import Field
from contatto.crm.actions.targets import NewTarget, link_crm
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx, metadata
from tests import make

CRM: Final = NewTarget(
    "tryton", "CRM", "https://crm.example.com", {"database": "crm", "user": "u", "password": "p"}
)
type Rows = Mapping[Table, list[dict[str, Any]]]


@dataclass(frozen=True)
class Pairs:
    """Cost of making pairs, and of inserting their rows."""

    count: int
    rows: int
    made: Cost
    bare: Cost


def run_pairs(report: Report, name: str, db: Database, count: int) -> None:
    found = measure_pairs(db, count)
    made, bare = found.made.per_second(count), found.bare.per_second(count)
    report.add(
        f"{name}: a lead and what is due of it",
        pairs=count,
        pairs_per_s=made,
        bare_per_s=bare,
        of_bare_pct=100 * made / bare,
        rows_each=found.rows / count,
        cpu_ms_each=found.made.cpu_us_per(count) / 1e3,
        bare_cpu_ms_each=found.bare.cpu_us_per(count) / 1e3,
    )


def measure_pairs(db: Database, count: int) -> Pairs:
    business_id = db.write_now(_begin)
    before = db.read_now(_all_rows)
    with measured() as made:
        for number in range(count):
            _make_pair(db, business_id, number)
    after = db.read_now(_all_rows)
    fresh = {table: _new_rows(table, rows, before[table]) for table, rows in after.items()}
    fresh = {table: rows for table, rows in fresh.items() if rows}
    db.write_now(lambda tx: _put_back(tx, before, fresh))
    with measured() as bare:
        for number in range(count):
            _insert_share(db, fresh, number, count)
    return Pairs(count, sum(map(len, fresh.values())), made, bare)


def _begin(tx: Tx) -> str:
    business_id = make.business(tx).id
    link_crm(tx, business_id, CRM, ())
    _make(tx, business_id, -1)  # what is made once is there
    return business_id


def _make_pair(db: Database, business_id: str, number: int) -> None:
    db.write_now(lambda tx: _make(tx, business_id, number))


def _make(tx: Tx, business_id: str, number: int) -> None:
    email = make.contact(f"p{number}@example.com", Field.EMAIL)
    phone = make.contact(f"+659{number + 1:07d}")
    make.lead(tx, business_id, phone, email, person_id=f"p{number}")


def _new_rows(table: Table, rows: list[dict[str, Any]], known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = [column.name for column in table.primary_key]
    seen = {tuple(row[name] for name in names) for row in known}
    return [row for row in rows if tuple(row[name] for name in names) not in seen]


def _all_rows(tx: Tx) -> dict[Table, list[dict[str, Any]]]:
    """Every row of every table, in the order in which they came."""
    all_rows = {}
    for table in metadata.sorted_tables:
        ordered = select(table).order_by(*table.primary_key)
        all_rows[table] = [dict(row) for row in tx.execute(ordered).mappings()]
    return all_rows


def _put_back(tx: Tx, before: Rows, fresh: Rows) -> None:
    """Have the tables that grew as they were before."""
    for table in reversed(list(fresh)):
        tx.execute(table.delete())
    for table in fresh:
        if before[table]:
            tx.connection.execute(table.insert(), before[table])


def _insert_share(db: Database, fresh: Rows, number: int, count: int) -> None:
    """Insert the rows of one pair."""

    def insert(tx: Tx) -> None:
        for table, rows in fresh.items():
            share = rows[number * len(rows) // count : (number + 1) * len(rows) // count]
            if share:
                tx.connection.execute(table.insert(), share)

    db.write_now(insert)
