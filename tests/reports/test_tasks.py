"""Reports by the hour, reports of persons, and reports that are made into files."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from contatto.ads.model import NodeFilter, NodeStatus
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from contatto.kit.exports import (
    LEASE,
    OPEN_JOBS,
    ExportJob,
    ExportKind,
    ExportState,
    claim_export,
    end_export,
    export_jobs,
    export_next,
    find_export,
    find_export_content,
    purge_exports,
)
from contatto.kit.fair_queue import Turns
from contatto.measurement.model import ConversionKind, TouchKind
from contatto.reports.actions import reports
from contatto.reports.actions.reports import (
    REPORT_FILES,
    answer_report,
    make_report,
    queue_report,
)
from contatto.reports.model import DayRange, Level, TimeStep
from contatto.reports.rules.figures import Filter, ReportBody, ReportSpec
from contatto.wiring import EXPORTS
from tests.ads.world import NOW, World, add_chain, add_world
from tests.background import make_files
from tests.reports.test_actions import earn, touch

TODAY = DayRange("2026-01-01", "2026-01-01")


def asked(**changes: object) -> ReportBody:
    values = {"advertiser_id": "1", "report_type": "BASIC", "dimensions": ["campaign_id"],
              "metrics": ["spend", "reach", "campaign_name"], "query_lifetime": True}  # fmt: skip
    return ReportBody.model_validate(values | changes)


def seen_world(tx: Tx, timezone: str = "Asia/Singapore") -> World:
    """Two ads of one campaign; p1 sees both of them, p2 one, twice."""
    world = add_world(tx, timezone=timezone)
    first, second = add_chain(tx, world), add_chain(tx, world)
    touch(tx, first, TouchKind.VIEW, NOW, "p1", cost=250_000)
    touch(tx, second, TouchKind.VIEW, NOW, "p1")
    touch(tx, first, TouchKind.VIEW, NOW, "p2")
    touch(tx, first, TouchKind.VIEW, NOW + timedelta(hours=1), "p2")
    return world


def test_reach_counts_each_person_once_on_every_level(database: Database) -> None:
    world = database.write_now(seen_world)

    def reach(level: Level) -> list[int]:
        question = ReportSpec(DayRange(), level, with_reach=True)
        report = database.read_now(lambda tx: make_report(tx, world.ad_account, question))
        return sorted(row.figures.reach or 0 for row in report.rows)

    assert reach(Level.AD_ACCOUNT) == [2]
    assert reach(Level.GOAL) == [2]
    assert reach(Level.CAMPAIGN) == reach(Level.AD_GROUP) == reach(Level.AD) == [1, 2]


def test_reach_does_not_add_up_so_each_row_and_the_total_count_persons_anew(database: Database) -> None:
    world = database.write_now(seen_world)

    def reach(question: ReportSpec) -> tuple[list[int], int | None]:
        report = database.read_now(lambda tx: make_report(tx, world.ad_account, question))
        return sorted(row.figures.reach or 0 for row in report.rows), report.total.reach

    everything = ReportSpec(DayRange(), Level.AD, with_reach=True)
    assert reach(everything) == ([1, 2], 2)
    assert reach(replace(everything, level=Level.AD_ACCOUNT, by_country=True)) == ([2], 2)
    assert reach(replace(everything, step=TimeStep.DAY)) == ([1, 2], 2)
    report = database.read_now(lambda tx: make_report(tx, world.ad_account, everything))
    rare = next(row.subject for row in report.rows if row.figures.reach == 1)
    only = NodeFilter(statuses=frozenset(NodeStatus), ad_numbers=frozenset({rare.ad_number}))
    assert reach(replace(everything, nodes=only, level=Level.AD_ACCOUNT)) == ([1], 1)


def test_a_total_without_some_rows_has_no_reach(database: Database) -> None:
    world = database.write_now(seen_world)
    few = Filter(field_name="reach", filter_type="LOWER_THAN", filter_value="2")

    def total(**changes: object) -> tuple[int, int | None]:
        report = database.read_now(lambda tx: answer_report(tx, world.ad_account, asked(**changes)))
        return len(report.rows), report.total.reach

    assert total() == (2, 2)
    assert total(filtering=[few]) == (1, None)


@pytest.mark.parametrize(
    ("timezone", "hours"),
    [
        ("Asia/Singapore", ["2026-01-01 20", "2026-01-01 21"]),
        ("Asia/Kolkata", ["2026-01-01 17", "2026-01-01 18"]),
    ],
)
def test_hours_are_hours_of_the_ad_account(database: Database, timezone: str, hours: list[str]) -> None:
    world = database.write_now(lambda tx: seen_world(tx, timezone))
    question = ReportSpec(TODAY, Level.AD_ACCOUNT, step=TimeStep.HOUR, with_reach=True)

    def work(tx: Tx) -> list[tuple[str | None, int, int | None]]:
        earn(tx, world, ConversionKind.LEAD, NOW + timedelta(minutes=59))
        rows = make_report(tx, world.ad_account, question).rows
        return [(row.day, row.figures.counts.impressions, row.figures.reach) for row in rows]

    assert database.write_now(work) == [(hours[0], 3, 2), (hours[1], 1, 1)]


def queue(database: Database, world: World, **changes: object) -> ExportJob:
    return database.write_now(lambda tx: queue_report(tx, world.ad_account, asked(**changes), " my report "))


def state(database: Database, task: ExportJob) -> tuple[ExportState, str | None]:
    def work(tx: Tx) -> tuple[ExportState, str | None]:
        found = find_export(tx, ExportKind.REPORT, task.business_id, task.number)
        assert found is not None
        content = find_export_content(tx, found)
        return found.state, None if content is None else content.decode()

    return database.read_now(work)


def test_a_task_becomes_a_file_with_the_same_rows_as_the_answer(database: Database) -> None:
    world = database.write_now(seen_world)
    task = queue(database, world)
    assert (task.file_name, state(database, task)) == ("my report", (ExportState.QUEUED, None))
    assert make_files(database) == 1
    assert make_files(database) == 0
    status, content = state(database, task)
    assert status is ExportState.DONE
    lines = (content or "").splitlines()
    assert lines[0] == "campaign_id,spend,reach,campaign_name"
    rows = database.read_now(lambda tx: answer_report(tx, world.ad_account, asked())).rows
    assert [line.split(",")[0] for line in lines[1:]] == [str(row.subject.campaign_number) for row in rows]
    assert sorted(line.split(",")[2] for line in lines[1:]) == ["1", "2"]


def test_a_cancelled_task_makes_no_file(database: Database) -> None:
    world = database.write_now(seen_world)
    task = queue(database, world)
    database.write_now(lambda tx: end_export(tx, task, ExportState.CANCELED))
    assert make_files(database) == 0
    assert state(database, task) == (ExportState.CANCELED, None)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"metrics": ["luck"]}, "metrics"),
        ({"query_lifetime": False}, "start_date"),
        ({"dimensions": ["campaign_id", "stat_time_hour"]}, "query_lifetime"),
        ({"dimensions": ["campaign_id", "stat_time_day", "stat_time_hour"]}, "dimensions"),
        ({"dimensions": ["stat_time_hour"], "query_lifetime": False, "start_date": "2026-01-01",
          "end_date": "2026-01-02"}, "end_date"),
        ({"filtering": [{"field_name": "luck", "filter_type": "IN", "filter_value": "[1]"}]}, "filtering"),
    ],
)  # fmt: skip
def test_a_question_without_an_answer_makes_no_task(
    database: Database, changes: dict[str, object], named: str
) -> None:
    world = database.write_now(seen_world)
    with pytest.raises(Refused, match=named):
        queue(database, world, **changes)
    assert make_files(database) == 0


def test_a_report_that_breaks_is_marked_and_holds_up_no_other(database: Database) -> None:
    world = database.write_now(seen_world)
    broken = queue(database, world)
    spoiled = export_jobs.update().where(export_jobs.c.id == broken.id)
    database.write_now(lambda tx: tx.execute(spoiled.values(request="{}")).rowcount)
    whole = queue(database, world)
    assert make_files(database) == 2
    assert state(database, broken) == (ExportState.FAILED, None)
    assert state(database, whole)[0] is ExportState.DONE


def test_files_are_forgotten_after_their_time(database: Database, clock: FixedClock) -> None:
    world = database.write_now(seen_world)
    task = queue(database, world)
    clock.advance(seconds=REPORT_FILES.keep.total_seconds() + 1)
    assert database.write_now(partial(purge_exports, formats=EXPORTS)) == 1
    assert database.read_now(lambda tx: find_export(tx, ExportKind.REPORT, world.id, task.number)) is None


def test_a_report_is_made_outside_of_any_write(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes it may write meanwhile: on SQLite, which has one writer, this would wait for ever."""
    world = database.write_now(seen_world)
    task = queue(database, world)
    seen: list[ExportState] = []

    def look(*asked: Any) -> Any:
        found = database.write_now(
            lambda tx: find_export(tx, ExportKind.REPORT, task.business_id, task.number)
        )
        assert found is not None
        seen.append(found.state)
        return answer_report(*asked)

    monkeypatch.setattr(reports, "answer_report", look)
    make_files(database)
    assert seen == [ExportState.RUNNING]
    assert state(database, task)[0] is ExportState.DONE


def test_a_report_that_was_cancelled_in_the_making_stays_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = database.write_now(seen_world)
    task = queue(database, world)

    def cancel(*asked: Any) -> Any:
        database.write_now(lambda tx: end_export(tx, task, ExportState.CANCELED))
        return answer_report(*asked)

    monkeypatch.setattr(reports, "answer_report", cancel)
    make_files(database)
    assert state(database, task) == (ExportState.CANCELED, None)


def test_each_business_has_its_report_made_however_many_another_asked_for(database: Database) -> None:
    flooding, other = database.write_now(seen_world), database.write_now(seen_world)
    for _ in range(5):
        queue(database, flooding)
    waiting = queue(database, other)
    made: list[str] = []

    async def go() -> None:
        for _ in range(2):
            due = await database.read(Turns(OPEN_JOBS).list_businesses)
            for business_id in due:
                assert await export_next(database, EXPORTS, business_id)
                made.append(business_id)

    asyncio.run(go())
    assert sorted(made[:2]) == sorted([flooding.id, other.id])
    assert state(database, waiting)[0] is ExportState.DONE
    assert set(made[2:]) == {flooding.id}


def test_a_report_whose_maker_died_is_made_by_another_and_given_up_after_three(
    database: Database, clock: FixedClock
) -> None:
    world = database.write_now(seen_world)
    task = queue(database, world)
    claim = partial(claim_export, business_id=world.id)
    assert database.write_now(claim) is not None
    assert database.write_now(claim) is None
    clock.advance(seconds=LEASE.total_seconds() - 1)
    database.write_now(lambda tx: tx.change(export_jobs, world.id, task.id, due_at=tx.now + LEASE))
    clock.advance(seconds=LEASE.total_seconds() - 1)
    assert database.write_now(claim) is None
    for _ in range(2):
        clock.advance(seconds=LEASE.total_seconds())
        assert database.write_now(claim) is not None
    clock.advance(seconds=LEASE.total_seconds())
    assert database.write_now(claim) is None
    assert state(database, task) == (ExportState.FAILED, None)
