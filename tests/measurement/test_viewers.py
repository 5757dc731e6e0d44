"""A publisher's viewer and a person of our own chat, linked by a first tap: whose views earn what."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contatto.cli.models import seal_files
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.values import micros
from contatto.measurement import store
from contatto.measurement.actions import (
    NewConversion,
    list_touches_ever,
    list_touches_known,
    record_conversions,
    record_taps,
    sealing_job,
)
from contatto.measurement.engines.staging import sql_of
from contatto.measurement.model import (
    Attribution,
    ConversionKind,
    Impression,
    MeasuredAd,
    Tap,
    Touch,
    TouchKind,
)
from contatto.measurement.rules import last_touch
from tests import make
from tests.examples import examples
from tests.make import record_touch
from tests.measurement.test_actions import run_together

HOUR = timedelta(hours=1)
VIEWER, OTHER = "viewer of a publisher", "another viewer"
CHAT = ConversionKind.CONVERSATION
OFF: dict[str, Any] = {"click_window_s": None}


def prepared(db: Database, count: int = 1, **changes: object) -> tuple[str, list[MeasuredAd]]:
    def build(tx: Tx) -> tuple[str, list[MeasuredAd]]:
        owner = make.business(tx).id
        return owner, [make.published_ad(tx, owner, **changes) for _ in range(count)]

    return db.write_now(build)


def view(ad: MeasuredAd, hours: float, of: str = VIEWER) -> Callable[[Tx], object]:
    touch = make.touch(ad, TouchKind.VIEW, make.NOON + hours * HOUR, of)
    return lambda tx: record_touch(tx, touch)


def tap(ad: MeasuredAd, hours: float, person: str = "p1", viewer: str = VIEWER) -> Callable[[Tx], object]:
    touch = make.touch(ad, TouchKind.CLICK, make.NOON + hours * HOUR, person)
    return lambda tx: record_taps(tx, [Tap(Impression(touch, 0), viewer)])


def chat(owner: str, hours: float, person: str = "p1") -> Callable[[Tx], object]:
    earned = NewConversion(owner, person, CHAT, f"chat of {person}", micros(make.NOON + hours * HOUR))
    return lambda tx: record_conversions(tx, [earned])


def winner(db: Database, owner: str, person: str = "p1") -> Attribution:
    found = db.read_now(lambda tx: store.find_attribution(tx, owner, f"chat of {person}", CHAT))
    assert found is not None
    return found


def play(db: Database, *steps: Callable[[Tx], object]) -> None:
    for step in steps:
        db.write_now(step)


def test_a_view_of_the_viewer_who_tapped_earns_the_chat_of_the_person_whoever_comes_first(
    database: Database,
) -> None:
    owner, (ad,) = prepared(database, **OFF)
    steps = (view(ad, 0), tap(ad, 1), chat(owner, 2))
    play(database, *steps)
    assert (winner(database, owner).ad_id, winner(database, owner).via) == (ad.ad_id, TouchKind.VIEW)
    owner, (ad,) = prepared(database, **OFF)
    play(database, chat(owner, 2), view(ad, 0))
    assert winner(database, owner).ad_id is None
    play(database, tap(ad, 3))
    assert winner(database, owner).ad_id == ad.ad_id


def test_a_tap_that_was_made_before_links_nobody(database: Database) -> None:
    owner, (ad,) = prepared(database, **OFF)
    touch = make.touch(ad, TouchKind.CLICK, make.NOON + HOUR, "p1")
    again = replace(touch, person_id="p2")
    play(database, view(ad, 0), lambda tx: record_taps(tx, [Tap(Impression(touch, 0), VIEWER)]))
    assert database.write_now(lambda tx: record_taps(tx, [Tap(Impression(again, 0), VIEWER)])) == [False]
    play(database, chat(owner, 2, "p2"))
    assert winner(database, owner, "p2").ad_id is None
    assert database.read_now(lambda tx: store.list_links(tx, owner)) == {"p1": [VIEWER]}


def test_a_link_of_one_business_says_nothing_at_another(database: Database) -> None:
    _, (ad,) = prepared(database, **OFF)
    theirs, (other,) = prepared(database, **OFF)
    play(database, view(ad, 0), view(other, 0), tap(ad, 1), chat(theirs, 2))
    assert winner(database, theirs).ad_id is None
    assert database.read_now(lambda tx: store.list_viewers_of(tx, theirs, "p1")) == []


numbers = st.integers(0, 1)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("view"), numbers, st.sampled_from([VIEWER, OTHER, "p1"]), st.integers(0, 40)),
        st.tuples(st.just("tap"), numbers, st.sampled_from([VIEWER, OTHER]), st.integers(0, 40)),
        st.tuples(st.just("chat"), st.just(0), st.sampled_from(["p1", "p2"]), st.integers(0, 48)),
    ),
    min_size=3,
    max_size=10,
)  # fmt: skip


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves, st.booleans(), st.randoms())
def test_in_any_order_the_winner_is_that_of_the_rule_over_all_whom_a_person_is(
    database: Database, plan: list[tuple[str, int, str, int]], taps_count: bool, dice: object
) -> None:
    windows = {} if taps_count else OFF
    owner, ads = prepared(database, 2, **windows)
    touches: list[Touch] = []
    steps: list[Callable[[Tx], object]] = []
    views: list[Callable[[Tx], object]] = []  # a view is stored when it happens
    links = {"p1": {"p1"}, "p2": {"p2"}}
    for kind, number, who, hours in plan:
        if kind == "chat":
            steps.append(chat(owner, hours, who))
            continue
        person = who if kind == "view" else "p1"
        made = make.touch(ads[number], TouchKind("view" if kind == "view" else "click"),
                          make.NOON + hours * HOUR, person)  # fmt: skip
        touches.append(made)
        if kind == "view":
            views.append(lambda tx, made=made: record_touch(tx, made))  # type: ignore[misc]
        else:
            links["p1"].add(who)
            steps.append(partial(record_taps, taps=[Tap(Impression(made, 0), who)]))
    dice.shuffle(steps)  # type: ignore[attr-defined]
    play(database, *views, *steps)
    mine = store.conversions.select().where(store.conversions.c.business_id == owner)
    for found in database.read_now(lambda tx: tx.list(Attribution, mine)):
        conversion = make.conversion(CHAT, business_id=owner, person_id=found.person_id, ts=found.ts)
        theirs = [replace(touch, person_id=found.person_id) for touch in touches
                  if touch.person_id in links[found.person_id]]  # fmt: skip
        wanted = last_touch(theirs, conversion)
        assert found.touch_id == (wanted.touch_id if wanted else None)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_first_tap_and_a_chat_at_the_very_same_time_see_each_other(database: Database) -> None:
    owner, (ad,) = prepared(database, **OFF)
    for number in range(8):
        person, viewer = f"p{number}", f"viewer {number}"
        play(database, view(ad, 0, viewer), view(ad, 0.5, viewer))
        steps = [tap(ad, 1, person, viewer), chat(owner, 2, person)]
        run_together(database, threading.Barrier(len(steps)), steps)
        found = winner(database, owner, person)
        assert found.touch_ts == micros(make.NOON + HOUR / 2)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_of_many_who_tap_one_link_at_the_very_same_time_one_is_the_viewer(database: Database) -> None:
    owner, (ad,) = prepared(database)
    touch = make.touch(ad, TouchKind.CLICK, make.NOON, "p0")
    people = [replace(touch, person_id=f"p{number}") for number in range(4)]
    steps = [lambda tx, of=of: record_taps(tx, [Tap(Impression(of, 0), VIEWER)]) for of in people]
    run_together(database, threading.Barrier(len(steps)), steps)
    assert len(database.read_now(lambda tx: store.list_links(tx, owner))) == 1


def test_what_a_person_is_shown_to_have_seen_is_what_their_viewer_saw(database: Database) -> None:
    owner, (ad,) = prepared(database)
    play(database, view(ad, 0), view(ad, 0, OTHER), tap(ad, 1), view(ad, 2))
    known = database.read_now(lambda tx: list_touches_known(tx, owner, "p1", 50))
    ever, broken = database.read_now(lambda tx: list_touches_ever(tx, owner, "p1", 50))
    assert known == ever
    assert not broken
    assert [touch.kind for touch in known] == [TouchKind.VIEW, TouchKind.CLICK, TouchKind.VIEW]
    assert {touch.person_id for touch in known} == {"p1"}


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(make.NOON + timedelta(days=4))


def test_sealed_files_hold_all_that_the_definition_needs_to_find_the_same_winners(
    database: Database, tmp_path: Path
) -> None:
    owner, (ad, other) = prepared(database, 2, timezone="UTC", **OFF)
    play(
        database, view(ad, 0), view(other, 1, OTHER), tap(ad, 1), tap(other, 2, viewer=OTHER),
        chat(owner, 3), chat(owner, 3, "p2"), tap(other, 1, "p3", "nobody else"), chat(owner, 4, "p3"),
    )  # fmt: skip
    seal_files(database, sealing_job(tmp_path, 2))
    with duckdb.connect() as db:
        for table in ("touches", "conversions"):
            files = f"read_parquet('{tmp_path}/{table}/**/*.parquet')"
            db.execute(f"CREATE VIEW {table} AS SELECT * FROM {files}")  # noqa: S608
        db.execute(f"CREATE TABLE winners AS {sql_of('duckdb', 'winners_click_first')}")
        won = [row[:2] for row in db.execute(sql_of("duckdb", "attributions")).fetchall()]
        left = db.execute(sql_of("duckdb", "unattributed")).fetchall()
    kept = [winner(database, owner, who) for who in ("p1", "p2", "p3")]
    assert sorted(won) == sorted((each.conversion_id, each.touch_id) for each in kept)
    assert [each.touch_id is not None for each in kept] == [True, False, False]
    assert left == [(owner, 2, 0)]
