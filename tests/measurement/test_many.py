"""Conversions and taps of many at once: the same winners as one by one, in as few statements as of one."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import event, select

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx, driver_of
from contatto.kit.values import micros
from contatto.measurement import store
from contatto.measurement.actions import (
    NewConversion,
    record_conversions,
    record_taps,
)
from contatto.measurement.model import ConversionKind, Impression, MeasuredAd, Tap, TouchKind
from contatto.measurement.store import viewer_links
from tests import make
from tests.make import record_touch

HOUR = timedelta(hours=1)


def earned(business_id: str, person_id: str) -> NewConversion:
    kind = ConversionKind.CONVERSATION
    return NewConversion(business_id, person_id, kind, f"chat of {person_id}", micros(make.NOON))


def count_questions(db: Database, business_id: str, persons: list[str]) -> int:
    """Queries that recording a conversion of each takes, those past SQLAlchemy too."""
    said: list[object] = []

    def record(tx: Tx) -> None:
        event.listen(tx.connection, "before_cursor_execute", lambda *told: said.append(told[2]))
        if not tx.locks_rows:
            driver_of(tx).set_trace_callback(said.append)
        record_conversions(tx, [earned(business_id, each) for each in persons])
        if not tx.locks_rows:
            driver_of(tx).set_trace_callback(None)

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
        tap_of_viewer = make.touch(ad, TouchKind.CLICK, make.NOON + HOUR, "is a viewer")
        record_taps(tx, [Tap(Impression(tap_of_viewer, 0), "viewer")])
        persons = [*(f"stranger {number}" for number in range(20)), "tapped", "saw", "is a viewer"]
        record_conversions(tx, [earned(owner, each) for each in persons])
        found = tx.execute(select(store.conversions.c.person_id, store.conversions.c.touch_id))
        won = {row.person_id: row.touch_id for row in found}
        winners = {"tapped": tap, "saw": view, "is a viewer": seen_elsewhere}
        expected = {name: touch.touch_id for name, touch in winners.items()}
        assert won == dict.fromkeys(persons) | expected

    database.write_now(play)


@dataclass(frozen=True, slots=True)
class Told:
    """What a business is told: a tap, with the viewer whom its link names."""

    touch_id: int
    person_id: str
    viewer_id: str | None
    at: datetime


def a_story(dice: random.Random) -> list[Told]:
    """Taps of a few persons and viewers in any order, some of them late, some told again."""
    told: list[Told] = []
    for number in range(dice.randint(1, 14)):
        viewer = dice.choice([None, "viewer 1", "viewer 2"])
        at = make.NOON + timedelta(minutes=dice.randint(-300, 300))
        told.append(Told(number, f"person {dice.randint(0, 3)}", viewer, at))
        if dice.random() < 0.3:
            told.append(dice.choice(told))
    return told


def tap_of(ad: MeasuredAd, told: Told, first_id: int) -> Tap:
    touch = make.touch(ad, TouchKind.CLICK, told.at, told.person_id)
    return Tap(Impression(replace(touch, touch_id=first_id + told.touch_id), 0), told.viewer_id)


def after(tx: Tx, sizes: Iterator[int], story: list[Told], first_id: int) -> list[object]:
    """All rows of a business that was told the story in batches of these sizes."""
    owner = make.business(tx).id
    ad = make.published_ad(tx, owner)
    for place, who in enumerate(("viewer 1", "viewer 2", "person 0")):
        seen = make.touch(ad, TouchKind.VIEW, make.NOON - timedelta(hours=place), who)
        record_touch(tx, replace(seen, touch_id=first_id + 100 + place))
    record_conversions(tx, [earned(owner, f"person {number}") for number in range(3)])
    left = story
    while left:
        size = next(sizes)
        record_taps(tx, [tap_of(ad, one, first_id) for one in left[:size]])
        left = left[size:]
    of = store.conversions.c
    won = select(of.person_id, of.touch_id - first_id, of.via)
    kept = select(store.touches.c.touch_id - first_id, store.touches.c.person_id)
    links = select(viewer_links.c.viewer_id, viewer_links.c.person_id)
    return [
        sorted(map(tuple, tx.execute(each)))
        for each in (
            won.where(of.business_id == owner), kept.where(store.touches.c.business_id == owner),
            links.where(viewer_links.c.business_id == owner),
        )
    ]  # fmt: skip


def test_taps_end_the_same_one_by_one_and_in_any_batches(database: Database) -> None:
    dice = random.Random(3)  # noqa: S311 - a story to tell again, no secret

    def play(tx: Tx) -> None:
        for number in range(12):
            story, first_id = a_story(dice), 10_000 * number
            one_by_one = after(tx, itertools.repeat(1), story, first_id)
            in_batches = after(tx, iter(lambda: dice.randint(1, 20), 0), story, first_id + 5_000)
            assert in_batches == one_by_one

    database.write_now(play)


def test_many_taps_take_hardly_more_statements_than_one(database: Database) -> None:
    said: list[object] = []

    def record(tx: Tx, count: int) -> int:
        ad = make.published_ad(tx, make.business(tx).id)
        taps = [make.touch(ad, TouchKind.CLICK, make.NOON, f"{count} {each}") for each in range(count)]
        said.clear()
        record_taps(tx, [Tap(Impression(tap, number), "viewer") for number, tap in enumerate(taps, start=1)])
        return len(said)

    event.listen(database.engine, "before_cursor_execute", lambda *told: said.append(told[2]))
    one, many = (database.write_now(lambda tx, of=size: record(tx, of)) for size in (1, 40))  # type: ignore[misc]
    assert 0 < many <= one + 1
