"""The report through recorded touches and conversions, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.values import micros
from contatto.measurement import actions as measurement
from contatto.measurement import store as measured
from contatto.measurement.actions import NewConversion
from contatto.measurement.model import ConversionKind, Goal, TouchKind
from contatto.reports.actions.overview import MOST_SAVED, remove_saved_report, save_report_query
from contatto.reports.actions.reports import make_report
from contatto.reports.model import DayRange, Level, Report, TimeStep
from contatto.reports.rules.figures import ReportSpec
from contatto.reports.store import list_saved_reports
from tests.ads.world import NOW, Chain, World, add_chain, add_world
from tests.make import record_touch
from tests.unchanged import nothing_changes

EVER = DayRange()
DAY_S = 86_400


def touch(tx: Tx, chain: Chain, kind: TouchKind, at: datetime, person: str = "p1", cost: int = 0) -> None:
    ad = measured.find_measured_ad(tx, chain.ad.business_id, chain.ad.id)
    assert ad is not None
    touch_id = abs(hash((chain.ad.id, kind, at, person))) >> 1
    record_touch(tx, measurement.stamp_touch(ad, kind, person, micros(at), touch_id, cost))


def earn(tx: Tx, world: World, kind: ConversionKind, at: datetime, person: str = "p1") -> None:
    measurement.record_conversions(
        tx, [NewConversion(world.id, person, kind, f"{kind}-{person}", micros(at))]
    )


def report(database: Database, world: World, level: Level = Level.AD_GROUP, span: DayRange = EVER) -> Report:
    return database.read_now(lambda tx: make_report(tx, world.ad_account, ReportSpec(span, level)))


def figures(found: Report, number: int) -> tuple[int, int, int | None]:
    """Conversations, leads and conversions of an ad group."""
    row = next(row for row in found.rows if row.subject.ad_group_number == number)
    return row.figures.counts.conversations, row.figures.counts.leads, row.figures.conversions


def test_the_worked_example_credits_the_lead_ad_group(database: Database) -> None:
    def tell(tx: Tx) -> tuple[World, Chain, Chain]:
        world = add_world(tx)
        talk = add_chain(tx, world, goal=Goal.CONVERSATION)
        lead = add_chain(tx, world, goal=Goal.LEAD)
        touch(tx, talk, TouchKind.CLICK, NOW)
        earn(tx, world, ConversionKind.CONVERSATION, NOW + timedelta(minutes=1))
        touch(tx, lead, TouchKind.CLICK, NOW + timedelta(days=1))
        earn(tx, world, ConversionKind.LEAD, NOW + timedelta(days=1, minutes=5))
        return world, talk, lead

    world, talk, lead = database.write_now(tell)
    found = report(database, world)
    assert figures(found, talk.ad_group.number) == (1, 0, 1)
    assert figures(found, lead.ad_group.number) == (0, 1, 1)
    assert found.total.mixed_goals
    assert found.total.conversions is None
    assert found.total.counts.leads == 1


def test_a_lead_from_a_conversation_ad_is_a_lead_but_no_conversion_of_it(database: Database) -> None:
    def tell(tx: Tx) -> tuple[World, Chain]:
        world = add_world(tx)
        talk = add_chain(tx, world, goal=Goal.CONVERSATION)
        touch(tx, talk, TouchKind.CLICK, NOW)
        earn(tx, world, ConversionKind.LEAD, NOW + timedelta(minutes=1))
        return world, talk

    world, talk = database.write_now(tell)
    assert figures(report(database, world), talk.ad_group.number) == (0, 1, 0)


@pytest.mark.parametrize(("kind", "days"), [(TouchKind.CLICK, 7), (TouchKind.VIEW, 1)], ids=["click", "view"])
@pytest.mark.parametrize(("late_us", "won"), [(0, 1), (1, 0)], ids=["at the edge", "just after"])
def test_both_edges_of_a_window_count(
    database: Database, kind: TouchKind, days: int, late_us: int, won: int
) -> None:
    def tell(tx: Tx) -> tuple[World, Chain]:
        world = add_world(tx)
        chain = add_chain(tx, world)
        touch(tx, chain, kind, NOW)
        earn(tx, world, ConversionKind.LEAD, NOW + timedelta(days=days, microseconds=late_us))
        return world, chain

    world, chain = database.write_now(tell)
    assert figures(report(database, world), chain.ad_group.number) == (0, won, won)


def test_a_conversion_at_the_very_moment_of_its_touch_counts(database: Database) -> None:
    def tell(tx: Tx) -> tuple[World, Chain]:
        world = add_world(tx)
        chain = add_chain(tx, world)
        touch(tx, chain, TouchKind.CLICK, NOW)
        earn(tx, world, ConversionKind.LEAD, NOW)
        return world, chain

    world, chain = database.write_now(tell)
    assert figures(report(database, world), chain.ad_group.number)[1] == 1


def test_days_follow_the_zone_through_the_change_of_the_clock(database: Database) -> None:
    """In Santiago the 6th of September 2026 has 23 hours: midnight is skipped."""
    last_of_day = datetime(2026, 9, 6, 3, 59, 59, tzinfo=UTC)
    first_of_next = datetime(2026, 9, 6, 4, 0, 0, tzinfo=UTC)
    last_of_next = datetime(2026, 9, 7, 2, 59, 59, tzinfo=UTC)
    after_next = datetime(2026, 9, 7, 3, 0, 0, tzinfo=UTC)

    def tell(tx: Tx) -> World:
        world = add_world(tx, timezone="America/Santiago")
        chain = add_chain(tx, world)
        for moment in (last_of_day, first_of_next, last_of_next, after_next):
            touch(tx, chain, TouchKind.VIEW, moment, cost=1_000)
        return world

    world = database.write_now(tell)
    by_day = database.read_now(
        lambda tx: make_report(tx, world.ad_account, ReportSpec(EVER, step=TimeStep.DAY))
    )
    assert [(row.day, row.figures.counts.impressions) for row in by_day.rows] == [
        ("2026-09-05", 1),
        ("2026-09-06", 2),
        ("2026-09-07", 1),
    ]


def test_conversions_fall_on_the_day_of_the_touch_and_real_time_ones_on_their_own(database: Database) -> None:
    def tell(tx: Tx) -> World:
        world = add_world(tx)
        chain = add_chain(tx, world)
        touch(tx, chain, TouchKind.CLICK, NOW)
        earn(tx, world, ConversionKind.LEAD, NOW + timedelta(days=2))
        return world

    world = database.write_now(tell)
    first, last = DayRange("2026-01-01", "2026-01-01"), DayRange("2026-01-03", "2026-01-03")
    assert (
        report(database, world, span=first).total.conversions,
        report(database, world, span=first).total.count("rt_conversions"),
    ) == (1, 0)
    assert (
        report(database, world, span=last).total.conversions,
        report(database, world, span=last).total.count("rt_conversions"),
    ) == (0, 1)


def test_an_ad_group_with_no_events_has_a_row_of_zeros(database: Database) -> None:
    def tell(tx: Tx) -> tuple[World, Chain]:
        world = add_world(tx)
        return world, add_chain(tx, world)

    world, chain = database.write_now(tell)
    assert figures(report(database, world), chain.ad_group.number) == (0, 0, 0)


@pytest.mark.parametrize("level", list(Level))
def test_every_level_adds_up_to_the_same_spend(database: Database, level: Level) -> None:
    def tell(tx: Tx) -> World:
        world = add_world(tx)
        for person in range(3):
            touch(tx, add_chain(tx, world), TouchKind.VIEW, NOW, f"p{person}", cost=2_500)
        return world

    world = database.write_now(tell)
    found = report(database, world, level)
    assert found.total.counts.spend_micros == 7_500
    assert sum(row.figures.counts.spend_micros for row in found.rows) == 7_500


def test_another_business_sees_nothing_of_it(database: Database) -> None:
    def tell(tx: Tx) -> World:
        mine, other = add_world(tx), add_world(tx)
        touch(tx, add_chain(tx, mine), TouchKind.VIEW, NOW, cost=2_500)
        return other

    other = database.write_now(tell)
    assert report(database, other).rows == ()


ANA, BO, STRANGER = ("business", "ana"), ("business", "bo"), ("another", "ana")


def names(database: Database, owner: tuple[str, str]) -> list[str]:
    return [report.name for report in database.read_now(lambda tx: list_saved_reports(tx, *owner))]


def test_a_shared_report_is_there_for_all_members_and_no_other_business(database: Database) -> None:
    database.write_now(lambda tx: save_report_query(tx, ANA, "Mine", "by=ad"))
    database.write_now(lambda tx: save_report_query(tx, ANA, "Ours", "by=day", is_shared=True))
    assert sorted(names(database, ANA)) == ["Mine", "Ours"]
    assert names(database, BO) == ["Ours"]
    assert names(database, STRANGER) == []


@pytest.mark.parametrize("somebody", [BO, STRANGER])
def test_nobody_removes_the_report_of_somebody_else(database: Database, somebody: tuple[str, str]) -> None:
    kept = database.write_now(lambda tx: save_report_query(tx, ANA, "Ours", "by=day", is_shared=True))
    with nothing_changes(database), pytest.raises(Refused):
        database.write_now(lambda tx: remove_saved_report(tx, somebody, kept.id))
    database.write_now(lambda tx: remove_saved_report(tx, ANA, kept.id))
    assert names(database, BO) == []


def test_a_member_keeps_so_many_and_no_more(database: Database) -> None:
    for number in range(MOST_SAVED):
        database.write_now(lambda tx, number=number: save_report_query(tx, ANA, f"Report {number}", ""))  # type: ignore[misc]
    with pytest.raises(Refused, match="Remove one first"):
        database.write_now(lambda tx: save_report_query(tx, ANA, "One more", ""))
    database.write_now(lambda tx: save_report_query(tx, BO, "Another's first", ""))
