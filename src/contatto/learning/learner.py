"""Bayesian logistic regression over hashed features: online and in batches."""

import math
from typing import Final

import numpy as np

from contatto.kit.runtime import Array, compiled
from contatto.learning import columns as col
from contatto.learning.features import chance, list_features

_MOST_STEPS: Final = 40
_NEAR: Final = 1e-9
"""Tolerance of a step, as a share of the variance of the score."""


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
def evidence(kind: int, p: float, before: float, after: float) -> tuple[float, float]:
    """Return slope and curvature of an observation's log-likelihood.

    Args:
        kind: 0 negative, 1 positive, 2 censored, 3 late positive, 4 withdrawn, 5 corrected negative.
        p: predicted probability.
        before: share of late labels that the last learned age covered.
        after: share of late labels that arrive by this age.
    """
    q = p * (1.0 - p)
    if kind == 0:
        return -p, q
    if kind == 1:
        return 1.0 - p, q
    learned = before * q / (1.0 - p * before)
    if kind == 2:
        return learned - after * q / (1.0 - p * after), (after - before) * q
    if kind == 3:
        return 1.0 - p + learned, (1.0 - before) * q
    return (-1.0 if kind == 4 else 1.0), 0.0


@compiled
def score_features(table: Array, slots: Array, weights: Array, count: int, head: int) -> float:
    """Return the weighted sum of one head."""
    z = 0.0
    for j in range(count):
        z += weights[j] * table[slots[j], head]
    return z


@compiled
def agreed_step(kind: int, z: float, total: float, p: float) -> float:
    """Return the implicit step of a score after a label (1 or 0): its slope is the one after the step.

    Halley's method solves it, with bisection outside of the bounds. The residual (``rest``) falls by at least
    1 per unit of the step, so it bounds the distance from the solution. ``total`` is the variance of ``z``.
    """
    low, high = (0.0, total) if kind == 1 else (-total, 0.0)
    step = low if kind == 1 else high
    for _ in range(_MOST_STEPS):
        rest = total * (kind - p) - step
        if abs(rest) < _NEAR * (total + 1.0):
            break
        if rest > 0.0:
            low = step
        else:
            high = step
        bend = total * p * (1.0 - p)
        fall = bend + 1.0
        step += rest * fall / (fall * fall + 0.5 * rest * bend * (1.0 - 2.0 * p))
        if not low < step < high:
            step = 0.5 * (low + high)
        p = logistic(z + step)
    return step


@compiled
def learn_one(
    table: Array, family_of: Array, slots: Array, weights: Array, families: Array, count: int, head: int,
    spread: Array, floor: float, viewers: Array, viewer: int, viewer_spread: Array, kind: int,
    before: float, after: float, share: float,
) -> float:  # fmt: skip
    """Learn one observation of one head; return the probability before this step.

    Args as in `columns` and `evidence`. ``floor`` is the smallest variance, as a share of the prior one.
    ``share`` scales the step of shared weights; the viewer's own effect takes all. Viewers without consent
    (row 0) are a new one each time, so that nothing of them is kept.
    """
    z, own, column = 0.0, float(viewer_spread[head]), col.HEADS + head
    if viewer > 0 and viewers[viewer, col.V_VARIANCE + head] > 0.0:  # else the viewer is new
        own = float(viewers[viewer, col.V_VARIANCE + head])
    total = own
    for j in range(count):
        z += weights[j] * table[slots[j], head]
        variance = table[slots[j], column]
        if variance == 0.0:
            variance = spread[families[j], head]
        total += weights[j] * weights[j] * variance
    if viewer > 0:
        z += viewers[viewer, col.V_EFFECT + head]
    p = logistic(z)
    slope, curve = evidence(kind, p, before, after)
    if kind == 0 or kind == 1:
        # Implicit step: a rare positive must not move weights of low variance too far.
        after_p = logistic(z + agreed_step(kind, z, total, p))
        slope, curve = kind - after_p, after_p * (1.0 - after_p)
        gain = 1.0
        fall = 1.0 / (1.0 + curve * total)
    else:
        gain = 1.0 / (1.0 + curve * total)
        fall = gain
    for j in range(count):
        slot = slots[j]
        variance = table[slot, column]
        if variance == 0.0:
            variance = spread[families[j], head]
        family_of[slot] = families[j]
        step = weights[j] * variance * share
        table[slot, head] += step * gain * slope
        remaining = variance - step * fall * weights[j] * variance * curve
        table[slot, column] = max(remaining, floor * spread[families[j], head])
    if viewer > 0:
        viewers[viewer, col.V_EFFECT + head] += own * gain * slope
        remaining = own - own * own * fall * curve
        viewers[viewer, col.V_VARIANCE + head] = max(remaining, 0.05 * viewer_spread[head])
    return p


@compiled
def forget(table: Array, family_of: Array, spread: Array, share: float) -> None:
    """Increase the variance of every weight, so that the learner follows changes."""
    for slot in range(table.shape[0]):
        family = family_of[slot]
        if family == col.FAMILIES:
            continue
        for head in range(col.HEADS):
            variance = float(table[slot, col.HEADS + head])
            if variance > 0.0:
                table[slot, col.HEADS + head] = min(variance * (1.0 + share), spread[family, head])


_HALVINGS = 14
WIDENED: Final = (col.F_CONTEXT, col.F_HISTORY)
"""Families with weights that `batch_learning.widen_priors` may widen."""


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
def learn_again(
    order: Array, samples: Array, labels: Array, kept_hashes: Array, kept_values: Array,
    kept_kinds: Array, kept_between: Array, kept_counts: Array, amounts: Array, shares: Array,
    stands_for: Array, ads: Array, ad_hashes: Array, ad_features: Array, ad_values: Array,
    feature_hashes: Array, crosses: Array, shift: np.uint64, slots: Array, weights: Array,
    families: Array, covariances: Array, viewer_spread: Array, viewers: Array, farm_prior: float,
    means: Array, effects: Array, widths: Array, curves: Array,
) -> None:  # fmt: skip
    """Fit the weights by dual coordinate ascent: settle one observation after the other.

    ``samples`` are snapshot row, ad and viewer of each observation, ``labels`` its labels (see `slope_of`) by
    head from ``FIRST_AGAIN`` on, 0 for none. ``kept_*`` are the feature snapshots, ``amounts`` the dual
    amounts, ``shares`` the weights of observations in shared parameters, and ``stands_for`` the numbers of
    views that they represent. ``covariances`` are prior ones by family, head and head, and ``widths``
    doublings of the prior standard deviations of request features by slot and head. ``means`` and
    ``effects``, the weights and viewers' effects by head, are updated, and ``curves``, the curvatures of the
    log-likelihood by slot and head, are added to.

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
        for k in range(col.HEADS_AGAIN):
            if labels[i, k] == 0.0:
                continue
            head = col.FIRST_AGAIN + k
            is_early = head in (col.CLICK, col.CONVERSATION)
            share = float(shares[place]) if is_early else 1.0
            before = float(amounts[place, k])
            # Viewers without consent (row 0) have an effect of this observation alone.
            effect = float(effects[viewer, k]) if viewer > 0 else float(viewer_spread[head]) * before
            z, total = effect, float(viewer_spread[head])
            for j in range(count):
                z += weights[j] * means[slots[j], k]
                variance = covariances[families[j], k, k]
                if families[j] in WIDENED:
                    variance *= float(1 << 2 * widths[slots[j], k])
                total += weights[j] * weights[j] * variance * share
            many = float(stands_for[place]) if k == 0 else 1.0
            amount = 0.0
            if is_trusted or not is_early:
                amount = many * settle(z, total * many, before / many, float(labels[i, k]))
            step = amount - before
            amounts[place, k] = amount
            if viewer > 0:
                effects[viewer, k] += viewer_spread[head] * step
            for j in range(count):
                slot, move, row = slots[j], weights[j] * step * share, covariances[families[j], k]
                if families[j] in WIDENED:  # without a prior correlation between heads
                    size = abs(amount) / many
                    curves[slot, k] += weights[j] * weights[j] * share * many * size * (1.0 - size)
                    means[slot, k] += move * row[k] * float(1 << 2 * widths[slot, k])
                    continue
                for column in range(col.HEADS_AGAIN):
                    means[slot, column] += move * row[column]


@compiled
def fill_residuals(
    samples: Array, labels: Array, kept_hashes: Array, kept_values: Array, kept_kinds: Array,
    kept_between: Array, kept_counts: Array, shares: Array, stands_for: Array, ads: Array,
    ad_hashes: Array, ad_features: Array, ad_values: Array, feature_hashes: Array, crosses: Array,
    shift: np.uint64, slots: Array, weights: Array, families: Array, means: Array, effects: Array,
    residuals: Array,
) -> None:  # fmt: skip
    """Fill ``residuals`` with the slopes of the log-likelihood, by observation and head; 0 without a label.

    The other arguments are those of `learn_again`.
    """
    for i in range(samples.shape[0]):
        place, ad, viewer = samples[i, 0], samples[i, 1], samples[i, 2]
        count = list_features(
            kept_hashes[place], kept_values[place], kept_kinds[place], int(kept_counts[place]), ad,
            ad_hashes[ad], ad_features[ad], ad_values[ad], int(ads[ad, col.A_FEATURES]), feature_hashes,
            crosses, kept_between[place], shift, slots, weights, families,
        )  # fmt: skip
        for k in range(col.HEADS_AGAIN):
            if labels[i, k] == 0.0:
                continue
            z = float(effects[viewer, k])
            for j in range(count):
                z += weights[j] * means[slots[j], k]
            many = float(shares[place])
            if k == 0:
                many *= float(stands_for[place])
            residuals[i, k] = many * slope_of(z, float(labels[i, k]))


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
