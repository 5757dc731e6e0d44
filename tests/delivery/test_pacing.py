"""Budgets follow their plan, cost targets are learned without starving, days are those of the zone."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from contatto.learning import outcomes
from contatto.learning.auction import bin_of
from contatto.learning.columns import BINS, G_MULTIPLIER, SECOND
from contatto.learning.market import (
    SLOTS,
    UNITS,
    Groups,
    Traffic,
    day_bounds,
    find_limit,
    find_multiplier,
    find_quantile,
    multiplier_at,
    spend_at,
)
from contatto.learning.marketplace import Marketplace, reasons_of
from contatto.learning.model import LineGoal, Phase, Reason
from contatto.learning.outcomes import is_target_too_low, results_per_score
from tests.delivery.small_world import BEGINS, DAY, Line, play, set_up
from tests.delivery.test_marketplace import report_of, teller


@pytest.mark.parametrize(
    ("date", "hours"),
    [((2026, 3, 8), 23), ((2026, 11, 1), 25), ((2026, 6, 1), 24)],
    ids=["spring", "autumn", "summer"],
)
def test_a_local_day_may_have_another_length(date: tuple[int, int, int], hours: int) -> None:
    zone = ZoneInfo("America/New_York")
    noon = round(datetime(*date, 12, tzinfo=zone).timestamp()) * SECOND
    begins, ends = day_bounds(noon, "America/New_York")
    assert (ends - begins) // (3_600 * SECOND) == hours
    assert datetime.fromtimestamp(begins // SECOND, zone).hour == 0
    assert day_bounds(ends, "America/New_York")[0] == ends


def test_the_limit_of_a_cost_target_buys_conversions_that_cost_the_target_on_the_average() -> None:
    prices = np.zeros(BINS)
    for multiplier in (40e6, 90e6, 110e6, 400e6):
        prices[bin_of(multiplier)] = multiplier
    limit = find_limit(prices, 100e6)
    assert 110e6 < limit <= 150e6
    won = spend_at(prices, limit) / 3
    assert won <= 100e6


def test_without_requests_to_win_the_limit_is_the_target() -> None:
    assert find_limit(np.zeros(BINS), 100e6) == 100e6


def test_the_multiplier_buys_what_is_wanted() -> None:
    prices, counts = np.zeros(BINS), np.zeros(BINS)
    for dollars in range(1, 101):
        place = bin_of(dollars * 1e6)
        prices[place] += 1_000.0
        counts[place] += 1.0
    found = find_multiplier(prices, counts, 100.0, 300.0)
    assert found == pytest.approx(30e6, rel=0.1)
    assert find_multiplier(prices, counts, 100.0, 0.0) == 0.0
    assert find_multiplier(prices, counts, 100.0, 1e9) > 100e6
    assert find_quantile(counts, 0.5) == pytest.approx(50e6, rel=0.1)
    assert bin_of(multiplier_at(100.5)) == 100
    assert spend_at(prices, found) == pytest.approx(30_000.0)
    assert spend_at(prices, 0.0) == 0.0
    assert spend_at(prices, 1e30) == prices.sum()


def test_a_day_is_spent_evenly_and_whole() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    begins = BEGINS + DAY  # the first day is for learning the curve
    spent: dict[int, float] = {}

    def watch(line: Line) -> Line | None:
        answer = ask({**line, "timezone": "UTC"} if line["type"] == "adgroup" else line)
        if line["ts"] >= begins:
            hour = (line["ts"] - begins) // (3_600 * SECOND)
            spent[hour] = sum(group.spent_day for group in marketplace.market.groups.groups)
        return answer

    play(watch, requests=8_000, days=2.0)
    budget = 6 * 2_000_000 * UNITS
    assert 0.9 * budget < spent[23] <= budget
    assert 0.35 * budget < spent[11] < 0.65 * budget


def test_ad_groups_of_a_campaign_spend_its_day_together_evenly_and_where_it_brings_most() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    begins = BEGINS + DAY
    spent: dict[int, float] = {}
    budget = 6_000_000
    shared = {"campaign_id": "1", "campaign_mode": "day", "campaign_micros": budget}
    shared |= {"budget_mode": "infinite", "timezone": "UTC"}

    def watch(line: Line) -> Line | None:
        answer = ask({**line, **shared} if line["type"] == "adgroup" else line)
        if line["ts"] >= begins:
            hour = (line["ts"] - begins) // (3_600 * SECOND)
            spent[hour] = sum(group.spent_day for group in marketplace.market.groups.groups)
        return answer

    play(watch, requests=6_000, days=2.0)
    assert 0.85 * budget < spent[23] / UNITS < 1.1 * budget
    assert 0.35 * budget < spent[11] / UNITS < 0.65 * budget
    multipliers = {float(row[G_MULTIPLIER]) for row in marketplace.market.groups.table[:6]}
    assert len(multipliers) == 1
    again = Marketplace(1)
    again.restore(marketplace.save())
    assert again.save() == marketplace.save()


def test_the_first_day_is_not_spent_ahead_of_its_plan_however_far_estimates_move() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    over: list[float] = []

    def watch(line: Line) -> Line | None:
        answer = ask({**line, "timezone": "UTC"} if line["type"] == "adgroup" else line)
        hour_s = (line["ts"] - BEGINS) / SECOND / 3_600
        for group in marketplace.market.groups.groups:
            if group.plan.amount and 1.0 < hour_s < 22.0:
                curve = marketplace.market.traffic.curve_of(np.ones(8, np.bool_)).cumsum()
                most = curve[int(hour_s * 4) + 3] / curve[-1]
                over.append(group.spent_day / group.plan.amount - most)
        return answer

    play(watch, requests=8_000)
    assert max(over) < 0.02
    assert sum(group["spend_micros"] for group in report_of(marketplace).values()) > 0.9 * 6 * 2_000_000


def test_a_day_that_nobody_has_seen_yet_is_thought_to_be_busiest_in_the_evening_of_its_zone() -> None:
    traffic, everywhere = Traffic(), np.ones(8, np.bool_)
    for zone_hours in (0, -3, 8):
        curve = traffic.curve_of(everywhere, zone_hours * 3_600.0)
        assert (int(curve.argmax()) // 4 + zone_hours) % 24 in (19, 20)
        assert curve.min() > 0.3 * curve.max()


def test_half_a_day_tells_the_level_of_the_other_half_and_when_most_requests_come() -> None:
    everywhere, hours = np.ones(8, np.bool_), np.arange(SLOTS) / 4
    for peak in (13.0, 20.0):
        wave = 40.0 + 30.0 * np.cos((hours - peak) * np.pi / 12.0)
        traffic = Traffic()
        for slot, count in enumerate(wave[:49].tolist()):
            for number in range(round(count)):
                traffic.count(0, slot * 900 + number)
        curve = traffic.curve_of(everywhere)
        assert curve[2:46] == pytest.approx(wave[2:46], rel=0.1)
        assert curve[50:].sum() == pytest.approx(wave[50:].sum(), rel=0.15)
        assert float(hours[curve.argmax()]) == pytest.approx(peak, abs=1.5)


def test_results_are_added_up_once_per_goal_however_many_ad_groups_have_a_cost_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    for line in set_up(ads=12, bid_type="custom", bid_micros=60_000):
        ask(line)
    goals: list[LineGoal] = []

    def count(groups: Groups, goal: LineGoal) -> float:
        goals.append(goal)
        return results_per_score(groups, goal)

    monkeypatch.setattr(outcomes, "LEARNED_AT", 0)
    monkeypatch.setattr(outcomes, "results_per_score", count)
    outcomes.steer_market(marketplace.market)
    assert goals == list(LineGoal)


def test_a_cost_target_is_learned_without_starving_and_its_learning_has_a_budget() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    target = 60_000

    def watch(line: Line) -> Line | None:
        if line["type"] == "adgroup":
            line = {
                **line,
                "budget_mode": "infinite",
                "bid_type": "custom",
                "bid_micros": target,
                "goal": "conversation",
            }
        return ask(line)

    play(watch, requests=6_000, days=2.0)
    groups = report_of(marketplace).values()
    assert all(group["views"] > 0 for group in groups)
    learning = [group for group in groups if group["conversations"] < 20]
    assert all(group["spend_micros"] < 4 * 15 * target for group in learning)


def test_an_ad_group_whose_cost_target_wins_nothing_is_told_that_it_is_too_low() -> None:
    for target, is_low in ((200, True), (60_000_000, False)):
        marketplace = Marketplace(1)
        ask = teller(marketplace)

        def watch(line: Line, ask: Any = ask, target: int = target) -> Line | None:
            if line["type"] == "adgroup":
                line = {**line, "bid_type": "custom", "bid_micros": target, "goal": "conversation"}
            return ask(line)

        play(watch, requests=6_000, days=3.5)
        market = marketplace.market
        groups = market.groups.groups
        assert {is_target_too_low(group, market.now) for group in groups} == {is_low}
        assert all(
            (Reason.LOW_BID in reasons_of(market, group, Phase.LEARNING)) == is_low for group in groups
        )


def test_fast_pacing_is_done_early() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    play(
        lambda line: ask(
            {**line, "pacing": "fast", "timezone": "UTC"} if line["type"] == "adgroup" else line
        ),
        requests=3_000,
    )
    found = report_of(marketplace)
    assert sum(group["spend_micros"] for group in found.values()) > 0.9 * 6 * 2_000_000


def test_budgets_of_other_zones_begin_anew_at_their_midnight() -> None:
    marketplace = Marketplace(1)
    ask = teller(marketplace)
    for line in set_up(2, budget_micros=100_000):
        ask(line)
    here, there = marketplace.market.groups.groups
    assert (here.line.timezone, there.line.timezone) == ("UTC", "America/New_York")
    here.spent_day = there.spent_day = 5
    ask({"type": "report", "ts": BEGINS + 5 * 3_600 * SECOND, "ask_id": "midnight in New York"})
    assert (here.spent_day, there.spent_day) == (5, 0)
    ask({"type": "report", "ts": BEGINS + DAY, "ask_id": "midnight in UTC"})
    assert here.spent_day == 0
    assert datetime.fromtimestamp(BEGINS // SECOND, UTC).hour == 0
