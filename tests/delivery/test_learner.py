"""The learner: kernels give the same numbers compiled and as Python, and agree with what happened."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.learning.batch_learning import NO, YES
from contatto.learning.columns import A_FEATURES, HEADS, V_EFFECT
from contatto.learning.features import list_features
from contatto.learning.impressions import EDGES_S, LabelDelays
from contatto.learning.learner import logistic, score_features, settle
from contatto.learning.marketplace import Marketplace
from tests.delivery.small_world import Line, play
from tests.delivery.test_marketplace import teller

PLAYED = """
import hashlib
from contatto.learning.marketplace import Marketplace
from tests.delivery.small_world import play
from tests.delivery.test_marketplace import teller
marketplace = Marketplace(4)
play(teller(marketplace), requests=60)
print(hashlib.sha256(marketplace.save()).hexdigest())
"""
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def test_kernels_give_the_same_numbers_compiled_and_as_python() -> None:
    found = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PLAYED],
            env={**ENVIRONMENT, "NUMBA_DISABLE_JIT": off, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for off in ("0", "1")
    ]
    assert found[0] == found[1]


def fit(labels: list[float], variance: float = 4.0) -> float:
    """Fit one weight to labels (see `slope_of`); return the probability of a positive."""
    z, amounts, chance = 0.0, [0.0] * len(labels), np.random.default_rng(5)
    for _ in range(10):
        for place in chance.permutation(len(labels)):
            amount = settle(z, variance, amounts[place], labels[place])
            z += variance * (amount - amounts[place])
            amounts[place] = amount
    return float(logistic(z))


def test_an_estimate_comes_to_agree_with_what_happened() -> None:
    assert fit([YES] * 300 + [NO] * 700) == pytest.approx(0.3, abs=0.01)


def test_late_labels_are_learned_to_their_true_rate_while_half_of_them_are_still_missing() -> None:
    assert fit([YES] * 150 + [0.5] * 850) == pytest.approx(0.3, abs=0.01)


def test_one_surprising_label_does_not_throw_the_estimate_to_the_other_end() -> None:
    assert fit([YES]) < 0.8
    assert fit([NO] * 50 + [YES]) < 0.1


@given(st.floats(-1e6, 1e6))
def test_a_probability_lies_between_none_and_all(score: float) -> None:
    assert 0.0 < logistic(score) < 1.0


def test_the_share_that_has_come_is_told_by_those_who_are_old_enough() -> None:
    """Half of the labels come within an hour, the rest in two days: new samples do not hide the late half."""
    waiting = LabelDelays(0.3)
    waiting.grow(1)
    chance = np.random.default_rng(3)
    second = 1_000_000
    arrives = {}
    for number in range(4_000):
        started = number * 100 * second
        age_s = 1_800 if chance.random() < 0.5 else 36 * 3_600
        arrives[str(number)] = age_s if chance.random() < 0.4 else 0
        waiting.at_edge[0].append((started, str(number)))
        for edge, _, name in waiting.next_due(started):
            came_after = arrives[name]
            if came_after and came_after <= EDGES_S[edge]:
                waiting.count_arrival(0, edge, came_after)
            else:
                waiting.count_wait(0, edge)
    waiting.refit(1.0)
    by_two_hours = waiting.share_by(0, EDGES_S.index(7_200.0), 7 * 86_400)
    assert 0.35 < by_two_hours < 0.65
    assert waiting.share_by(0, EDGES_S.index(3 * 86_400.0), 7 * 86_400) > 0.85


@pytest.mark.parametrize("samples", [15, 60])
def test_late_labels_of_one_ad_group_are_expected_in_a_market_of_early_ones(samples: int) -> None:
    """A few samples show that labels of an ad group come days late, where all others come within hours."""
    chance, repeats, window_s = np.random.default_rng(7), 8, 7 * 86_400
    shares = np.zeros((2, 2))
    for _ in range(repeats):
        delays = LabelDelays(0.2)
        delays.grow(2)
        for group, number, mean_s in ((0, 500, 5_400.0), (1, samples, 36 * 3_600.0)):
            for _ in range(number):
                age_s = chance.random() * 4 * 86_400
                delay_s = chance.exponential(mean_s) if chance.random() < 0.3 else float("inf")
                for edge, edge_s in enumerate(EDGES_S):
                    if edge_s > age_s:
                        break
                    if delay_s <= edge_s:
                        delays.count_arrival(group, edge, delay_s)
                        break
                    delays.count_wait(group, edge)
            for place, days in enumerate((1, 2)):
                shares[group, place] += delays.share_by(group, EDGES_S.index(days * 86_400.0), window_s)
    early, late = shares / repeats
    assert early == pytest.approx([1.0, 1.0], abs=0.05)
    assert late == pytest.approx([0.49, 0.74], abs=0.13)


def test_serving_and_learning_score_by_the_very_same_features() -> None:
    """What was answered is the sum of the weights that learning lists for it."""
    marketplace = Marketplace(1)
    market, ask = marketplace.market, teller(marketplace)
    compared = 0

    def watch(line: Line) -> Line | None:
        nonlocal compared
        answer = ask(line)
        if line["type"] == "request" and answer is not None and answer["ad_id"]:
            shown = market.records.shown[line["request_id"]]
            assert shown is not None
            for head in range(HEADS):
                assert score_of(market, shown, head) == pytest.approx(shown.raw[head], rel=1e-6)
            compared += 1
        return answer

    play(watch, requests=600)
    assert compared > 200


def score_of(market: Any, shown: Any, head: int) -> float:
    learned, groups, kept, place, ad = market.learned, market.groups, market.snapshots, shown.place, shown.ad
    count = list_features(
        kept.hashes[place], kept.values[place], kept.kinds[place], int(kept.counts[place]), ad,
        groups.ad_hashes[ad], groups.ad_features[ad], groups.ad_values[ad], int(groups.ads[ad, A_FEATURES]),
        groups.feature_hashes, groups.crosses, kept.between[place], learned.shift, learned.slots,
        learned.weights, learned.families,
    )  # fmt: skip
    effects = market.viewers.table[shown.viewer, V_EFFECT : V_EFFECT + HEADS]
    own = float(effects[head])
    return logistic(score_features(learned.table, learned.slots, learned.weights, count, head) + own)
