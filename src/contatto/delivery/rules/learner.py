"""The learner: a Bayesian logistic regression over hashed features, one observation at a time.

Theory. Each weight has a mean and a variance. An observation moves every weight that took part in proportion
to its variance: unsure weights move far, sure ones hardly (an extended Kalman filter with a diagonal
covariance). The variance that is expected of an unseen weight belongs to its family.

A label that comes late is learned as what is known: "not yet, though a share F of those that come would be
here" has the likelihood 1 - pF; arrival takes that evidence back and adds its own.

Source: Graepel et al. 2010 (AdPredictor); McMahan et al. 2013 (one observation at a time, hashed tables);
Chapelle 2014 (the likelihood of a label that may still come).
"""

import math
from typing import Final

import numpy as np

from contatto.delivery.rules.columns import (
    CLICK,
    CONVERSATION,
    FAMILIES,
    HEADS,
    K_CLICK,
    K_CONVERSATION,
    K_FIT,
    V_EFFECT,
    V_VARIANCE,
)
from contatto.delivery.rules.describing import bounded, list_stacked, stacked, sum_fit, viewer_variance
from contatto.kit.kernels import Array, compiled

_MOST_STEPS: Final = 40
_NEAR: Final = 1e-9
"""A step agrees if it is so near, as a share of the variance of the score."""


@compiled
def logistic(z: float) -> float:
    """Probability of a score; scores beyond ±30 are cut."""
    return 1.0 / (1.0 + math.exp(-min(max(z, -30.0), 30.0)))


@compiled
def evidence(kind: int, p: float, before: float, after: float) -> tuple[float, float]:
    """The slope and the curvature of what an observation says, at the probability ``p``.

    Args:
        kind: 0 no, 1 yes, 2 not yet, 3 it came late, 4 it was taken back, 5 a no was wrong.
        p: the probability now.
        before: the share of late labels that was already allowed for.
        after: the share that is allowed for now.
    """
    q = p * (1.0 - p)
    if kind == 0:
        return -p, q
    if kind == 1:
        return 1.0 - p, q
    held = before * q / (1.0 - p * before)
    if kind == 2:
        return held - after * q / (1.0 - p * after), (after - before) * q
    if kind == 3:
        return 1.0 - p + held, (1.0 - before) * q
    return (-1.0 if kind == 4 else 1.0), 0.0


@compiled
def score_features(table: Array, slots: Array, weights: Array, count: int, head: int) -> float:
    """The sum of the weights of one head."""
    z = 0.0
    for j in range(count):
        z += weights[j] * table[slots[j], head]
    return z


@compiled
def stack_scores(
    table: Array,
    slots: Array,
    weights: Array,
    families: Array,
    count: int,
    head: int,
    effects: Array,
    shift: np.uint64,
    stack: Array,
) -> int:
    """Tell a head what the heads before it estimate now, and add that to the weights that speak for it.

    Args:
        table: the weights.
        slots: see `list_features`; what is told is written behind.
        weights: see `list_features`.
        families: see `list_features`.
        count: how many weights there are.
        head: the head that is told.
        effects: the viewer's own effects, by head.
        shift: see `slot_of`.
        stack: filled with what is told, see `K_CLICK`.

    Returns:
        How many weights there are now.
    """
    if head > CLICK:
        z = score_features(table, slots, weights, count, CLICK) + effects[CLICK]
        stack[K_CLICK] = stacked(logistic(z))
        stack[K_FIT] = bounded(sum_fit(table, slots, weights, families, count))
    if head > CONVERSATION:
        total = list_stacked(stack, CONVERSATION, count, shift, slots, weights, families)
        z = score_features(table, slots, weights, total, CONVERSATION) + effects[CONVERSATION]
        stack[K_CONVERSATION] = stacked(logistic(z))
    return int(list_stacked(stack, head, count, shift, slots, weights, families))


@compiled
def agreed_step(kind: int, z: float, total: float, p: float) -> float:
    """By how much a yes or a no moves a score, so that the step agrees with the probability after it.

    Found by Halley's method; where it would leave the bounds, their middle is taken. What is to be 0 falls by
    at least 1 for each 1, so what is left of it bounds the distance.

    Args:
        kind: 0 no, 1 yes.
        z: the score before.
        total: the variance of the score.
        p: the probability of the score.
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
    table: Array,
    family_of: Array,
    slots: Array,
    weights: Array,
    families: Array,
    count: int,
    head: int,
    spread: Array,
    floor: float,
    viewers: Array,
    viewer: int,
    viewer_spread: Array,
    kind: int,
    before: float,
    after: float,
    share: float,
) -> float:
    """Learn from one observation of one head.

    Args:
        table: means and variances of the weights; a variance of 0 stands for a weight never seen.
        family_of: which family a slot belongs to.
        slots: the weights that took part.
        weights: the values of their features.
        families: their families.
        count: how many.
        head: the question.
        spread: the variance expected of unseen weights, by family and head.
        floor: the least variance, so that nothing is ever beyond change.
        viewers: the table of viewers.
        viewer: the row, or less than 0.
        viewer_spread: the variance of viewers' own effects, by head.
        kind: see `evidence`.
        before: see `evidence`.
        after: see `evidence`.
        share: how much of it the shared weights may take, 0 to 1; the viewer's own effect takes all.

    Returns:
        The probability before learning.
    """  # fmt: skip
    z, own, column = 0.0, 0.0, HEADS + head
    if viewer >= 0:
        own = viewer_variance(viewers, viewer, head, viewer_spread)
    total = own
    for j in range(count):
        z += weights[j] * table[slots[j], head]
        variance = table[slots[j], column]
        if variance == 0.0:
            variance = spread[families[j], head]
        total += weights[j] * weights[j] * variance
    if viewer >= 0:
        z += viewers[viewer, V_EFFECT + head]
    p = logistic(z)
    slope, curve = evidence(kind, p, before, after)
    if kind == 0 or kind == 1:
        # The step that agrees with the probability after it: a rare yes must not throw sure weights about.
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
        left = variance - step * fall * weights[j] * variance * curve
        table[slot, column] = max(left, floor * spread[families[j], head])
    if viewer >= 0:
        viewers[viewer, V_EFFECT + head] += own * gain * slope
        left = own - own * own * fall * curve
        viewers[viewer, V_VARIANCE + head] = max(left, 0.05 * viewer_spread[head])
    return p


@compiled
def forget(table: Array, family_of: Array, spread: Array, share: float) -> None:
    """Make every weight a little less sure, so that a world that changes is learned anew."""
    for slot in range(table.shape[0]):
        family = family_of[slot]
        if family == FAMILIES:
            continue
        for head in range(HEADS):
            variance = float(table[slot, HEADS + head])
            if variance > 0.0:
                table[slot, HEADS + head] = min(variance * (1.0 + share), spread[family, head])
