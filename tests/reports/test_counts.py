"""Counting ahead gives what counting everything gives, whatever comes late, on both databases."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.event import listen

from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.ids import new_id
from contatto.kit.values import micros
from contatto.leads.actions.records import change_lead_status, mark_as_lead
from contatto.leads.model import LeadStatus, LeadStatusChanged, Origin, Signal
from contatto.measurement import actions as measurement
from contatto.measurement import store as measured
from contatto.measurement.actions import NewConversion, record_views
from contatto.measurement.model import ConversionKind, Goal, Impression, TouchKind
from contatto.reports import engines as reading
from contatto.reports.actions.reports import SETTLED, note_lead
from contatto.reports.engines import find_progress, list_counted_facts, list_live_facts
from contatto.reports.model import Counts, DayRange, Fact, TimeStep
from tests.ads.world import Chain, World, add_chain, add_world
from tests.make import count_days_ahead, record_touch
from tests.reports.conftest import hours_of

EVER = DayRange()
PEOPLE = [f"person {number}" for number in range(12)]

type Found = dict[tuple[str, str, str], Counts]


def together(facts: Iterable[Fact], key: Callable[[Fact], tuple[str, str, str]]) -> Found:
    found: Found = defaultdict(Counts)
    for fact in facts:
        found[key(fact)] += fact.counts
    return {place: counts for place, counts in found.items() if counts != Counts()}


def whole(fact: Fact) -> tuple[str, str, str]:
    return fact.ad_id, fact.day, fact.country


def same_as_all_events(database: Database, world: World, span: DayRange = EVER) -> None:
    """The counted facts against those of the engine that reads every event."""

    def look(tx: Tx) -> None:
        mine = (world.id, world.ad_account.id)
        for step in (TimeStep.WHOLE, TimeStep.DAY):
            counted = list_counted_facts(tx, *mine, span, step)
            assert together(counted, whole) == together(list_live_facts(tx, *mine, span, step), whole)
        hours = list_live_facts(tx, *mine, span, TimeStep.HOUR)
        by_hour = together(hours, lambda fact: ("", fact.day, ""))
        counted_hours = hours_of(tx, mine, span)
        assert {("", hour, ""): counts for hour, counts in counted_hours.items()} == by_hour

    database.read_now(look)


def add_two(tx: Tx) -> tuple[World, list[Chain]]:
    world = add_world(tx, timezone="Asia/Colombo")
    return world, [add_chain(tx, world, goal=goal) for goal in Goal]


def see(tx: Tx, chain: Chain, kind: TouchKind, person: str, late: timedelta, country: str = "") -> None:
    ad = measured.find_measured_ad(tx, chain.ad.business_id, chain.ad.id)
    assert ad is not None
    ts = micros(tx.now - late)
    touch = measurement.stamp_touch(ad, kind, person, ts, random.getrandbits(62), 1_000)
    record_touch(tx, replace(touch, country=country))


def earn(tx: Tx, world: World, kind: ConversionKind, person: str, late: timedelta) -> None:
    subject = f"{kind} {person}"
    measurement.record_conversions(
        tx, [NewConversion(world.id, person, kind, subject, micros(tx.now - late))]
    )


def mark(tx: Tx, world: World, person: str) -> str:
    signal = Signal(
        world.id, person, world.channel.id, new_id(), Origin.MANUAL, "m", tx.now, (), None, "Somebody"
    )
    return mark_as_lead(tx, signal).id


def test_counts_made_ahead_equal_a_full_count_whatever_comes_late(
    database: Database, clock: FixedClock
) -> None:
    dice = random.Random(7)  # noqa: S311 - a story to tell again, no secret
    world, chains = database.write_now(add_two)

    def happen(tx: Tx) -> None:
        for _ in range(dice.randint(1, 6)):
            late = timedelta(minutes=dice.choice([0, 0, 0, 1, 2, 3, 15, 200, 3_000]))
            person, chain = dice.choice(PEOPLE), dice.choice(chains)
            see(tx, chain, dice.choice(list(TouchKind)), person, late, dice.choice(["", "LK", "SG"]))
        if dice.random() < 0.5:
            kind, late = dice.choice(list(ConversionKind)), timedelta(minutes=dice.choice([0, 0, 1, 3, 90]))
            earn(tx, world, kind, dice.choice(PEOPLE), late)

    for _ in range(25):
        clock.advance(minutes=dice.choice([1, 2, 3, 20, 90, 700]))
        database.write_now(happen)
        if dice.random() < 0.6:
            database.write_now(count_days_ahead)
        same_as_all_events(database, world)
    same_as_all_events(database, world, DayRange("2026-01-02", "2026-01-03"))
    database.write_now(count_days_ahead)
    clock.advance(hours=1)
    assert database.write_now(count_days_ahead) > 0
    same_as_all_events(database, world)


def test_a_settled_account_is_read_from_its_counts_alone(database: Database, clock: FixedClock) -> None:
    world, chains = database.write_now(add_two)
    database.write_now(lambda tx: see(tx, chains[0], TouchKind.CLICK, "p", timedelta()))
    database.write_now(lambda tx: earn(tx, world, ConversionKind.LEAD, "p", timedelta()))
    clock.advance(days=2)
    assert database.write_now(count_days_ahead) > 0

    def spoil(tx: Tx) -> list[Fact]:
        """Events that are gone from the log, as they are once a day is sealed."""
        tx.execute(measured.touches.delete().where(measured.touches.c.business_id == world.id))
        tx.execute(measured.conversions.delete().where(measured.conversions.c.business_id == world.id))
        return list_counted_facts(tx, world.id, world.ad_account.id, EVER, TimeStep.WHOLE)

    found = together(database.write_now(spoil), whole)
    assert found == {(chains[0].ad.id, "", ""): Counts(1_000, 0, 1, 0, 1, 0, 1)}


def test_what_becomes_of_a_lead_changes_the_day_that_earned_it(database: Database, clock: FixedClock) -> None:
    world, chains = database.write_now(add_two)
    database.write_now(lambda tx: see(tx, chains[0], TouchKind.CLICK, "p", timedelta()))
    lead_id = database.write_now(lambda tx: mark(tx, world, "p"))
    clock.advance(days=3)
    database.write_now(count_days_ahead)

    def found(tx: Tx) -> Counts:
        facts = list_counted_facts(tx, world.id, world.ad_account.id, EVER, TimeStep.WHOLE)
        return together(facts, whole)[chains[0].ad.id, "", ""]

    assert database.read_now(found) == Counts(1_000, 0, 1, leads=1, rt_leads=1, manual_leads=1)

    def qualify(tx: Tx) -> None:
        change_lead_status(tx, world.id, lead_id, LeadStatus.RAW, LeadStatus.QUALIFIED, "Owner")
        note_lead(tx, LeadStatusChanged(world.id, lead_id, "raw", "qualified"))

    database.write_now(qualify)
    assert database.read_now(found).qualified == 1
    assert database.write_now(count_days_ahead) == 1
    assert database.read_now(found).qualified == 1
    assert database.read_now(found).converted == 0


def test_a_long_history_is_counted_in_small_steps(database: Database, clock: FixedClock) -> None:
    world, chains = database.write_now(add_two)
    for _ in range(3):
        database.write_now(lambda tx: see(tx, chains[1], TouchKind.VIEW, "p", timedelta()))
        clock.advance(days=9)
    steps = []
    while count := database.write_now(count_days_ahead):
        steps.append(count)
    assert len(steps) == 3
    assert max(steps) == 10
    progress = database.read_now(lambda tx: find_progress(tx, world.id, world.ad_account.id))
    assert progress is not None
    assert progress.counted_until == micros(clock.moment - SETTLED)
    same_as_all_events(database, world)


def test_a_reader_is_not_confused_by_a_count_that_ends_meanwhile(
    database: Database, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, chains = database.write_now(add_two)
    for _ in range(2):
        database.write_now(count_days_ahead)
        database.write_now(lambda tx: see(tx, chains[0], TouchKind.CLICK, "p", timedelta()))
        clock.advance(hours=3)
    read_counts, counted = reading._read_counts, []

    def count_first(*asked: Any) -> list[Any]:
        if not counted:
            counted.append(database.write_now(count_days_ahead))
        return read_counts(*asked)

    monkeypatch.setattr(reading, "_read_counts", count_first)
    mine = (world.id, world.ad_account.id)
    found = database.read_now(lambda tx: list_counted_facts(tx, *mine, EVER, TimeStep.WHOLE))
    assert counted == [1]
    assert together(found, whole) == {(chains[0].ad.id, "", ""): Counts(2_000, 0, 2)}


@pytest.mark.parametrize("days", [1, 9, 10, 11, 40])
def test_days_not_counted_yet_are_read_whether_named_or_spanned(
    database: Database, clock: FixedClock, days: int
) -> None:
    """So few days are named in the query, so many are told by the first and the last."""
    world, chains = database.write_now(add_two)
    database.write_now(lambda tx: see(tx, chains[0], TouchKind.VIEW, "p", timedelta()))
    clock.advance(hours=3)
    database.write_now(count_days_ahead)
    for _ in range(days):
        database.write_now(lambda tx: see(tx, chains[0], TouchKind.CLICK, "p", timedelta()))
        clock.advance(days=1)
    last = (clock.moment + timedelta(days=1)).date().isoformat()
    for span in (DayRange(), DayRange("2025-12-01", last), DayRange("2025-12-01", "2025-12-31")):
        same_as_all_events(database, world, span)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_account_is_counted_on_as_soon_as_it_is_worth_it(
    database: Database, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contatto.reports.actions.reports.WORTH", 3)
    world, chains = database.write_now(add_two)
    database.write_now(count_days_ahead)
    counted = []
    for _ in range(4):
        database.write_now(lambda tx: see(tx, chains[0], TouchKind.VIEW, "p", timedelta()))
        clock.advance(seconds=70)
        counted.append(database.write_now(count_days_ahead))
    assert counted == [0, 0, 0, 1]
    same_as_all_events(database, world)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_view_that_is_kept_late_marks_its_day(database: Database, clock: FixedClock) -> None:
    world, chains = database.write_now(add_two)
    ad = database.read_now(lambda tx: measured.find_measured_ad(tx, world.id, chains[0].ad.id))
    assert ad is not None
    view = measurement.stamp_touch(ad, TouchKind.VIEW, "p", micros(clock.now()), 7, 0)
    clock.advance(minutes=9)
    database.write_now(count_days_ahead)
    database.write_now(lambda tx: record_views(tx, [Impression(view, 7)]))
    same_as_all_events(database, world)
    assert database.write_now(count_days_ahead) == 1
    same_as_all_events(database, world)


FIGURES = (
    ("touches", "ix_touches_of_day", "666666 666666 666666 222222 1"),
    ("conversions", "ix_conversions_of_day", "20000 20000 20000 6667"),
    ("conversions", "ix_conversions_of_rt_day", "20000 20000 20000 6667"),
    ("conversions", "ix_conversions_of_ts", "20000 20000 20000 2"),
)
"""What SQLite knows of an installation with one business and many touches."""


def tell_figures(tx: Tx) -> None:
    tx.connection.exec_driver_sql("ANALYZE")
    tx.connection.exec_driver_sql("DELETE FROM sqlite_stat1 WHERE tbl IN ('touches', 'conversions')")
    for figures in FIGURES:
        tx.connection.exec_driver_sql("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", figures)


@pytest.mark.parametrize("has_figures", [False, True])
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_only_what_is_not_counted_is_read_from_its_events(
    database: Database, clock: FixedClock, *, has_figures: bool
) -> None:
    if has_figures:
        database.write_now(tell_figures)
    world, chains = database.write_now(add_two)
    database.write_now(lambda tx: see(tx, chains[0], TouchKind.VIEW, "p", timedelta()))
    clock.advance(hours=3)
    database.write_now(count_days_ahead)
    asked: list[tuple[str, Any]] = []

    def look(tx: Tx) -> list[str]:
        def keep(*event: Any) -> None:
            asked.append((event[2], event[3]))

        if has_figures:
            tx.connection.exec_driver_sql("ANALYZE sqlite_schema")  # reads them again
        listen(tx.connection, "before_cursor_execute", keep)
        list_counted_facts(
            tx, world.id, world.ad_account.id, DayRange("2025-12-30", "2026-01-03"), TimeStep.DAY
        )
        events = [each for each in asked if "FROM touches" in each[0] or "FROM conversions" in each[0]]
        plans = [tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values) for sql, values in events]
        return [row[3] for plan in plans for row in plan if not row[3].startswith("USE TEMP")]

    of_day = "(business_id=? AND ad_account_id=? AND"
    assert database.read_now(look) == [
        f"SEARCH touches USING INDEX ix_touches_of_day {of_day} day=? AND ts>?)",
        f"SEARCH conversions USING INDEX ix_conversions_of_ts {of_day} ts>?)",
        "SEARCH leads USING INDEX sqlite_autoindex_leads_1 (id=?) LEFT-JOIN",
        f"SEARCH conversions USING INDEX ix_conversions_of_ts {of_day} ts>?)",
    ]
