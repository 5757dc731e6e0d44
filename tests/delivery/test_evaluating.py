"""Judging estimates and choices by a log: the rules, and what the log of a business tells."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.delivery.actions.results import evaluate_log
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.values import micros
from contatto.learning.evaluation import (
    Floats,
    choice_chances,
    doubly_robust,
    effective_count,
    inverse_propensity,
    score_predictions,
    self_normalized,
    weigh_record,
)
from contatto.learning.marketplace import Replica
from contatto.learning.model import NOBODY
from tests.delivery.learning import add_market
from tests.delivery.test_replica import BEGINS, LIVE, SECOND, ask, learned

DAY_US = 86_400_000_000


def test_estimates_that_are_right_lose_what_the_mean_loses_or_less() -> None:
    chance = np.random.default_rng(1)
    p = chance.uniform(0.05, 0.6, 20_000)
    came = (chance.random(20_000) < p).astype(float)
    right, mean = score_predictions(p, came), score_predictions(np.full(20_000, came.mean()), came)
    assert mean.normalized == pytest.approx(1.0)
    assert right.normalized < 1.0
    assert right.ratio == pytest.approx(1.0, abs=0.03)
    assert right.calibration_error < 0.02


def test_estimates_that_are_twice_too_high_are_seen_to_be() -> None:
    chance = np.random.default_rng(2)
    p = chance.uniform(0.05, 0.4, 20_000)
    judged = score_predictions(2 * p, (chance.random(20_000) < p).astype(float))
    assert judged.ratio == pytest.approx(2.0, abs=0.1)
    assert judged.calibration_error == pytest.approx(float(p.mean()), abs=0.02)


def test_a_sure_estimate_that_is_wrong_costs_much_and_not_infinitely_much() -> None:
    assert math.isfinite(score_predictions(np.array([0.0, 1.0]), np.array([1.0, 0.0])).log_loss)


def test_where_nothing_came_there_is_no_ratio() -> None:
    judged = score_predictions(np.array([0.1, 0.2]), np.zeros(2))
    assert math.isnan(judged.ratio)
    assert math.isnan(judged.normalized)


@pytest.mark.parametrize(("estimates", "outcomes"), [(np.zeros(0), np.zeros(0)), (np.ones(2), np.ones(3))])
def test_nothing_is_judged_without_an_outcome_for_each(estimates: Floats, outcomes: Floats) -> None:
    with pytest.raises(ValueError, match="as many outcomes"):
        score_predictions(estimates, outcomes)


def test_all_estimators_find_what_another_way_to_choose_earns() -> None:
    """Three arms, drawn unevenly; the other way to choose prefers the best, which was drawn least."""
    chance = np.random.default_rng(3)
    drawn, other, truth = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.1, 0.8]), np.array([0.1, 0.3, 0.6])
    arm = chance.choice(3, 40_000, p=drawn)
    rewards = (chance.random(40_000) < truth[arm]).astype(float)
    weights, wrong = (other / drawn)[arm], np.array([0.2, 0.2, 0.4])
    value = float(other @ truth)
    for found in (
        inverse_propensity(rewards, weights),
        self_normalized(rewards, weights),
        doubly_robust(rewards, weights, wrong[arm], np.full(40_000, float(other @ wrong))),
    ):
        assert found.mean == pytest.approx(value, abs=5 * found.error)
        assert found.error < 0.02
    assert effective_count(weights) < 40_000


def test_a_way_that_made_none_of_the_choices_has_no_normalized_value() -> None:
    assert math.isnan(self_normalized(np.ones(3), np.zeros(3)).mean)
    assert effective_count(np.zeros(3)) == 0.0


@given(
    st.dictionaries(st.integers(1, 20), st.floats(0, 1e7), max_size=8),
    st.floats(0, 1e6),
    st.floats(0.001, 1),
    st.floats(0, 1),
)
def test_chances_of_ads_add_up_to_one(
    offers: dict[int, float], floor: float, heat: float, lot: float
) -> None:
    chances = choice_chances(offers, floor, heat, lot)
    assert sum(chances.values()) == pytest.approx(1.0)
    assert all(offers[ad] >= floor for ad in chances if ad)


def test_the_model_that_decided_gives_each_choice_the_chance_that_was_written_down() -> None:
    saved, _ = learned()
    deciding, asked = Replica(7, 1, saved), Replica(7, 1, saved)
    for replica in (deciding, asked):
        replica.set_live(LIVE)
    for nonce in range(10_000, 10_030):
        viewer = NOBODY if nonce % 7 == 0 else f"viewer {nonce % 70}"
        record = deciding.decide(ask(nonce, viewer, BEGINS + 20_000 * SECOND + nonce * SECOND))
        weighed = weigh_record(asked, record)
        assert weighed.weight == pytest.approx(1.0)
        assert weighed.chosen[0] == pytest.approx(record.p[0] if record.ad else 0.0)


def test_an_ad_that_a_model_has_never_heard_of_is_not_its_choice() -> None:
    replica = Replica(7)
    replica.set_live(LIVE)
    record = replica.decide(ask(1))
    assert record.ad
    weighed = weigh_record(Replica(7), msgspec.structs.replace(record, added=[]))
    assert (weighed.weight, weighed.chosen) == (0.0, (0.0, 0.0, 0.0))


def test_the_log_of_a_business_tells_how_its_estimates_did(database: Database, clock: FixedClock) -> None:
    market = add_market(database, clock)
    market.play(40)
    market.train()
    clock.advance(days=1)
    now = micros(clock.now())
    found = database.read_now(lambda tx: evaluate_log(tx, market.id, now - 2 * DAY_US, now, 1))
    assert found is not None
    assert found.decisions == 40
    click, lead = found.judged["click"], found.judged["lead"]
    assert (click.count, click.actual) == (40, 14)
    assert (lead.count, lead.actual) == (7, 7)
    assert found.choices["click"].logged.mean == pytest.approx(14 / 40)
    assert 0 < found.effective <= 40
    later = database.read_now(lambda tx: evaluate_log(tx, market.id, now, now + DAY_US, 1))
    assert later is not None
    assert (later.decisions, later.judged, later.choices) == (0, {}, {})
    assert database.read_now(lambda tx: evaluate_log(tx, market.id, 0, now, 99)) is None
