"""Learning conversations, leads and spam again from all that is kept of them."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.learning import batch_learning, outcomes
from contatto.learning.batch_learning import labels_of
from contatto.learning.columns import (
    CLICK,
    CONTEXT,
    CONVERSATION,
    F_CONTACT,
    F_CONTEXT,
    F_CONTEXT_AD,
    F_CONTEXT_FEATURE,
    F_HISTORY,
    HEADS,
    HISTORY,
    LEAD,
    SPAM,
    V_EFFECT,
)
from contatto.learning.impressions import EDGES_S, Impression
from contatto.learning.learner import settle, shuffle, slope_of
from contatto.learning.marketplace import Marketplace
from tests.delivery.small_world import BEGINS, play, relearn_market, set_up
from tests.delivery.test_marketplace import teller

NO, YES = 1.0, -1.0
NOW = BEGINS + 1_000_000_000
LATELY = NOW - 700_000_000
"""Between the second edge of label delays and the third."""
CLICKED = {"clicked_at": LATELY, "is_settled": True}


@given(st.floats(-6, 6), st.floats(0.01, 20), st.floats(-1, 1), st.one_of(st.just(YES), st.floats(0.05, 1)))
def test_an_observation_settles_where_it_holds_the_slope_of_its_likelihood(
    z: float, total: float, held: float, came: float
) -> None:
    amount = settle(z, total, held, came)
    assert amount == pytest.approx(slope_of(z + total * (amount - held), came), abs=2e-3 * (1 + total))


@given(st.floats(-20, 20), st.floats(0.0, 1.0))
def test_what_may_still_come_says_less_than_what_will_not(z: float, share: float) -> None:
    assert slope_of(z, NO) <= slope_of(z, share) <= 0.0 <= slope_of(z, YES)


@given(st.floats(-12, 12), st.floats(0, 6), st.one_of(st.just(YES), st.floats(0.01, 1)))
def test_the_higher_an_observation_was_thought_the_more_it_pulls_down(
    z: float, more: float, came: float
) -> None:
    assert slope_of(z + more, came) <= slope_of(z, came) + 1e-12


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_an_order_by_lot_has_each_number_once(count: int) -> None:
    order = np.arange(count)
    shuffle(order, np.uint64(7))
    assert sorted(order.tolist()) == list(range(count))
    assert count < 50 or order.tolist() != list(range(count))


def share_by_edge(*shares: float) -> dict[int, list[float]]:
    """Shares of the first ad group's late labels that arrive by each edge."""
    return {0: [*shares, *[1.0] * (len(EDGES_S) - len(shares))]}


@pytest.mark.parametrize(
    ("what", "known"),
    [
        ({"is_settled": True}, (NO, 0.0, 0.0, 0.0, 0.0)),
        ({"clicked_at": NOW}, (0.0, 0.0, 0.0, 0.0, 0.0)),
        (CLICKED, (YES, 0.4, 0.0, 0.0, 0.0)),
        ({**CLICKED, "talked_at": LATELY}, (YES, YES, 0.3, 0.6, 0.0)),
        ({**CLICKED, "talked_at": NOW}, (YES, YES, 0.0, 0.0, 0.0)),
        ({**CLICKED, "talked_at": LATELY, "lead_at": NOW}, (YES, YES, YES, 0.6, 0.0)),
        ({**CLICKED, "talked_at": NOW, "lead_at": NOW, "bad": NO}, (YES, YES, YES, 0.0, NO)),
        ({**CLICKED, "talked_at": NOW, "lead_at": NOW, "bad": YES}, (YES, YES, YES, 0.0, YES)),
        ({**CLICKED, "talked_at": LATELY, "spam_at": NOW}, (YES, YES, NO, YES, 0.0)),
        ({**CLICKED, "talked_at": LATELY, "spam_at": NOW, "lead_at": NOW}, (YES, YES, NO, YES, YES)),
    ],
)
def test_a_missing_label_weighs_by_what_arrives_by_its_age_and_spam_is_no_lead(
    what: dict[str, float], known: tuple[float, ...]
) -> None:
    marketplace = Marketplace(4)
    teller(marketplace)(next(set_up()))
    market = marketplace.market
    market.now = NOW
    market.talks.shares, market.leads.shares, market.spam.shares = (
        share_by_edge(0.0, share) for share in (0.4, 0.3, 0.6)
    )
    impression = Impression("r", 0, 0, 0, 1, 1, 1, 1.0, (), (), 0, **what)  # type: ignore[arg-type]
    assert labels_of(market, impression) == known


def test_after_many_trainings_no_observation_moves_any_more_and_this_is_what_serves() -> None:
    marketplace = Marketplace(4)
    play(teller(marketplace), requests=1_500, days=0.9)
    market = marketplace.market
    for seed in range(24):  # the order of observations depends on it
        market.seed = seed
        relearn_market(market)
    before = market.snapshots.held.copy()
    relearn_market(market)
    moved = np.abs(market.snapshots.held - before)
    assert np.abs(before).max() > 0.2
    assert moved.max() < 0.01
    effects = market.viewers.table[:, V_EFFECT : V_EFFECT + HEADS]
    assert (market.learned.table == market.learned.draft).all()
    assert (effects == market.viewers.draft).all()


def test_what_clicks_tell_of_a_fit_is_expected_of_conversations_and_leads_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        batch_learning, "labels_of", lambda market, shown: (labels_of(market, shown)[CLICK], *[0.0] * 4)
    )
    marketplace = Marketplace(4)
    play(teller(marketplace), requests=1_500, days=0.9)
    market = marketplace.market
    relearn_market(market)
    learned, alike = market.learned, market.learned.prior_covariances()
    for family in (F_CONTEXT_AD, F_CONTEXT_FEATURE):
        weights = learned.draft[learned.family_of == family]
        share = alike[family, CLICK] / alike[family, CLICK, CLICK]
        assert np.abs(weights[:, CLICK]).max() > 0.01
        assert np.allclose(weights, weights[:, [CLICK]] * share, atol=1e-5)
        assert min(share[CONVERSATION], share[LEAD]) > 0.2
        assert share[SPAM] == 0.0
    assert not learned.draft[learned.family_of == F_CONTEXT, CONVERSATION:].any()


@pytest.mark.parametrize(
    ("features", "scale"), [(1, 3.0), (2, 3.0), (3, 2.0), (6, 1.0), (10, 1.0), (20, 0.5)]
)
def test_requests_of_few_or_many_features_may_differ_as_much(features: int, scale: float) -> None:
    marketplace = Marketplace(4)
    play(teller(marketplace), requests=300, days=0.9)
    market = marketplace.market
    shown = batch_learning.list_labelled(market, 100)
    for impression in shown:
        market.snapshots.counts[impression.place] = features + 3
        market.snapshots.values[impression.place] = 1.0
        market.snapshots.kinds[impression.place] = HISTORY
        market.snapshots.kinds[impression.place, :features] = CONTEXT
    assert batch_learning.context_scale(market.snapshots, shown) == pytest.approx(scale)
    assert batch_learning.context_scale(market.snapshots, []) == 1.0


def test_a_wider_prior_of_request_features_moves_their_weights_alone_and_is_kept() -> None:
    marketplace, other = Marketplace(4), Marketplace(4)
    play(teller(marketplace), requests=1_500, days=0.9)
    learned = marketplace.market.learned
    outcomes.finish_work(marketplace.market)
    relearn_market(marketplace.market)
    before, covariances, scale = learned.draft.copy(), learned.prior_covariances(), learned.scale
    learned.scale_context(1.5 * scale)
    is_wider = np.isin(learned.family_of, (F_CONTEXT, F_CONTEXT_AD, F_CONTEXT_FEATURE))
    assert np.abs(before[is_wider]).max() > 0.01
    assert np.allclose(learned.draft[is_wider], 1.5 * before[is_wider])
    assert (learned.draft[~is_wider] == before[~is_wider]).all()
    assert np.allclose(learned.prior_covariances()[F_CONTEXT], 1.5 * covariances[F_CONTEXT])
    other.restore(marketplace.save())
    assert other.market.learned.scale == 1.5 * scale
    assert np.array_equal(other.market.learned.spread, learned.spread)


def test_a_place_that_is_used_again_has_moved_nothing_yet() -> None:
    kept = Marketplace(4).market.snapshots
    place = kept.take()
    kept.held[place], kept.shares[place], kept.stands_for[place] = 0.5, 0.1, 3.0
    kept.free.append(place)
    assert kept.take() == place
    assert kept.held[place].tolist() == [0.0] * HEADS
    assert kept.shares[place] == kept.stands_for[place] == 1.0


def test_while_there_are_few_views_all_are_kept() -> None:
    marketplace = Marketplace(4)
    play(teller(marketplace), requests=600, days=0.9)
    settled = [shown for shown in marketplace.market.records.shown.values() if shown and shown.is_settled]
    assert len(settled) > 200
    assert all(shown.place >= 0 for shown in settled)


def test_some_views_without_a_click_are_kept_and_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "ENOUGH_BESIDE", 0.0)
    marketplace = Marketplace(4)
    play(teller(marketplace), requests=3_000, days=0.9)
    market = marketplace.market
    settled = [shown for shown in market.records.shown.values() if shown and shown.is_settled]
    rest = [shown for shown in settled if not shown.clicked_at]
    kept = [shown for shown in rest if shown.place >= 0]
    assert 0 < len(kept) < len(rest)
    assert sum(market.snapshots.stands_for[shown.place] for shown in kept) == pytest.approx(
        len(rest), rel=0.2
    )
    clicked = [shown.place for shown in settled if shown.clicked_at]
    assert (market.snapshots.stands_for[clicked] == 1.0).all()


def test_a_training_visits_what_is_new_and_some_of_the_others_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marketplace = Marketplace(4)
    play(teller(marketplace), requests=1_500, days=0.9)
    market, visited = marketplace.market, list[int]()
    relearn_market(market)
    shown = batch_learning.list_labelled(market, batch_learning.MOST)
    new = [impression.place for impression in shown[-7:]]
    for impression in shown[-7:]:
        impression.is_new = True
    settle_observations = batch_learning.settle_observations

    def watch(*args: Any) -> None:
        visited.extend(args[1].samples[args[3], 0].tolist())
        settle_observations(*args)

    monkeypatch.setattr(batch_learning, "settle_observations", watch)
    monkeypatch.setattr(batch_learning, "MOST_OLD_PER_NEW", 20)
    for _ in batch_learning.relearn_in_slices(market):
        pass
    assert len(shown) > 300
    assert set(new) < set(visited)
    assert Counter(visited).most_common()[-1][1] == batch_learning.PASSES
    assert len(set(visited)) == 7 + 7 * 20


@pytest.mark.parametrize(("curvature", "width"), [(0.5, 0), (1.5, 2)])
def test_a_prior_widens_by_strong_evidence_of_enough_observations_alone(curvature: float, width: int) -> None:
    learned = Marketplace(4).market.learned
    learned.family_of[9] = F_CONTEXT
    learned.draft[9, SPAM] = 0.3
    curves = batch_learning.no_curves(learned)
    curves[9, SPAM] = curvature
    batch_learning.widen_priors(learned, curves, batch_learning.ENOUGH_CURVATURE)
    assert learned.widths[9].tolist() == [0, 0, 0, width, 0]
    assert learned.draft[9, SPAM] == pytest.approx(0.3 * 4.0**width)


@pytest.mark.parametrize(("family", "width"), [(F_CONTEXT, 0), (F_HISTORY, 0), (F_CONTACT, 2)])
def test_little_evidence_widens_the_prior_of_a_contact_status(family: int, width: int) -> None:
    learned = Marketplace(4).market.learned
    learned.family_of[9] = family
    learned.draft[9, LEAD] = -0.06
    curves = batch_learning.no_curves(learned)
    curves[9, LEAD] = 1.5
    batch_learning.widen_priors(learned, curves, batch_learning.ENOUGH_CURVATURE)
    assert learned.widths[9].tolist() == [0, 0, width, 0, 0]


def test_all_that_is_kept_is_learned_again_in_slices_between_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_learning, "SLICE", 20)
    marketplace = Marketplace(4)
    play(teller(marketplace), requests=1_500, days=0.9)
    market = marketplace.market
    kept = len(batch_learning.list_labelled(market, batch_learning.MOST))
    monkeypatch.setattr(batch_learning, "MOST_OLD_PER_NEW", kept)
    slices = sum(1 for _ in batch_learning.relearn_in_slices(market))
    assert slices >= kept // 20


def test_what_waits_is_done_before_a_state_is_saved() -> None:
    marketplace, other = Marketplace(4), Marketplace(4)
    play(teller(marketplace), requests=1_500, days=0.9)
    market = marketplace.market
    market.work = batch_learning.relearn_in_slices(market)
    assert marketplace.is_busy
    other.restore(marketplace.save())
    assert marketplace.market.work is None
    assert other.save() == marketplace.save()


def test_without_a_click_there_is_nothing_to_learn_again() -> None:
    market = Marketplace(4).market
    relearn_market(market)
    assert not market.snapshots.held.any()
