"""Figures of a run are those that one counts by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from contatto.simulator.worlds.game import Run, ShownViews
from contatto.simulator.worlds.metrics import measure
from contatto.simulator.worlds.model import DAY, HOUR, STARTS_TS, World
from contatto.simulator.worlds.report import make_table
from contatto.simulator.worlds.simulation import (
    BUILDING_SEEDS,
    REPORTING_SEEDS,
    Player,
    Size,
    WorldName,
    compare,
    make_world,
)


def run_of_views(world: World, rows: list[dict[str, Any]], goal: str = "lead") -> Run:
    """Make a run of views that cost one unit each; a row has hours, viewer, ad and what else differs."""
    usual = {"price": 10**9, "click": 0.5, "talk": 0.4, "spam": 0.25, "lead": 0.2, "caught": 0.03}
    more = {"predicted": 0.03, "predicted_talk": 0.2}
    filled = [{**usual, **more, **row, "ts": STARTS_TS + int(row["hours"] * HOUR)} for row in rows]
    columns = {name: np.array([row[name] for row in filled]) for name in ShownViews.__slots__}
    return Run(world, goal, ShownViews(**columns), {})


def test_costs_are_of_ad_groups_without_a_target_and_targets_hold_after_three_days() -> None:
    world = make_world(WorldName.INTERESTS, 1, Size.TINY)
    free = next(n for n, ad in enumerate(world.ads) if not world.groups[ad.group].bid_micros)
    aimed = next(n for n, ad in enumerate(world.ads) if world.groups[ad.group].bid_micros)
    rows = [{"hours": hours, "viewer": hours, "ad": ad} for hours in (1, 50, 80, 100) for ad in (free, aimed)]
    figures = measure(run_of_views(world, rows))
    assert figures.spend == 4.0
    assert figures.cost_per_lead_whole == pytest.approx(1 / (0.5 * 0.4 * 0.75 * 0.2))
    assert figures.cost_per_genuine_whole == pytest.approx(1 / (0.5 * 0.4 * 0.75))
    assert figures.genuine_last == pytest.approx(3 * 0.15)  # from hour 48 of five days on
    bid = world.groups[world.ads[aimed].group].bid_micros / 1e6
    assert figures.target_results == pytest.approx(2 * 0.03)
    assert figures.cost_over_target == pytest.approx(1 / 0.03 / bid)
    talks = measure(run_of_views(world, rows, "conversation"))
    assert talks.target_results == pytest.approx(2 * 0.15)
    assert talks.cost_over_target == pytest.approx(1 / 0.15 / (0.3 * bid), rel=1e-3)


def test_spend_on_farms_is_told_apart_by_the_first_day_of_each() -> None:
    world = make_world(WorldName.INTERESTS, 1, Size.TINY)
    person, burst, talker = (int(np.argmax(world.farm_of == farm)) for farm in (-1, 0, 1))
    first, second = (ts - STARTS_TS for ts in world.farm_starts)
    assert (first, second) == (2 * DAY, 4 * DAY)
    before = [(49, person), (50, burst), (51, person), (52, person)]
    after = [(97, talker), (98, person), (99, burst)]
    rows = [{"hours": hours, "viewer": viewer, "ad": 0} for hours, viewer in (*before, *after)]
    figures = measure(run_of_views(world, rows))
    assert figures.farm_share == pytest.approx(3 / 7)
    assert figures.farm_first_day == pytest.approx(1 / 3)  # the talkers; the burst had one of four
    assert figures.farm_later == pytest.approx(1 / 3)  # the burst; of the talkers no later day is played


def test_a_fifth_view_of_an_ad_by_the_same_person_is_counted() -> None:
    world = make_world(WorldName.LINEAR, 1, Size.TINY)
    views = [(number, 5, 1) for number in range(7)] + [(8, 5, 2), (8, 6, 1), (9, 6, 1)]
    rows = [{"hours": hours, "viewer": viewer, "ad": ad} for hours, viewer, ad in views]
    assert measure(run_of_views(world, rows)).frequent_share == pytest.approx(3 / 10)
    assert np.isnan(measure(run_of_views(world, rows)).farm_first_day)


def test_late_ad_groups_are_those_with_the_longest_delays() -> None:
    world = make_world(WorldName.STRANGERS, 1, Size.TINY)
    late = next(n for n, ad in enumerate(world.ads) if world.groups[ad.group].kind == "late")
    rows: list[dict[str, Any]] = [{"hours": 90, "viewer": 1, "ad": 0}, {"hours": 90, "viewer": 2, "ad": late}]
    rows[1]["predicted"] = 0.06
    figures = measure(run_of_views(world, rows))
    assert figures.calibration == pytest.approx(1.5)
    assert figures.calibration_late == pytest.approx(2.0)


def test_the_limit_of_a_player_has_the_same_goal() -> None:
    world = make_world(WorldName.LINEAR, 1, Size.TINY, requests=2_000)
    compared = compare(world, [Player.RANDOM, Player.ORACLE_CONV, Player.ORACLE_OBS])
    figures = compared.figures
    figures["plain conversation"] = replace(figures[Player.RANDOM], goal="conversation")
    compared.faults["plain conversation"] = {}
    head, any_ad, *_, talks = make_table(compared)
    column = head.index("of the limit")
    of_leads = figures[Player.RANDOM].leads_last / figures[Player.ORACLE_OBS].leads_last
    of_talks = figures[Player.RANDOM].genuine_last / figures[Player.ORACLE_CONV].genuine_last
    assert any_ad[column] == f"{of_leads:.3f}"
    assert talks[column] == f"{of_talks:.3f}" != any_ad[column]


def test_no_seed_is_for_building_and_for_reporting() -> None:
    assert not set(BUILDING_SEEDS) & set(REPORTING_SEEDS)
