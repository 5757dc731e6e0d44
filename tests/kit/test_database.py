"""Both engines behind one door: the same reads, writes and types."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select, update

from contatto.accounts.model import Business, BusinessId
from contatto.accounts.store import api_tokens, businesses, find_business
from contatto.channels.model import Platform
from contatto.channels.store import channel_accounts, chat_embeds
from contatto.kit.db.database import Database, open_database
from contatto.kit.db.statements import WorkBatcher, insert_all
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.vault import Vault

AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def add(business_id: str = "b1", name: str = "Kopi") -> Any:
    return lambda tx: tx.insert(businesses, {"id": business_id, "name": name, "created_at": AT})


def all_ids(db: Database) -> set[str]:
    return db.read_now(lambda tx: set(tx.execute(select(businesses.c.id)).scalars()))


def test_a_row_comes_back_as_its_dataclass_with_its_microseconds(database: Database) -> None:
    database.write_now(add())
    found = database.read_now(lambda tx: find_business(tx, BusinessId("b1")))
    assert found == Business(BusinessId("b1"), "Kopi", AT)
    assert database.read_now(lambda tx: find_business(tx, BusinessId("b2"))) is None


def test_a_write_whose_work_raises_keeps_nothing(database: Database) -> None:
    def fail(tx: Tx) -> None:
        add()(tx)
        raise LookupError("no")

    with pytest.raises(LookupError):
        database.write_now(fail)
    with pytest.raises(LookupError):
        asyncio.run(_written(database, fail))
    assert all_ids(database) == set()


def test_a_command_keeps_its_open_transaction_or_nothing_of_it(database: Database) -> None:
    with database.writing() as tx:
        add("b1")(tx)
    with suppress(LookupError), database.writing() as tx:
        add("b2")(tx)
        raise LookupError("no")
    database.write_now(add("b3"))
    assert all_ids(database) == {"b1", "b3"}


async def _written(db: Database, work: Any) -> Any:
    return await db.write(work)


def test_async_code_reads_what_it_wrote(database: Database) -> None:
    async def both() -> Business | None:
        await database.write(add())
        return await database.read(lambda tx: find_business(tx, BusinessId("b1")))

    found = asyncio.run(both())
    assert found is not None
    assert found.name == "Kopi"


def test_rows_of_a_batcher_are_there_when_its_futures_are_done(database: Database) -> None:
    def insert(tx: Tx, rows: Sequence[dict[str, Any]]) -> list[None]:
        insert_all(tx, businesses, rows)
        return [None] * len(rows)

    batcher = WorkBatcher(partial(database.write, is_hurried=False), insert)

    async def append_many() -> None:
        rows = [{"id": f"b{i}", "name": "Kopi", "created_at": AT} for i in range(30)]
        await asyncio.gather(*(batcher.submit(row) for row in rows))

    asyncio.run(append_many())
    assert len(all_ids(database)) == 30


def test_the_time_of_a_transaction_is_the_clocks(database: Database, clock: FixedClock) -> None:
    assert database.read_now(lambda tx: tx.now) == clock.now()
    assert database.write_now(lambda tx: tx.now) == clock.now()


def test_a_listener_hears_of_commits_from_any_thread(database: Database) -> None:
    heard = threading.Event()
    database.on_commit(heard.set)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(database.write_now, add()).result()
    assert heard.wait(60)


def test_an_ignored_insert_says_whether_the_row_is_new(database: Database) -> None:
    row = {"id": "b1", "name": "Kopi", "created_at": AT}
    assert database.write_now(lambda tx: tx.insert_ignore(businesses, row))
    assert not database.write_now(lambda tx: tx.insert_ignore(businesses, row | {"name": "Other"}))
    found = database.read_now(lambda tx: find_business(tx, BusinessId("b1")))
    assert found is not None
    assert found.name == "Kopi"


def test_a_saved_row_replaces_its_predecessor_and_none_of_another_business(database: Database) -> None:
    row = {
        "channel_account_id": "c1",
        "business_id": "b1",
        "origins": ("https://a.example",),
        "changed_at": AT,
    }
    later = row | {"origins": ("https://b.example",)}
    foreign = row | {"business_id": "b2", "origins": ()}
    for saved in ([row], [later, later | {"channel_account_id": "c2"}], [foreign], []):
        database.write_now(partial(Tx.save, table=chat_embeds, rows=saved))
    database.write_now(
        lambda tx: tx.save(chat_embeds, foreign | {"business_id": "b1"}, changes=("changed_at",))
    )
    rows = database.read_now(lambda tx: tx.execute(select(chat_embeds)).mappings().all())
    assert {found["channel_account_id"]: dict(found) for found in rows} == {
        "c1": later,
        "c2": later | {"channel_account_id": "c2"},
    }


def test_updates_say_how_many_rows_they_touched(database: Database) -> None:
    database.write_now(add())
    renamed = update(businesses).values(name="New")
    assert database.write_now(lambda tx: tx.execute(renamed.where(businesses.c.id == "b1")).rowcount) == 1
    assert database.write_now(lambda tx: tx.execute(renamed.where(businesses.c.id == "b2")).rowcount) == 0


def test_choices_words_and_missing_times_keep_their_types(database: Database) -> None:
    token = {"id": "t1", "business_id": "b1", "name": "n", "token_hash": "h", "scopes": ("a", "é"),
             "created_at": AT, "last_used_at": None, "revoked_at": None}  # fmt: skip
    account = {"id": "c1", "business_id": "b1", "platform": Platform.TIKTOK, "external_id": "x", "name": "n",
               "handle": "h", "registration_country": "SG", "created_at": AT}  # fmt: skip

    def write(tx: Tx) -> None:
        tx.insert(api_tokens, token)
        tx.insert(channel_accounts, account)

    database.write_now(write)
    kept = database.read_now(lambda tx: tx.execute(select(api_tokens)).mappings().one())
    assert (kept["scopes"], kept["revoked_at"]) == (("a", "é"), None)
    assert database.read_now(lambda tx: tx.scalar(select(channel_accounts.c.platform))) is Platform.TIKTOK


def test_a_text_with_a_nul_character_is_looked_for_without_an_error(database: Database) -> None:
    database.write_now(add("b1", "Kopi\0"))
    assert database.read_now(lambda tx: find_business(tx, BusinessId("b\0"))) is None
    counted = select(func.count()).select_from(businesses).where(businesses.c.name.icontains("x\0"))
    assert database.read_now(lambda tx: tx.scalar(counted)) == 0
    assert all_ids(database) == {"b1"}


def test_an_error_of_the_database_does_not_quote_what_was_written(database: Database) -> None:
    database.write_now(add("b1", "mei@example.com"))
    with pytest.raises(Exception, match=r"(?i)unique") as failed:
        database.write_now(add("b1", "mei@example.com"))
    assert "mei@example.com" not in str(failed.value)


def test_a_url_of_another_kind_is_refused(clock: FixedClock) -> None:
    with pytest.raises(ValueError, match="sqlite: or postgresql:"):
        open_database("mysql://somewhere", clock, Vault({"k": bytes(32)}))
