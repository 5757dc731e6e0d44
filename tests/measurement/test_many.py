"""Conversions of many persons at once: the same winners as one by one, in as few statements as of one."""

from datetime import timedelta

from sqlalchemy import event, select

from contatto.kit.db import hot
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import micros
from contatto.measurement import store
from contatto.measurement.actions import Earned, record_conversions, record_tap, record_touch
from contatto.measurement.model import ConversionKind, TouchKind
from tests import make

HOUR = timedelta(hours=1)


def earned(business_id: str, person_id: str) -> Earned:
    kind = ConversionKind.CONVERSATION
    return Earned(business_id, person_id, kind, f"chat of {person_id}", micros(make.NOON))


def count_questions(db: Database, business_id: str, persons: list[str]) -> int:
    """Queries that recording a conversion of each takes, those past SQLAlchemy too."""
    said: list[object] = []

    def record(tx: Tx) -> None:
        event.listen(tx.connection, "before_cursor_execute", lambda *told: said.append(told[2]))
        if not tx.locks_rows:
            hot.driver_of(tx).set_trace_callback(said.append)
        record_conversions(tx, [earned(business_id, each) for each in persons])
        if not tx.locks_rows:
            hot.driver_of(tx).set_trace_callback(None)

    db.write_now(record)
    return sum(str(each).lstrip().startswith("SELECT") for each in said)


def test_conversions_of_persons_who_tapped_no_ad_are_recorded_with_as_many_questions_as_one(
    database: Database,
) -> None:
    owner = database.write_now(lambda tx: make.business(tx).id)
    one, many = ([f"{size} {each}" for each in range(size)] for size in (1, 40))
    assert 0 < count_questions(database, owner, one) == count_questions(database, owner, many)


def test_among_many_strangers_those_who_tapped_or_saw_an_ad_have_their_winners(database: Database) -> None:
    def play(tx: Tx) -> None:
        owner, other = make.business(tx).id, make.business(tx).id
        ad, foreign = make.published_ad(tx, owner), make.published_ad(tx, other)
        tap = make.touch(ad, TouchKind.CLICK, make.NOON - HOUR, "tapped")
        view = make.touch(ad, TouchKind.VIEW, make.NOON - 20 * HOUR, "saw")
        seen_elsewhere = make.touch(ad, TouchKind.VIEW, make.NOON - HOUR, "viewer")
        tap_elsewhere = make.touch(foreign, TouchKind.CLICK, make.NOON - HOUR, "stranger 1")
        for each in (tap, view, seen_elsewhere, tap_elsewhere):
            record_touch(tx, each)
        record_tap(tx, make.touch(ad, TouchKind.CLICK, make.NOON + HOUR, "is a viewer"), "viewer")
        persons = [*(f"stranger {number}" for number in range(20)), "tapped", "saw", "is a viewer"]
        record_conversions(tx, [earned(owner, each) for each in persons])
        found = tx.execute(select(store.conversions.c.person_id, store.conversions.c.touch_id))
        won = {row.person_id: row.touch_id for row in found}
        winners = {"tapped": tap, "saw": view, "is a viewer": seen_elsewhere}
        expected = {name: touch.touch_id for name, touch in winners.items()}
        assert won == dict.fromkeys(persons) | expected

    database.write_now(play)
