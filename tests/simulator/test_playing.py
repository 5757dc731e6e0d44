"""A world played over lines: order of time, true chances against what happened, rules that were broken."""

from collections import Counter
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from contatto.simulator.worlds.features import LinearSetting, LinearWorld
from contatto.simulator.worlds.game import Game
from contatto.simulator.worlds.metrics import (
    Lifts,
    first_leads,
    mean_by_group,
    measure,
    measure_lifts,
    rank_by_lines,
    rank_by_worth,
    true_worth,
)
from contatto.simulator.worlds.model import DAY, HOUR, STARTS_TS, Edit, World
from contatto.simulator.worlds.simulation import Size, WorldName, make_world
from tests.simulator.reference import Line, RandomPlayer


def small_linear(**changes: Any) -> LinearWorld:
    usual = {"viewers": 1_000, "ads": 4, "days": 3, "requests": 6_000, "late_ads": 1, "late_day": 1}
    return LinearWorld(LinearSetting(**{**usual, **changes}), 1)


@pytest.fixture(params=list(WorldName))
def world(request: pytest.FixtureRequest) -> World:
    return make_world(request.param, 3, Size.TINY)


def test_a_player_that_keeps_the_rules_has_no_faults(world: World) -> None:
    run = Game(world, RandomPlayer().answer, "lead").play()
    assert run.faults == {}
    assert len(run.reports) == world.days
    assert len(run.shown.ts) > 1_000


def test_lines_come_in_order_of_time_and_name_what_is_known(world: World) -> None:
    player = Listener()
    Game(world, player.answer, "lead").play()
    times = [line["ts"] for line in player.all]
    assert all(after >= before for before, after in pairwise(times))
    kinds = Counter(line["type"] for line in player.all)
    assert set(kinds) >= {
        "adgroup",
        "ad",
        "request",
        "view",
        "click",
        "conversation",
        "spam",
        "lead",
        "report",
    }
    assert len({line["request_id"] for line in player.all if line["type"] == "request"}) == kinds["request"]
    known: set[str] = set()
    for line in player.all:
        if line["type"] == "adgroup":
            known.add(line["adgroup_id"])
        elif line["type"] == "ad":
            assert line["adgroup_id"] in known


class Listener(RandomPlayer):
    def __init__(self) -> None:
        super().__init__()
        self.all: list[Line] = []

    def answer(self, line: Line) -> Line | None:
        self.all.append(line)
        return super().answer(line)


def test_what_happens_agrees_with_the_true_chances() -> None:
    world = small_linear(requests=40_000, days=3, viewers=4_000, late_ads=0)
    player = Listener()
    run = Game(world, player.answer, "lead").play()
    kinds = Counter(line["type"] for line in player.all)
    shown = run.shown
    assert kinds["view"] == len(shown.ts)
    for kind, expected in (("click", shown.click.sum()), ("conversation", shown.talks.sum())):
        assert abs(kinds[kind] - expected) < 5 * np.sqrt(expected)
    nature = world.nature
    marked = (
        shown.spams.sum() * nature.spam_recall + (shown.talks - shown.spams).sum() * nature.spam_false_alarm
    )
    assert abs(kinds["spam"] - marked) < 5 * np.sqrt(marked)
    assert shown.leads.sum() > 30


def test_leads_within_the_window_agree_with_what_can_be_caught() -> None:
    world = small_linear(requests=40_000, days=3, viewers=4_000, late_ads=0, delay=0.01)
    player = Listener()
    run = Game(world, player.answer, "lead").play()
    leads = sum(line["type"] == "lead" for line in player.all)
    assert abs(leads - run.shown.caught.sum()) < 5 * np.sqrt(run.shown.caught.sum())


def test_a_viewer_tires_of_an_ad_and_becomes_a_lead_only_once() -> None:
    world = make_world(WorldName.THRESHOLDS, 2, Size.TINY, viewers=300, requests=8_000, weariness=4)
    run = Game(world, RandomPlayer().answer, "lead").play()
    shown = run.shown
    pair = shown.viewer * len(world.ads) + shown.ad
    order = np.argsort(pair, kind="stable")
    first = np.append(True, np.diff(pair[order]) != 0)
    start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    nth = np.arange(len(order)) - start
    there = ~world.is_farm[shown.viewer[order]]
    ratio = shown.click[order] / shown.click[order][start]
    assert ratio[there & (nth >= 4)].mean() < 0.85
    owner = np.array([world.groups[ad.group].advertiser for ad in world.ads])[shown.ad]
    done = shown.lead == 0.0
    assert done.any()
    for who, advertiser in list(dict.fromkeys(zip(shown.viewer[done], owner[done], strict=True)))[:20]:
        mine = (shown.viewer == who) & (owner == advertiser)
        assert np.all(np.diff(done[mine].astype(int)) >= 0)


def test_late_joiners_edits_and_pauses_are_told_when_they_happen() -> None:
    world = make_world(WorldName.SEGMENTS, 3, Size.TINY)
    player = RandomPlayer()
    Game(world, player.answer, "conversation").play()
    told = [line for line in player.heard if line["type"] == "adgroup"]
    first = {line["adgroup_id"]: line for line in reversed(told)}
    for group in world.groups:
        assert first[group.id]["ts"] == group.starts_ts
        assert first[group.id]["goal"] == "conversation"
        assert first[group.id].get("bid_micros", 0) == group.bid_for("conversation")
    edits = [line for line in told if line["ts"] > first[line["adgroup_id"]]["ts"]]
    assert [line["ts"] for line in edits] == [edit.ts for edit in world.edits]
    assert [line["status"] for line in edits].count("off") == 1


def test_an_ad_group_with_a_goal_of_its_own_keeps_it() -> None:
    world = make_world(WorldName.THRESHOLDS, 3, Size.TINY)
    player = RandomPlayer()
    Game(world, player.answer, "lead").play()
    goals = {line["adgroup_id"]: line["goal"] for line in player.heard if line["type"] == "adgroup"}
    assert goals["set 1"] == "conversation"
    assert goals["set 0"] == "lead"


class Cheat(RandomPlayer):
    """Breaks one rule now and then."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def may_run(self, group: Line, line: Line) -> bool:
        return self.how == "ad may not run" or super().may_run(group, line)

    def has_budget(self, group: Line, line: Line) -> bool:
        return self.how == "day over 125 %" or super().has_budget(group, line)

    def decide(self, line: Line) -> Line:
        answer = super().decide(line)
        if answer["ad_id"] is not None and self.rng.random() < 0.01:
            if self.how == "price below floor":
                answer["price_micros"] -= 1
            elif self.how == "price above offer":
                answer["offer_micros"] = answer["price_micros"] - 1
            elif self.how == "answer makes no sense":
                answer["p_lead"] = float("nan")
        return answer

    def answer(self, line: Line) -> Line | None:
        found = super().answer(line)
        if self.how == "report is not the ledger" and found is not None and "adgroups" in found:
            found["adgroups"][0]["spend_micros"] += 100_000
        return found


@pytest.mark.parametrize(
    "how",
    [
        "price below floor",
        "price above offer",
        "ad may not run",
        "day over 125 %",
        "report is not the ledger",
        "answer makes no sense",
    ],
)
def test_a_broken_rule_is_found(how: str) -> None:
    world = small_linear(budget_micros=600_000)
    run = Game(world, Cheat(how).answer, "lead").play()
    assert run.faults.get(how, 0) > 0
    assert set(run.faults) - {how} <= ({"report is not the ledger"} if how.startswith("price") else set())


class Spender(RandomPlayer):
    """Knows no budgets."""

    def has_budget(self, group: Line, line: Line) -> bool:
        return True


def test_a_total_that_is_overspent_is_found() -> None:
    world = make_world(WorldName.SEGMENTS, 3, Size.TINY, budget_micros=100_000)
    faults = Game(world, Spender().answer, "lead").play().faults
    assert faults["total over budget"] > 0
    assert faults["day over 125 %"] > 0


class Deaf(RandomPlayer):
    """Does not hear of changes of ad groups."""

    def answer(self, line: Line) -> Line | None:
        is_known = line["type"] == "adgroup" and line["adgroup_id"] in self.groups
        return None if is_known else super().answer(line)


def test_what_was_spent_before_a_budget_fell_is_no_fault() -> None:
    world = small_linear(budget_micros=600_000)
    edit = Edit(STARTS_TS + DAY + 12 * HOUR, 0, {"budget_micros": 60_000})
    world.edits = (edit,)
    run = Game(world, RandomPlayer().answer, "lead").play()
    before = (run.shown.ts >= STARTS_TS + DAY) & (run.shown.ts < edit.ts) & (run.shown.ad == 0)
    assert run.shown.spend[before].sum() > 1.25 * 0.06
    assert run.faults == {}
    assert Game(world, Deaf().answer, "lead").play().faults.keys() == {"day over 125 %"}


def test_a_pause_in_the_middle_of_a_day_is_kept() -> None:
    world = small_linear()
    world.edits = (Edit(STARTS_TS + DAY + 12 * HOUR, 0, {"is_on": False}),)
    run = Game(world, RandomPlayer().answer, "lead").play()
    assert (run.shown.ad == 0).any()
    assert run.shown.ts[run.shown.ad == 0].max() < world.edits[0].ts
    assert run.faults == {}
    assert Game(world, Deaf().answer, "lead").play().faults.keys() == {"ad may not run"}


def test_lookalikes_are_measured_by_true_worth() -> None:
    world = small_linear(viewers=3_000, requests=30_000, late_ads=0)
    play = Game(world, RandomPlayer().answer, "lead")
    assert play.play().faults == {}
    seeds = first_leads(play, 10)
    assert seeds
    day = world.days - 1
    lifts: list[Lifts] = [
        measure_lifts(world, seeds, rank)
        for rank in (
            partial(rank_by_lines, play),
            rank_by_worth(mean_by_group(world, world.observable(day, play.past).leads)),
            rank_by_worth(true_worth(world, day)[0]),
        )
    ]
    assert lifts[0].top_5 == pytest.approx(1, abs=0.35)
    assert 2 < lifts[1].top_5 < lifts[2].top_5
    assert lifts[1].top_1 > lifts[1].top_5 > lifts[1].top_10


def test_figures_tell_a_whole_run() -> None:
    world = small_linear(requests=20_000)
    figures = measure(Game(world, RandomPlayer().answer, "lead").play())
    assert figures.spend == pytest.approx(sum(figures.spend_by_day))
    assert figures.leads == pytest.approx(sum(figures.leads_by_group))
    assert 0.2 < figures.spam_share < 0.7
    assert figures.calibration == pytest.approx(np.mean(list(figures.calibration_by_kind.values())), rel=0.6)
