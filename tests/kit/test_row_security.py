"""PostgreSQL's own lock on tenancy: a query that forgets the tenant still sees no other's rows."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text, update
from sqlalchemy.exc import ProgrammingError
from structlog.testing import capture_logs

from contatto.accounts.actions import create_business
from contatto.accounts.store import businesses
from contatto.kit.db.database import Database, act_for, open_database
from contatto.kit.db.postgres import POLICY, tenant_column
from contatto.kit.db.tx import FixedClock, Tx, metadata
from contatto.kit.vault import Vault
from contatto.migrations.steps import migrate_schema
from tests import postgres
from tests.journeys.running import House, running_house


@pytest.fixture
def database(postgres_copy: str, clock: FixedClock) -> Iterator[Database]:
    opened = open_database(postgres_copy, clock, Vault({"test": bytes(32)}))
    yield opened
    opened.close()


def names(tx: Tx) -> list[str]:
    return sorted(tx.execute(select(businesses.c.name)).scalars())


def two_businesses(tx: Tx) -> str:
    create_business(tx, "Kopi and Co")
    return create_business(tx, "Teh and Co").id


def test_every_table_of_a_tenant_has_its_policy(database: Database) -> None:
    found = database.read_now(lambda tx: set(tx.execute(text("SELECT tablename FROM pg_policies")).scalars()))
    assert found == {table.name for table in metadata.sorted_tables if tenant_column(table)}


def test_who_acts_for_a_business_sees_and_changes_its_rows_alone(database: Database) -> None:
    mine = database.write_now(two_businesses)

    async def act() -> tuple[list[str], int]:
        act_for(mine)
        seen = await database.read(names)
        rename = update(businesses).values(name="Renamed")
        return seen, await database.write(lambda tx: tx.execute(rename).rowcount)

    assert asyncio.run(act()) == (["Teh and Co"], 1)
    assert database.read_now(names) == ["Kopi and Co", "Renamed"]


def test_a_row_cannot_be_written_for_another_business(database: Database) -> None:
    mine = database.write_now(two_businesses)

    async def act() -> None:
        act_for(mine)
        await database.write(lambda tx: create_business(tx, "Another"))

    with pytest.raises(ProgrammingError, match="row-level security"):
        asyncio.run(act())


def test_a_policy_of_an_earlier_release_is_replaced(database: Database) -> None:
    def make_earlier(tx: Tx) -> None:
        tx.execute(text(f"DROP POLICY {POLICY} ON members"))
        tx.execute(text("CREATE POLICY one_business ON members USING (true)"))

    database.write_now(make_earlier)
    migrate_schema(database.engine)
    kept = text("SELECT policyname FROM pg_policies WHERE tablename = 'members'")
    assert database.read_now(lambda tx: list(tx.execute(kept).scalars())) == [POLICY]


def test_whom_a_statement_acts_for_is_found_out_once_and_not_for_each_row(database: Database) -> None:
    explain = text("EXPLAIN SELECT * FROM members")
    plan = database.read_now(lambda tx: "\n".join(tx.execute(explain).scalars()))
    assert "InitPlan" in plan
    assert "current_setting" not in plan.split("InitPlan")[0]


def test_a_role_that_no_policy_holds_is_warned_about(database: Database, postgres_copy: str) -> None:
    with capture_logs() as lines:
        migrate_schema(database.engine)
        assert lines == []
        superuser = create_engine(postgres_copy.replace(f"//{postgres.OWNER}@", "//postgres@"))
        migrate_schema(superuser)
        superuser.dispose()
    assert [line["event"] for line in lines] == ["database.above_policies"]


@pytest.fixture
def house(tmp_path: Path, postgres_copy: str) -> Iterator[House]:
    with running_house(tmp_path, database_url=postgres_copy) as running:
        yield running


def test_a_request_with_a_caller_acts_for_its_business(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    narrowed = []
    monkeypatch.setattr(
        "contatto.kit.db.postgres.narrow",
        lambda connection, business_id: narrowed.append(business_id),
    )
    house.data("GET", "/campaign/get/")
    assert house.business_id in narrowed
    narrowed.clear()
    house.client.get("/login")
    assert house.business_id not in narrowed
