"""How far differences between predictions are believed, by what came of earlier ones."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.learning.batch_learning import SLOPES, fit_slope
from contatto.learning.columns import (
    BAD,
    CLICK,
    CONVERSATION,
    HEADS,
    O_P,
    O_RAW,
    S_MEAN,
    S_SLOPE,
)
from contatto.learning.marketplace import Marketplace
from tests.delivery.small_world import play, relearn_market
from tests.delivery.test_marketplace import teller


def chances(scores: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-scores))


@pytest.mark.parametrize("truth", [0.3, 0.6, 1.0, 1.3])
def test_the_slope_says_how_much_of_the_differences_came_true(truth: float) -> None:
    lots = np.random.default_rng(5)
    scores = lots.normal(-2.0, 1.0, 60_000)
    came = lots.random(60_000) < chances(-1.5 + truth * (scores + 2.0))
    slope, mean = fit_slope(scores, came.astype(float), np.ones(60_000))
    assert slope == pytest.approx(truth, abs=0.05)
    assert -2.0 < mean < -1.0, "views of a middling chance say most"


@given(st.integers(0, 1_000), st.floats(-3.0, 3.0))
def test_the_slope_stays_within_bounds_whatever_came(seed: int, level: float) -> None:
    lots = np.random.default_rng(seed)
    scores = lots.normal(level, 2.0, 300)
    came = lots.random(300) < chances(lots.normal(-level, 3.0, 300))
    slope, mean = fit_slope(scores, came.astype(float), lots.random(300))
    assert SLOPES[0] <= slope <= SLOPES[1]
    assert scores.min() <= mean <= scores.max()


@pytest.mark.parametrize("came", [0.0, 1.0])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_few_outcomes_hardly_change_what_is_believed(count: int, came: float) -> None:
    slope, _ = fit_slope(np.linspace(-2.0, 2.0, count), np.full(count, came), np.ones(count))
    assert slope == pytest.approx(1.0, abs=0.15)


def test_what_stands_for_many_counts_as_often() -> None:
    scores, came = np.array([-1.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0])
    many = fit_slope(scores, came, np.array([30.0, 20.0, 10.0]))
    each = fit_slope(np.repeat(scores, [30, 20, 10]), np.repeat(came, [30, 20, 10]), np.ones(60))
    assert many == pytest.approx(each)


def test_when_all_is_learned_again_it_is_weighed_how_far_predictions_differ_and_that_is_kept() -> None:
    marketplace = Marketplace(4)
    play(teller(marketplace), requests=1_500, days=0.9)
    market = marketplace.market
    relearn_market(market)
    slopes = market.numbers[S_SLOPE : S_SLOPE + HEADS]
    fitted = slopes[:BAD]
    assert slopes[BAD] == fitted.max() == 1.0, "only the ratios of slopes count"
    assert SLOPES[0] / SLOPES[1] <= fitted.min() < 1.0
    restored = Marketplace(4)
    restored.restore(marketplace.save())
    assert (
        restored.market.numbers[S_SLOPE : S_MEAN + HEADS] == market.numbers[S_SLOPE : S_MEAN + HEADS]
    ).all()


def test_before_anything_is_learned_again_predictions_are_believed_as_they_are() -> None:
    marketplace = Marketplace(4)
    assert (marketplace.market.numbers[S_SLOPE : S_SLOPE + HEADS] == 1.0).all()
    relearn_market(marketplace.market)
    assert (marketplace.market.numbers[S_SLOPE : S_SLOPE + HEADS] == 1.0).all()


def test_a_slope_moves_the_odds_of_a_prediction_towards_its_mean() -> None:
    marketplace = Marketplace(4)
    play(teller(marketplace), requests=1_500, days=0.9)
    saved = marketplace.save()

    def odds_of(viewer: str, slope: float) -> tuple[float, float]:
        fresh = Marketplace(4)
        fresh.restore(saved)
        fresh.market.numbers[S_SLOPE + CLICK], fresh.market.numbers[S_MEAN + CLICK] = slope, -2.0
        asked = {"request_id": viewer, "viewer_id": viewer, "country": "IT", "floor_micros": 1}
        teller(fresh)({"type": "request", "ts": fresh.market.now, **asked})
        raw, p = fresh.market.outcome[O_RAW + CLICK], fresh.market.outcome[O_P + CLICK]
        return math.log(raw / (1.0 - raw)), math.log(p / (1.0 - p))

    compared = 0
    for number in range(80):
        (raw, plain), (same_raw, halved) = (odds_of(f"viewer {number}", slope) for slope in (1.0, 0.5))
        if raw == same_raw:  # the same ad won
            assert halved - plain == pytest.approx(-0.5 * (raw + 2.0))
            compared += 1
    assert compared > 5


def test_a_lookalike_believes_differences_as_far_as_offers_do() -> None:
    marketplace = Marketplace(seed=3)
    ask = teller(marketplace)
    play(ask, requests=1_500)
    market = marketplace.market
    candidates = [
        {"viewer_id": f"new {number}", "country": "IT", "features": {"taste": f"taste {number}"}}
        for number in range(5)
    ]

    def rank(name: str, slope: float) -> list[float]:
        market.numbers[[S_SLOPE + CLICK, S_SLOPE + CONVERSATION]] = slope
        line = {
            "type": "rank", "ts": market.now, "ask_id": name, "advertiser_id": "advertiser 0",
            "adgroup_id": "group 0", "seeds": [], "candidates": candidates,
        }  # fmt: skip
        answer = ask(line)
        assert answer is not None
        return [float(score) for score in answer["scores"]]

    as_estimated, half = rank("a", 1.0), rank("b", 0.5)
    assert max(as_estimated) > 1.01 * min(as_estimated)
    assert max(half) / min(half) < max(as_estimated) / min(as_estimated)
