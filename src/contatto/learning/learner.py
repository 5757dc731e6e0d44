"""Bayesian logistic regression over hashed features, and the evidence of click farms."""

import math
from typing import Final

import numpy as np

from contatto.kit.runtime import Array, compiled
from contatto.learning import columns as col
from contatto.learning.features import chance, list_features


@compiled
def logistic(z: float) -> float:
    """Return the probability of a score, which is cut at ±30."""
    return 1.0 / (1.0 + math.exp(-min(max(z, -30.0), 30.0)))


@compiled
def sloped(z: float, head: int, settings: Array) -> float:
    """Return the probability of a score after the calibration slope of its head (see `fit_slope`)."""
    mean = settings[col.S_MEAN + head]
    return logistic(mean + settings[col.S_SLOPE + head] * (z - mean))


@compiled
def score_features(table: Array, slots: Array, weights: Array, count: int, head: int) -> float:
    """Return the weighted sum of one head."""
    z = 0.0
    for j in range(count):
        z += weights[j] * table[slots[j], head]
    return z


_HALVINGS = 14
WIDENED: Final = (col.F_CONTEXT, col.F_HISTORY, col.F_CONTACT)
"""Families with weights that `batch_learning.widen_priors` may widen."""
OF_FIT: Final = (col.F_CONTEXT_AD, col.F_CONTEXT_FEATURE)
"""Families of weights that are correlated between the heads of `columns.FITS`."""


@compiled
def slope_of(z: float, label: float) -> float:
    """Return the slope of an observation's log-likelihood at a score.

    The slope of a censored label falls again at high probabilities, since the label is probably late. Its
    likelihood then has two maxima, between which fits would jump. So the slope stays constant beyond its
    extremum, which leaves one maximum. ``label`` is -1 for a positive; else censored, as the share of late
    labels that arrive by this age.
    """
    p = logistic(z)
    if label < 0.0:
        return 1.0 - p
    p = min(p, (1.0 - math.sqrt(1.0 - label)) / label)
    return -label * p * (1.0 - p) / (1.0 - p * label) if p < 1.0 else -1.0


@compiled
def settle(z: float, total: float, amount: float, label: float) -> float:
    """Return the dual amount of an observation, given all others.

    ``z`` is the score with the present amount, ``total`` the change of the score per unit of the amount, and
    ``label`` as in `slope_of`.
    """
    low, high = (0.0, 1.0) if label < 0.0 else (-1.0, 0.0)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if slope_of(z + total * (middle - amount), label) > middle:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@compiled
def shuffle(order: Array, seed: np.uint64) -> None:
    """Shuffle an array (Fisher and Yates)."""
    for last in range(order.shape[0] - 1, 0, -1):
        place = int(chance(seed, np.uint64(last)) * (last + 1))
        order[last], order[place] = order[place], order[last]


@compiled
def settle_all(
    order: Array, samples: Array, labels: Array, kept_hashes: Array, kept_values: Array,
    kept_kinds: Array, kept_between: Array, kept_counts: Array, amounts: Array, shares: Array,
    stands_for: Array, ads: Array, ad_hashes: Array, ad_features: Array, ad_values: Array,
    feature_hashes: Array, crosses: Array, shift: np.uint64, slots: Array, weights: Array,
    families: Array, family_of: Array, covariances: Array, viewer_spread: Array, viewers: Array,
    farm_prior: float, means: Array, effects: Array, widths: Array, curves: Array, weight: float,
) -> None:  # fmt: skip
    """Fit the weights by dual coordinate ascent: settle one observation after the other.

    ``samples`` are snapshot row, ad and viewer of each observation, ``labels`` its labels (see `slope_of`) by
    head, 0 for none. ``kept_*`` are the feature snapshots, ``amounts`` the dual amounts, ``shares`` the
    weights of observations in shared parameters, and ``stands_for`` the numbers of views that they represent.
    ``covariances`` are prior ones by family, head and head, and ``widths``
    doublings of the prior standard deviations of request features by slot and head. ``means`` and
    ``effects``, the weights and viewers' effects by head, and ``family_of``, the family of each slot, are
    updated. Each observation adds ``weight`` times its curvature of the log-likelihood to ``curves``, by slot
    and head.

    The clicks and conversations of suspected click farms get amounts of 0, since they look like those of
    people. Their spam and lack of leads count, so that a trait that they share shows.
    """
    for i in order:
        place, ad, viewer = samples[i, 0], samples[i, 1], samples[i, 2]
        count = list_features(
            kept_hashes[place], kept_values[place], kept_kinds[place], int(kept_counts[place]), ad,
            ad_hashes[ad], ad_features[ad], ad_values[ad], int(ads[ad, col.A_FEATURES]), feature_hashes,
            crosses, kept_between[place], shift, slots, weights, families,
        )  # fmt: skip
        is_trusted = trust_in(viewers, viewer, farm_prior) > SUSPECT
        for head in range(col.HEADS):
            if labels[i, head] == 0.0:
                continue
            is_early = head in (col.CLICK, col.CONVERSATION)
            share = float(shares[place]) if is_early else 1.0
            before = float(amounts[place, head])
            # Viewers without consent (row 0) have an effect of this observation alone.
            effect = float(effects[viewer, head]) if viewer > 0 else float(viewer_spread[head]) * before
            z, total = effect, float(viewer_spread[head])
            for j in range(count):
                z += weights[j] * means[slots[j], head]
                variance = covariances[families[j], head, head]
                if families[j] in WIDENED:
                    variance *= float(1 << 2 * widths[slots[j], head])
                total += weights[j] * weights[j] * variance * share
            many = float(stands_for[place]) if head == col.CLICK else 1.0
            amount = 0.0
            if is_trusted or not is_early:
                amount = many * settle(z, total * many, before / many, float(labels[i, head]))
            step = amount - before
            amounts[place, head] = amount
            if viewer > 0:
                effects[viewer, head] += viewer_spread[head] * step
            for j in range(count):
                slot, move, row = slots[j], weights[j] * step * share, covariances[families[j], head]
                if before == 0.0:
                    family_of[slot] = families[j]
                if families[j] in WIDENED:
                    size = abs(amount) / many
                    curve = weight * many * share * size * (1.0 - size)
                    curves[slot, head] += weights[j] * weights[j] * curve
                    move *= float(1 << 2 * widths[slot, head])
                if families[j] in OF_FIT and head < col.FITS:
                    for column in range(col.FITS):
                        means[slot, column] += move * row[column]
                else:
                    means[slot, head] += move * row[head]


@compiled
def fill_residuals(
    samples: Array, labels: Array, kept_hashes: Array, kept_values: Array, kept_kinds: Array,
    kept_between: Array, kept_counts: Array, shares: Array, stands_for: Array, ads: Array,
    ad_hashes: Array, ad_features: Array, ad_values: Array, feature_hashes: Array, crosses: Array,
    shift: np.uint64, slots: Array, weights: Array, families: Array, means: Array, effects: Array,
    residuals: Array,
) -> None:  # fmt: skip
    """Fill ``residuals`` with the slopes of the log-likelihood, by observation and head; 0 without a label.

    The other arguments are those of `settle_all`.
    """
    for i in range(samples.shape[0]):
        place, ad, viewer = samples[i, 0], samples[i, 1], samples[i, 2]
        count = list_features(
            kept_hashes[place], kept_values[place], kept_kinds[place], int(kept_counts[place]), ad,
            ad_hashes[ad], ad_features[ad], ad_values[ad], int(ads[ad, col.A_FEATURES]), feature_hashes,
            crosses, kept_between[place], shift, slots, weights, families,
        )  # fmt: skip
        for head in range(col.HEADS):
            if labels[i, head] == 0.0:
                continue
            z = float(effects[viewer, head])
            for j in range(count):
                z += weights[j] * means[slots[j], head]
            many = float(shares[place])
            if head == col.CLICK:
                many *= float(stands_for[place])
            residuals[i, head] = many * slope_of(z, float(labels[i, head]))


FEWEST: Final = 1.0 / 150.0
"""Prior and lower bound of the share of clicks that click farms make."""
MOST: Final = 0.05
"""Upper bound of that share."""
PRIOR_CLICKS: Final = 30.0
"""Weight of the prior, in clicks."""
CLICKS: Final = 0.35
"""Click rate of a click farm."""
SPAMS: Final = 0.9
"""Share of a click farm's conversations that are spam."""
LEADS: Final = 0.02
"""Lead rate of a click farm's other conversations."""
_LEAST, _MOST = -5.0, 12.0
ABOVE_USUAL: Final = 3.0
"""Upper bound of an expected rate, as a multiple of the usual rate."""
MOST_EXPECTED: Final = {col.CLICK: 0.15, col.SPAM: 0.5, col.LEAD: 0.9}
"""Upper bound of an expected rate, for markets where one viewer makes most clicks."""
SUSPECT: Final = 0.5
"""Trust below which the learner ignores a viewer."""
_NEVER: Final = 0.01
"""Distance of an expected rate from 0 and 1."""
_OF_FARMS: Final = {col.CLICK: CLICKS, col.SPAM: SPAMS, col.LEAD: LEADS}


def evidence_of(head: int, expected: float, usual: float, *, is_positive: bool) -> float:
    """Return the log-likelihood ratio for a click farm, given a click, spam or lead, or its absence.

    ``expected`` is the predicted rate of the outcome, ``usual`` that of the whole market.
    """
    p = min(max(min(expected, ABOVE_USUAL * usual, MOST_EXPECTED[head]), _NEVER), 1.0 - _NEVER)
    of_farms = _OF_FARMS[head]
    return math.log(of_farms / p) if is_positive else math.log((1.0 - of_farms) / (1.0 - p))


def add_evidence(row: Array, amount: float) -> None:
    """Add evidence for or against a click farm, within bounds."""
    row[col.V_FARM] = min(max(float(row[col.V_FARM]) + amount, _LEAST), _MOST)


def prior_of(farm_clicks: float, clicks: float) -> float:
    """Return the log-odds that a new viewer is a click farm, from the recent share of farm clicks.

    Farms appear in bursts of new viewers with few actions. After many recent detections little evidence is
    enough.
    """
    share = (farm_clicks + FEWEST * PRIOR_CLICKS) / (clicks + PRIOR_CLICKS)
    share = min(max(share, FEWEST), MOST)
    return math.log(share / (1.0 - share))


FIRST_PRIOR: Final = prior_of(0.0, 0.0)


@compiled
def trust_in(viewers: Array, viewer: int, prior: float) -> float:
    """Return the probability that a viewer is no click farm; 1 for viewers without consent (row 0)."""
    return 1.0 - logistic(prior + float(viewers[viewer, col.V_FARM])) if viewer > 0 else 1.0
