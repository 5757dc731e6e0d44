"""How far estimates of leads are believed where they tell viewers apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.learning import batch_learning
from contatto.learning.columns import G_GOAL, O_AD, O_SCORE, O_VIEWER, S_VIEWER_MEAN, S_VIEWER_SLOPE
from contatto.learning.impressions import BOUNDS, fit_slope
from contatto.learning.marketplace import Marketplace
from tests.delivery.small_world import play, relearn_market
from tests.delivery.test_marketplace import teller


@pytest.mark.parametrize("truth", [-0.6, -0.3, 0.0, 0.3])
def test_the_slope_says_how_much_of_the_differences_came_true(truth: float) -> None:
    lots = np.random.default_rng(5)
    scores = lots.normal(-6.0, 1.0, 60_000)
    expected = 4.0 * np.exp(scores)
    came = lots.poisson(expected * np.exp(truth * (scores + 5.0))).astype(float)
    slope, mean = fit_slope(scores, expected, came)
    assert slope == pytest.approx(truth, abs=0.06)
    assert mean == pytest.approx(float(expected @ scores / expected.sum()))


@given(st.integers(0, 1_000), st.floats(0.1, 10.0), st.floats(-3.0, 3.0))
def test_the_slope_hangs_neither_on_the_level_of_estimates_nor_on_their_unit(
    seed: int, level: float, unit: float
) -> None:
    lots = np.random.default_rng(seed)
    scores = lots.normal(0.0, 0.7, 300)
    expected = np.exp(scores)
    came = lots.poisson(expected).astype(float)
    slope, mean = fit_slope(scores, expected, came)
    other, moved = fit_slope(scores + unit, level * expected, came)
    assert other == pytest.approx(slope, abs=1e-6)
    assert moved == pytest.approx(mean + unit, abs=1e-6)
    assert BOUNDS[0] <= slope <= BOUNDS[1]


def test_a_few_leads_hardly_change_what_is_believed() -> None:
    scores = np.array([-1.0, 1.0, -1.0, 1.0])
    slope, _ = fit_slope(scores, np.array([0.5, 3.0, 0.5, 3.0]), np.array([2.0, 2.0, 1.0, 2.0]))
    assert -0.3 < slope < 0.0


def test_when_all_is_learned_again_it_is_weighed_how_far_viewers_differ_and_that_is_kept() -> None:
    marketplace = Marketplace(4)
    play(teller(marketplace), requests=1_500, days=0.9)
    market = marketplace.market
    relearn_market(market)
    slope = market.numbers[S_VIEWER_SLOPE]
    assert slope != 0.0
    assert BOUNDS[0] <= slope <= BOUNDS[1]
    again = Marketplace(4)
    again.restore(marketplace.save())
    assert again.market.numbers[S_VIEWER_SLOPE] == slope
    assert again.market.numbers[S_VIEWER_MEAN] == market.numbers[S_VIEWER_MEAN]


def test_a_viewer_who_is_believed_less_changes_what_a_lead_is_worth_by_a_power() -> None:
    marketplace = Marketplace(4)
    play(teller(marketplace), requests=1_500, days=0.9)
    saved, compared = marketplace.save(), 0
    for viewer in range(80):
        plain, bold = (score_of(saved, slope, f"viewer {viewer}") for slope in (0.0, -0.5))
        if plain[0] == bold[0]:
            assert bold[1] == pytest.approx(plain[1] * np.exp(-0.5 * (plain[2] + 5.0)))
            compared += 1
    assert compared > 5


def score_of(saved: bytes, slope: float, viewer: str) -> tuple[float, float, float]:
    """The ad, its score, and what the viewer alone is worth, if viewers are believed so much."""
    marketplace = Marketplace(4)
    marketplace.restore(saved)
    market = marketplace.market
    market.groups.table[:, G_GOAL] = 0.0
    market.numbers[S_VIEWER_SLOPE], market.numbers[S_VIEWER_MEAN] = slope, -5.0
    asked = {"request_id": viewer, "viewer_id": viewer, "country": "IT", "floor_micros": 1}
    teller(marketplace)({"type": "request", "ts": market.now, **asked})
    return tuple(market.outcome[[O_AD, O_SCORE, O_VIEWER]])


def test_without_leads_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_learning, "SLOPE_LEADS", 10_000)
    marketplace = Marketplace(4)
    play(teller(marketplace), requests=600, days=0.9)
    relearn_market(marketplace.market)
    assert marketplace.market.numbers[S_VIEWER_SLOPE] == 0.0


def test_a_lookalike_believes_differences_between_viewers_as_far_as_offers_do() -> None:
    marketplace = Marketplace(seed=3)
    ask = teller(marketplace)
    play(ask, requests=1_500)
    market = marketplace.market
    candidates = [
        {"viewer_id": f"new {number}", "country": "IT", "features": {"taste": f"taste {number}"}}
        for number in range(5)
    ]

    def rank(name: str, slope: float) -> list[float]:
        market.numbers[S_VIEWER_SLOPE], market.numbers[S_VIEWER_MEAN] = slope, -5.0
        line = {
            "type": "rank", "ts": market.now, "ask_id": name, "advertiser_id": "advertiser 0",
            "adgroup_id": "group 0", "seeds": [], "candidates": candidates,
        }  # fmt: skip
        answer = ask(line)
        assert answer is not None
        return [float(score) for score in answer["scores"]]

    as_estimated, half, alike = rank("a", 0.0), rank("b", -0.5), rank("c", -1.0)
    assert max(as_estimated) > 1.01 * min(as_estimated)
    assert max(half) / min(half) < max(as_estimated) / min(as_estimated)
    for plain, halved, equal in zip(as_estimated, half, alike, strict=True):
        assert halved == pytest.approx((plain * equal) ** 0.5, rel=1e-6)
