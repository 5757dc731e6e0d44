"""How good estimates and choices were, judged by a log: pure functions.

Theory. An estimate that was written down before its outcome is judged by that outcome alone (prequentially).
What another way to choose would have earned is estimated from choices whose chances are known: an outcome
counts by how much likelier the other way would have made that choice. `inverse_propensity` has no bias;
`self_normalized` divides by the sum of these weights and varies less; `doubly_robust` starts from what a
model expects and weighs only what the model missed.

Source: Dawid 1984 (prequential); Horvitz and Thompson 1952; Swaminathan and Joachims 2015 (self-normalized);
Dudík, Langford and Li 2011 (doubly robust).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST_CHANCE: Final = 1e-9
"""Estimates are kept so far from 0 and 1, so that no single miss is infinitely bad."""
BINS: Final = 15

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """How estimates of one question did.

    ``log_loss`` is in nats; ``normalized`` is it over that of the mean rate: below 1 is better than the mean.
    ``ratio`` is expected over came, ``calibration_error`` the mean distance of both over bins of equal size.
    Where nothing came, or all did, ``normalized`` is not a number.
    """

    count: int
    came: float
    expected: float
    log_loss: float
    normalized: float
    ratio: float
    calibration_error: float


@dataclass(frozen=True, slots=True)
class Value:
    """What a way to choose earns for each choice, and its standard error."""

    mean: float
    error: float


def judge_estimates(estimates: Floats, outcomes: Floats) -> Judged:
    """Judge chances that were told before it was known what came.

    Args:
        estimates: chances, 0 to 1.
        outcomes: 1 where it came, 0 where it did not.

    Raises:
        ValueError: there are none, or not as many of one as of the other.
    """
    if not len(estimates) or len(estimates) != len(outcomes):
        raise ValueError("there have to be as many outcomes as estimates, and some")
    p = np.clip(estimates, LEAST_CHANCE, 1.0 - LEAST_CHANCE)
    loss = float(-(outcomes * np.log(p) + (1.0 - outcomes) * np.log1p(-p)).mean())
    rate, came, expected = float(outcomes.mean()), float(outcomes.sum()), float(estimates.sum())
    doubt = -(rate * math.log(rate) + (1.0 - rate) * math.log1p(-rate)) if 0.0 < rate < 1.0 else 0.0
    return Judged(
        count=len(estimates),
        came=came,
        expected=expected,
        log_loss=loss,
        normalized=loss / doubt if doubt else math.nan,
        ratio=expected / came if came else math.nan,
        calibration_error=_calibration_error(estimates, outcomes),
    )


def _calibration_error(estimates: Floats, outcomes: Floats) -> float:
    order = np.argsort(estimates, kind="stable")
    parts = np.array_split(order, min(BINS, len(order)))
    return float(
        sum(len(part) * abs(estimates[part].mean() - outcomes[part].mean()) for part in parts) / len(order)
    )


def inverse_propensity(rewards: Floats, weights: Floats) -> Value:
    """What another way to choose earns, without bias.

    Args:
        rewards: what each choice of the log brought.
        weights: the chance of that choice under the other way, over its chance when it was made.
    """
    return _mean_of(rewards * weights)


def self_normalized(rewards: Floats, weights: Floats) -> Value:
    """The same, over the sum of the weights; not a number where the other way made none of the choices."""
    total = float(weights.sum())
    if total <= 0.0:
        return Value(math.nan, math.nan)
    mean = float((rewards * weights).sum()) / total
    error = math.sqrt(float((weights**2 * (rewards - mean) ** 2).sum())) / total
    return Value(mean, error)


def doubly_robust(rewards: Floats, weights: Floats, chosen: Floats, expected: Floats) -> Value:
    """The same, from what a model expects, corrected by what it missed.

    Args:
        rewards: see `inverse_propensity`.
        weights: see `inverse_propensity`.
        chosen: what the model expects of the choice that was made.
        expected: what it expects of the other way to choose: the mean over its choices.
    """
    return _mean_of(expected + weights * (rewards - chosen))


def choice_chances(
    offers: Mapping[int, float], floor: float, temperature: float, explore: float
) -> dict[int, float]:
    """The chance of each ad to be drawn in an auction; 0 stands for no ad.

    Args:
        offers: of each ad.
        floor: the least offer that wins.
        temperature: how near two offers must be to be drawn by lot.
        explore: the share of requests that goes to any ad whose offer reaches the floor.
    """
    able = {ad: offer for ad, offer in offers.items() if offer >= max(floor, 1.0)}
    if not able:
        return {0: 1.0}
    best = max(able.values())
    shares = {ad: math.pow(offer / best, 1.0 / temperature) for ad, offer in able.items()}
    total = sum(shares.values())
    return {ad: (1.0 - explore) * share / total + explore / len(able) for ad, share in shares.items()}


def effective_count(weights: Floats) -> float:
    """As how many choices of equal weight the weighted ones count (Kish 1965)."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0.0 else 0.0


def _mean_of(values: Floats) -> Value:
    count = len(values)
    error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return Value(float(values.mean()), error)
