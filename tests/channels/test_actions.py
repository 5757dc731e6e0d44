"""Connecting accounts and registering apps; secrets are sealed, and each business sees its own."""

import asyncio
import math
from typing import Any

import pytest
from sqlalchemy import select

from contatto.channels import store
from contatto.channels.actions import NewAccount, connect_account, register_app
from contatto.channels.model import ChannelApp, Platform
from contatto.channels.store import CONNECTORS, AppIndex, landing_path
from contatto.kit.db.database import Database
from contatto.kit.errors import Refused
from tests import make

APP = ChannelApp("app-1", "b1", Platform.TIKTOK, "the app's secret")
NEW = NewAccount(Platform.TIKTOK, "open-1", " Kopi ", "@kopi", "sg")


def test_an_account_is_kept_tidy_and_found_by_its_own_business_only(database: Database) -> None:
    made = database.write_now(lambda tx: connect_account(tx, "b1", NEW))
    assert (made.name, made.handle, made.registration_country) == ("Kopi", "kopi", "SG")
    for business_id, wanted in (("b1", made), ("b2", None)):

        def look(tx, business_id=business_id):  # type: ignore[no-untyped-def]
            return [
                store.find_account(tx, business_id, made.id),
                store.find_account_by_external(tx, business_id, Platform.TIKTOK, "open-1"),
                *(store.list_accounts(tx, business_id) or [None]),
            ]  # fmt: skip

        assert database.read_now(look) == [wanted] * 3


def test_an_account_is_connected_once_to_a_business(database: Database) -> None:
    database.write_now(lambda tx: connect_account(tx, "b1", NEW))
    with pytest.raises(Refused, match="connected already"):
        database.write_now(lambda tx: connect_account(tx, "b1", NEW))
    database.write_now(lambda tx: connect_account(tx, "b2", NEW))


def test_our_own_chat_needs_no_id_from_outside(database: Database) -> None:
    made = database.write_now(lambda tx: make.channel(tx, "b1", Platform.WEBCHAT))
    assert made.external_id == made.id
    assert landing_path(made) == f"/chat/{made.id}"


@pytest.mark.parametrize("country", ["", "S", "SGP", "S1", "ÄÖ"])
def test_a_country_is_two_letters(database: Database, country: str) -> None:
    with pytest.raises(Refused, match="registration_country"):
        database.write_now(
            lambda tx: connect_account(tx, "b1", NewAccount(Platform.TIKTOK, "x", "Kopi", "", country))
        )


def test_the_secret_of_an_app_is_sealed_and_opens_for_the_webhook(database: Database) -> None:
    database.write_now(lambda tx: register_app(tx, APP))
    kept = database.read_now(lambda tx: tx.execute(select(store.channel_apps)).mappings().one())
    assert b"secret" not in kept["secret"]
    assert database.read_now(lambda tx: store.find_app(tx, "b1", "app-1")) == APP
    assert database.read_now(lambda tx: store.find_app(tx, "b1", "app-2")) is None
    assert database.read_now(lambda tx: store.find_app(tx, "b2", "app-1")) is None


def test_an_app_is_registered_once_with_both_its_values(database: Database) -> None:
    database.write_now(lambda tx: register_app(tx, APP))
    for app in (APP, ChannelApp("", "b1", Platform.TIKTOK, "s"), ChannelApp("a", "b1", Platform.TIKTOK, "")):
        with pytest.raises(Refused):
            database.write_now(lambda tx, app=app: register_app(tx, app))  # type: ignore[misc]


def test_apps_in_memory_are_read_again_after_a_while(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = AppIndex(database)
    assert asyncio.run(index.list_named("app-1")) == []
    database.write_now(lambda tx: register_app(tx, APP))
    assert asyncio.run(index.list_named("app-1")) == [APP]
    secret = database.vault.seal("a new secret", "b1", "channel_apps.secret", "app-1")
    changed = store.channel_apps.update().values(secret=secret)
    database.write_now(lambda tx: tx.execute(changed) and None)
    assert asyncio.run(index.list_named("app-1")) == [APP]
    monkeypatch.setattr("contatto.channels.store.KEEP_S", 0.0)
    (found,) = asyncio.run(index.list_named("app-1"))
    assert found.secret == "a new secret"


def test_apps_that_many_ask_for_are_read_again_by_one_of_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.write_now(lambda tx: register_app(tx, APP))
    index, read, reads = AppIndex(database), database.read, list[None]()

    async def counted(work: Any) -> Any:
        reads.append(None)
        return await read(work)

    async def ask_by_many() -> list[list[ChannelApp]]:
        await index.list_named("app-1")
        reads.clear()
        index._apps_by_id["app-1"] = (-math.inf, index._apps_by_id["app-1"][1])
        return await asyncio.gather(*(index.list_named("app-1") for _ in range(32)))

    monkeypatch.setattr(database, "read", counted)
    assert asyncio.run(ask_by_many()) == [[APP]] * 32
    assert len(reads) == 1


def test_an_app_that_is_gone_is_no_longer_known(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    index = AppIndex(database)
    database.write_now(lambda tx: register_app(tx, APP))
    assert asyncio.run(index.list_named("app-1")) == [APP]
    database.write_now(lambda tx: tx.execute(store.channel_apps.delete()) and None)
    with monkeypatch.context() as soon:
        soon.setattr("contatto.channels.store.KEEP_S", 0.0)
        assert asyncio.run(index.list_named("app-1")) == []
    assert asyncio.run(index.list_named("app-1")) == []


def test_strangers_cannot_fill_the_memory(database: Database) -> None:
    index = AppIndex(database)
    for number in range(20):
        assert asyncio.run(index.list_named(f"unknown-{number}")) == []
    assert index._apps_by_id == {}


def test_each_platform_has_its_connector() -> None:
    assert set(CONNECTORS) == set(Platform)
