"""What was foretold beside what came: counted once by the learner, drawn as curves; what a model goes by."""

from datetime import timedelta
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.delivery.actions.results import evaluate_log
from contatto.delivery.actions.training import Trainer, list_curves, purge_log
from contatto.delivery.pages import draw_bins, draw_losses, round_up
from contatto.delivery.store import list_tallies
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.values import interval_of, micros
from contatto.learning.evaluation import (
    add_tallies,
    bins_of,
    cell_of,
    count_outcome,
    count_prediction,
    curve_of,
    score_predictions,
)
from contatto.learning.model import Bin, Cell, DailyLoss, PredictionDay, PredictionTally, Question
from tests.delivery.learning import Market, add_market

DAY_US = 86_400_000_000
chances = st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=60)


def counted(some: list[tuple[float, bool]]) -> PredictionTally:
    tally = PredictionTally()
    for chance, came in some:
        count_prediction(tally, chance)
        if came:
            count_outcome(tally, chance)
    return tally


@given(chances)
def test_counted_estimates_lose_what_the_same_estimates_lose_one_by_one(
    some: list[tuple[float, bool]],
) -> None:
    found = curve_of(Question.LEAD, [PredictionDay("account", "2026-01-01", Question.LEAD, counted(some))])
    judged = score_predictions(np.array([p for p, _ in some]), np.array([float(came) for _, came in some]))
    assert found is not None
    assert (found.cases, found.actual) == (judged.count, judged.actual)
    assert found.expected == pytest.approx(judged.expected)
    assert found.loss == pytest.approx(judged.log_loss, rel=1e-6, abs=1e-6)
    assert sum(each.cases for each in found.bins) == len(some)
    assert [each.predicted for each in found.bins] == sorted(each.predicted for each in found.bins)


@given(chances, chances)
def test_tallies_of_two_days_are_the_tally_of_both(
    one: list[tuple[float, bool]], other: list[tuple[float, bool]]
) -> None:
    apart, together = add_tallies([counted(one), counted(other)]), counted(one + other)
    assert apart.loss == pytest.approx(together.loss)
    assert {number: (each.cases, each.actual) for number, each in apart.cells.items()} == {
        number: (each.cases, each.actual) for number, each in together.cells.items()
    }


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_greater_chance_never_lies_in_a_lesser_step(one: float, other: float) -> None:
    assert cell_of(min(one, other)) <= cell_of(max(one, other))


def test_ten_bins_hold_about_as_many_each() -> None:
    told = np.random.default_rng(1).beta(2, 30, 20_000)
    sizes = [each.cases for each in bins_of(counted([(p, False) for p in told.tolist()]))]
    assert len(sizes) == 10
    assert max(sizes) < 2 * min(sizes)


def test_a_step_that_holds_nearly_all_is_a_bin_of_its_own() -> None:
    tally = PredictionTally(0.0, {-10: Cell(1, 0, 0.2), 0: Cell(98, 40, 49.0), 9: Cell(1, 1, 0.8)})
    assert [each.cases for each in bins_of(tally)] == [1, 98, 1]
    assert bins_of(PredictionTally()) == ()


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert interval_of(5, 100) == pytest.approx((0.02154, 0.11175), abs=1e-4)
    assert interval_of(0, 0) == (0.0, 1.0)
    assert interval_of(0, 10)[0] == 0.0


@pytest.fixture
def market(database: Database, clock: FixedClock) -> Market:
    return add_market(database, clock)


def test_the_learner_counts_what_the_log_tells(market: Market) -> None:
    market.play(40)
    market.train()
    market.clock.advance(days=4)
    now = micros(market.clock.now())
    judged = market.db.read_now(lambda tx: evaluate_log(tx, market.id, now - 9 * DAY_US, now))
    curves = market.db.read_now(lambda tx: list_curves(tx, market.id, None))
    assert judged is not None
    assert [each.question.value for each in curves] == list(judged.judged)
    for curve in curves:
        other = judged.judged[curve.question.value]
        assert (curve.cases, curve.actual) == (other.count, other.actual)
        assert (curve.expected, curve.loss) == pytest.approx((other.expected, other.log_loss), rel=1e-5)


def test_what_is_learned_anew_after_a_crash_is_not_counted_anew(market: Market) -> None:
    """Models are published now and then; what is learned behind the last one is learned again."""
    for _ in range(3):
        market.play(10)
        market.train(Trainer(14))
        market.clock.advance(seconds=61)
    market.train()
    (clicks,) = [
        each
        for each in market.db.read_now(lambda tx: list_curves(tx, market.id, None))
        if each.question is Question.CLICK
    ]
    assert (clicks.cases, clicks.actual) == (30, 12)


def test_figures_are_those_of_the_ad_accounts_that_are_asked_for(market: Market) -> None:
    market.play(10)
    market.train()
    account = market.world.ad_account.id
    for wanted, count in ((None, 1), ([account], 1), (["another"], 0), ([], 0)):
        found = market.db.read_now(partial(list_curves, business_id=market.id, ad_account_ids=wanted))
        assert len([each for each in found if each.question is Question.CLICK]) == count
    assert market.db.read_now(lambda tx: list_curves(tx, "another business", None)) == []


def test_days_whose_outcome_may_still_come_are_left_out_and_old_ones_go(market: Market) -> None:
    market.play(12)
    market.train()
    questions = [each.question for each in market.db.read_now(lambda tx: list_curves(tx, market.id, None))]
    assert questions == [Question.CLICK]
    market.clock.advance(days=91)
    assert market.db.write_now(lambda tx: purge_log(tx, 1_000)) > 0
    first = (market.clock.now() - timedelta(days=200)).date().isoformat()
    assert market.db.read_now(lambda tx: list_tallies(tx, market.id, first)) == []


def test_curves_stay_in_their_box_whatever_they_say() -> None:
    bins = (Bin(9, 0, 0.0, 0.0, 0.0, 0.3), Bin(9, 9, 1.0, 1.0, 0.7, 1.0))
    drawn = draw_bins(bins)
    assert (drawn.top, drawn.line) == (1.0, "M0.0 1000.0L1000.0 0.0")
    assert draw_bins(()).line == ""
    days = [DailyLoss("2026-01-01", 9, 9, 0.2, 0.2), DailyLoss("2026-01-02", 9, 9, 0.4, 0.2)]
    losses = draw_losses(days)
    assert losses.low <= 0.2 < 0.4 <= losses.top
    assert losses.labels == ("2026-01-01", "2026-01-02")
    assert draw_losses([]).loss == ""


@given(st.floats(1e-6, 1e6))
def test_a_scale_ends_at_a_round_number_that_is_hardly_greater(value: float) -> None:
    assert value * (1.0 - 1e-9) <= round_up(value) <= 1.5 * value * (1.0 + 1e-9)
