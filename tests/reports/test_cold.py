"""Whatever the database drops, reports, reach, winners, explanations and suppositions stay what they were."""

import itertools
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from contatto.kit.background import run_maintenance_job
from contatto.kit.db.database import Database, open_database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.values import micros
from contatto.kit.vault import Vault
from contatto.measurement import actions as measurement
from contatto.measurement import store as measured
from contatto.measurement.actions import NewConversion, dropping_job, sealing_job
from contatto.measurement.engines import sealing
from contatto.measurement.engines.sealing import ALL_DROPPED, BrokenFile
from contatto.measurement.model import Attribution, AttributionPolicy, ConversionKind, Goal, Touch, TouchKind
from contatto.measurement.store import list_changed_days
from contatto.reports.actions.reports import (
    compare_windows,
    counted_until,
    list_gaps,
    make_report,
    trace_conversion,
)
from contatto.reports.engines import find_first_day, list_counted_facts, list_live_facts, list_reach
from contatto.reports.model import Counts, DayRange, Fact, Level, ReachQuery, TimeStep
from contatto.reports.rules.figures import ReportSpec, WhatIfWindows
from contatto.wiring import PORTS
from tests.ads.world import Chain, World, add_chain, add_world
from tests.make import NOON, count_days_ahead, record_touch
from tests.reports.conftest import hours_of

EVER = DayRange()
A_DAY = timedelta(days=1)
HOT = 30
PEOPLE = [f"person {number}" for number in range(5)]
LOOKERS = PEOPLE[3:]
"""Those who never tap: only a view may win them."""
SUPPOSED = [
    WhatIfWindows(0, 7),
    WhatIfWindows(1, 7, AttributionPolicy.LAST_TOUCH),
    WhatIfWindows(28, 1),
    WhatIfWindows(7, 0),
]
REACHES = [
    ReachQuery(Level.AD),
    ReachQuery(Level.AD_GROUP, TimeStep.DAY),
    ReachQuery(Level.GOAL),
    ReachQuery(Level.AD_ACCOUNT, TimeStep.HOUR),
    ReachQuery(Level.CAMPAIGN, TimeStep.DAY, by_country=True),
]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOON + 45 * A_DAY)


class Story:
    """An account with 45 days of traffic, sealed and counted."""

    def __init__(self, database: Database, folder: Path, dice: random.Random) -> None:
        self.database, self.folder, self.dice = database, folder, dice
        self.world, self.chains = database.write_now(self._begin)
        self.touches = [self.touch(day) for day in range(0, 45, 6) for _ in range(12)]
        database.write_now(self._happen)
        self.count()
        self.seal()

    @staticmethod
    def _begin(tx: Tx) -> tuple[World, list[Chain]]:
        world = add_world(tx, timezone="Asia/Colombo")
        return world, [add_chain(tx, world, goal=goal) for goal in Goal]

    def touch(self, day: int) -> Touch:
        dice = self.dice
        ad = self.database.read_now(
            lambda tx: measured.find_measured_ad(tx, self.world.id, dice.choice(self.chains).ad.id)
        )
        assert ad is not None
        at = NOON + day * A_DAY + timedelta(minutes=dice.randrange(-400, 400))
        person = dice.choice(PEOPLE)
        kind = TouchKind.VIEW if person in LOOKERS else dice.choice(list(TouchKind))
        number, cost = dice.getrandbits(62), dice.choice([100, 250])
        touch = measurement.stamp_touch(ad, kind, person, micros(at), number, cost)
        window = (
            dice.choice([1, 7] if kind is TouchKind.VIEW else [1, 7, 28]) * A_DAY // timedelta(microseconds=1)
        )
        return replace(touch, country=dice.choice(["", "LK", "SG"]), expires_ts=touch.ts + window)

    def earned(self, day: int) -> NewConversion:
        kind, person = self.dice.choice(list(ConversionKind)), self.dice.choice(PEOPLE)
        at = micros(NOON + day * A_DAY + timedelta(minutes=self.dice.randrange(-600, 600)))
        return NewConversion(self.world.id, person, kind, f"{kind} {self.dice.getrandbits(40)}", at)

    def _happen(self, tx: Tx) -> None:
        for viewer, person in zip(LOOKERS, PEOPLE, strict=False):  # whom a publisher named, and who chatted
            link = {"viewer_id": viewer, "person_id": person, "linked_at": tx.now}
            tx.insert(measured.viewer_links, {"business_id": self.world.id, **link})
        for touch in self.touches:
            record_touch(tx, touch)
        for day in range(0, 45, 2):
            measurement.record_conversions(tx, [self.earned(day)])

    def count(self) -> None:
        while self.database.write_now(count_days_ahead):
            pass

    def seal(self) -> None:
        run_maintenance_job(self.database, sealing_job(self.folder, 2))

    def drop(self, jobs: int | None = None) -> int | None:
        """Drop what is due, or stop after some of the jobs."""
        shift = dropping_job(self.folder, HOT, counted_until)
        left = itertools.count() if jobs is None else iter(range(jobs))
        return run_maintenance_job(self.database, shift, lambda: next(left, None) is not None)


@pytest.fixture
def story(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    monkeypatch.setattr(measurement, "AT_ONCE", 2)
    return Story(database, tmp_path / "sealed", random.Random(5))  # noqa: S311 - a story, no secret


def together(facts: list[Fact]) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for fact in facts:
        for name in Counts.__dataclass_fields__:
            found[fact.ad_id, fact.day, fact.country, name] += getattr(fact.counts, name)
    return +found


def everything(tx: Tx, world: World) -> dict[str, Any]:
    """All that is told of an account."""
    mine = (world.id, world.ad_account.id)
    span = DayRange("2026-01-03", "2026-01-09")
    kept = tx.list(Attribution, select(measured.conversions).order_by(measured.conversions.c.conversion_id))
    explained = [trace_conversion(tx, world.id, one.conversion_id) for one in kept[::3]]
    between = (micros(NOON), micros(NOON + 45 * A_DAY))
    return {
        "counted": [together(list_counted_facts(tx, *mine, part, TimeStep.DAY)) for part in (EVER, span)],
        "hours": hours_of(tx, mine, EVER),
        "raw": [together(list_live_facts(tx, *mine, EVER, step)) for step in TimeStep],
        "some": together(list_live_facts(tx, *mine, span, TimeStep.DAY)),
        "reach": [list_reach(tx, *mine, EVER, by) for by in REACHES],
        "report": make_report(tx, world.ad_account, ReportSpec(EVER)),
        "first": find_first_day(tx, *mine),
        "winners": kept,
        "explained": [(one.touches, one.broken) for one in explained],
        "supposed": [compare_windows(tx, world.ad_account, between, each) for each in SUPPOSED],
    }


def told(story: Story) -> dict[str, Any]:
    return story.database.read_now(lambda tx: everything(tx, story.world))


def kept_ids(database: Database) -> set[int]:
    return set(database.read_now(lambda tx: tx.execute(select(measured.touches.c.touch_id)).scalars().all()))


def test_after_each_step_of_a_drop_all_is_told_as_before(story: Story) -> None:
    before = told(story)
    assert before["hours"]
    for jobs in (1, 4, None):
        story.drop(jobs)
        assert told(story) == before
    old = {touch for touch in story.touches if touch.day < "2026-01-16"}
    views = {touch.touch_id for touch in old if touch.kind is TouchKind.VIEW}
    assert kept_ids(story.database) == {touch.touch_id for touch in story.touches} - views
    assert story.drop() == 0


def test_while_views_are_dropped_every_reading_is_the_same(story: Story) -> None:
    mine = (story.world.id, story.world.ad_account.id)
    person = story.touches[0].person_id

    def look(tx: Tx) -> tuple[object, ...]:
        seen, _ = measurement.list_touches_ever(tx, story.world.id, person, 500)
        return together(list_live_facts(tx, *mine, EVER, TimeStep.DAY)), seen

    before = story.database.read_now(look)
    with ThreadPoolExecutor(1) as threads:
        dropping = threads.submit(story.drop)
        while not dropping.done():
            assert story.database.read_now(look) == before
    assert dropping.result()
    assert story.database.read_now(look) == before


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_comes_after_a_drop_ends_as_if_nothing_had_been_dropped(
    story: Story, tmp_path: Path, clock: FixedClock
) -> None:
    story.database.engine.raw_connection().execute(f"VACUUM INTO '{tmp_path / 'twin.db'}'")
    twin = open_database(f"sqlite:///{tmp_path / 'twin.db'}", clock, Vault({"test": bytes(32)}), PORTS)
    story.drop()
    late = [story.touch(day) for day in (0, 6, 6, 6, 6, 12, 18)]
    again = [touch for touch in story.dice.sample(story.touches, 60) if touch.kind is TouchKind.CLICK]
    earned = [story.earned(day) for day in range(1, 45, 3)]

    def happen(tx: Tx) -> None:
        for touch in (*again, *late, *again, *late):
            record_touch(tx, touch)
        for one in earned:
            measurement.record_conversions(tx, [one])

    for database in (story.database, twin):
        database.write_now(happen)

    def same() -> None:
        assert told(story) == twin.read_now(lambda tx: everything(tx, story.world))

    same()
    for database in (story.database, twin):
        while database.write_now(count_days_ahead):
            pass
    same()
    story.seal()  # late touches become new parts
    assert any(file.part == 2 for file in story.database.read_now(sealing.list_sealed_files))
    story.drop()
    same()
    held = [view for view in late if view.kind is TouchKind.VIEW and view.day < "2026-01-16"]
    assert held
    assert not {view.touch_id for view in held} & kept_ids(story.database)
    twin.close()


class Stopped(Exception):
    """The process dies here."""


@pytest.mark.parametrize("step", ["record_dropped", "delete_views"])
def test_killed_in_a_drop_nothing_is_lost_and_nothing_counts_twice(
    story: Story, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = told(story)
    owner = sealing if step == "record_dropped" else measured
    whole = getattr(owner, step)

    def dies(*arguments: Any) -> None:
        whole(*arguments)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, dies)
        with pytest.raises(Stopped):
            story.drop()
    assert told(story) == before
    story.drop()
    assert told(story) == before


def test_nothing_is_dropped_that_is_young_or_not_sealed_or_not_counted(
    story: Story, tmp_path: Path, clock: FixedClock
) -> None:
    shifts = [
        dropping_job(story.folder, 60, counted_until),  # nothing is so old
        dropping_job(tmp_path / "elsewhere", HOT, counted_until),  # sealed into another folder
        dropping_job(story.folder, HOT, lambda _: "2026-01-01"),  # some account is behind
    ]
    assert [run_maintenance_job(story.database, shift) for shift in shifts] == [0, 0, 0]
    assert len(kept_ids(story.database)) == len(story.touches)
    clock.advance(days=10)
    assert story.database.read_now(counted_until) == "2026-02-15"
    story.count()
    assert story.database.read_now(counted_until) is None


def files_of(story: Story, day: str) -> Path:
    return story.folder / f"touches/day={day}/part-1.parquet"


def cut_off(path: Path) -> bytes:
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    return content


def test_a_file_cut_off_by_hand_is_named_and_what_was_counted_stays(story: Story) -> None:
    before = told(story)
    story.drop()
    path = files_of(story, "2026-01-07")
    content = cut_off(path)
    account = story.world.ad_account
    days = (NOON.date(), (NOON + 44 * A_DAY).date())

    def look(tx: Tx) -> None:
        mine = (story.world.id, account.id)
        assert together(list_counted_facts(tx, *mine, EVER, TimeStep.DAY)) == before["counted"][0]
        assert make_report(tx, account, ReportSpec(EVER)) == before["report"]
        with pytest.raises(BrokenFile, match=r"day=2026-01-07/part-1\.parquet"):
            list_live_facts(tx, *mine, EVER, TimeStep.HOUR)
        with pytest.raises(BrokenFile):
            list_reach(tx, *mine, EVER, ReachQuery(Level.AD))
        ((gap, is_kept),) = list_gaps(tx, account, *days)
        assert (gap.file.day, gap.is_gone, is_kept) == ("2026-01-07", False, False)
        explained = trace_conversion(tx, story.world.id, before["winners"][0].conversion_id)
        assert [error.file.day for error in explained.broken] == ["2026-01-07"]
        between = (micros(NOON), micros(NOON + 8 * A_DAY))
        _, broken = compare_windows(tx, account, between, WhatIfWindows())
        assert [error.file.day for error in broken] == ["2026-01-07"]

    story.database.read_now(look)
    path.write_bytes(content)
    assert told(story) == before


def test_a_late_tap_on_a_day_whose_file_is_damaged_waits_until_it_is_back(story: Story) -> None:
    story.drop()
    path = files_of(story, "2026-01-07")
    content = cut_off(path)
    tap = story.touch(6)
    tap = replace(tap, kind=TouchKind.CLICK, day="2026-01-07", expires_ts=tap.ts - 1)
    mine = (story.world.id, story.world.ad_account.id)
    counted = lambda tx: together(list_counted_facts(tx, *mine, EVER, TimeStep.DAY))  # noqa: E731
    before = story.database.read_now(counted)
    story.database.write_now(lambda tx: record_touch(tx, tap))
    story.database.write_now(count_days_ahead)
    assert story.database.read_now(counted) == before
    with pytest.raises(BrokenFile):
        story.database.read_now(lambda tx: make_report(tx, story.world.ad_account, ReportSpec(EVER)))
    path.write_bytes(content)
    assert sum(story.database.read_now(counted).values()) == sum(before.values()) + 1 + tap.cost_micros
    story.database.write_now(count_days_ahead)
    assert sum(story.database.read_now(counted).values()) == sum(before.values()) + 1 + tap.cost_micros
    assert story.database.read_now(lambda tx: list_changed_days(tx, *mine)) == []


def test_a_file_that_is_damaged_is_not_built_upon(story: Story) -> None:
    cut_off(files_of(story, "2026-01-07"))
    story.drop()
    kept = story.database.read_now(sealing.list_sealed_files)
    assert [file.day for file in kept if file.day < "2026-01-16" and file.dropped_through != ALL_DROPPED] == [
        "2026-01-07"
    ]
    ids = {touch.touch_id for touch in story.touches if touch.day == "2026-01-07"}
    assert ids <= kept_ids(story.database)
    ((_, is_kept),) = story.database.read_now(
        lambda tx: list_gaps(tx, story.world.ad_account, NOON.date(), (NOON + 9 * A_DAY).date())
    )
    assert is_kept
