"""Rotating the keys: nothing is lost, nothing stays with the old key, and searches still find."""

from functools import partial

import pytest

from contatto.channels.actions import register_app
from contatto.channels.model import ChannelApp, Platform
from contatto.channels.store import channel_apps, find_app
from contatto.cli.access import count_sealed_rows, count_sealed_with, reseal_all
from contatto.kit.db.database import Database, open_database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.vault import Sealed, Vault

OLD, NEW = bytes(32), bytes(range(32))


def _with_keys(database: Database, keys: dict[str, bytes], clock: FixedClock) -> Database:
    return open_database(database.engine.url.render_as_string(hide_password=False), clock, Vault(keys))


def _save_apps(tx: Tx) -> None:
    for number in range(7):
        register_app(tx, ChannelApp(f"app-{number}", "b", Platform.TIKTOK, f"secret {number}"))


def test_after_a_rotation_the_new_key_alone_opens_everything(database: Database, clock: FixedClock) -> None:
    database.write_now(_save_apps)
    rotating = _with_keys(database, {"new": NEW, "test": OLD}, clock)
    seen: list[int] = []
    assert rotating.read_now(count_sealed_rows) == 7
    assert reseal_all(rotating, seen.append, batch=3) == 7
    assert sum(seen) == 7
    assert reseal_all(rotating, seen.append) == 0
    rotating.close()
    fresh = _with_keys(database, {"new": NEW}, clock)
    opened = [fresh.read_now(lambda tx, n=n: find_app(tx, "b", f"app-{n}")) for n in range(7)]
    fresh.close()
    assert [app and app.secret for app in opened] == [f"secret {number}" for number in range(7)]
    with pytest.raises(Sealed):
        database.read_now(lambda tx: find_app(tx, "b", "app-1"))


def test_a_value_that_no_key_opens_stops_the_rotation_and_changes_nothing_of_its_batch(
    database: Database, clock: FixedClock
) -> None:
    database.write_now(_save_apps)
    broken = channel_apps.update().where(channel_apps.c.app_id == "app-6").values(secret=b"\x01\x01xrubbish")
    database.write_now(lambda tx: tx.execute(broken))
    rotating = _with_keys(database, {"new": NEW, "test": OLD}, clock)
    with pytest.raises(Sealed):
        reseal_all(rotating, lambda _: None)
    rotating.close()
    app = database.read_now(lambda tx: find_app(tx, "b", "app-1"))
    assert app is not None
    assert app.secret == "secret 1"


def test_values_are_counted_by_the_key_that_sealed_them(database: Database, clock: FixedClock) -> None:
    database.write_now(_save_apps)
    rotating = _with_keys(database, {"new": NEW, "test": OLD}, clock)
    rotating.write_now(lambda tx: register_app(tx, ChannelApp("app-7", "b", Platform.TIKTOK, "secret 7")))
    counts = [
        rotating.read_now(partial(count_sealed_with, key_id=key)) for key in ("new", "test", "tes", "t")
    ]
    assert counts == [1, 7, 0, 0]
    reseal_all(rotating, lambda _: None)
    assert rotating.read_now(partial(count_sealed_with, key_id="test")) == 0
    rotating.close()
