"""What a shard of viewers tells of the likeliest weights: sums of slopes and of bends, which add up.

Theory. The likeliest weights for all observations of a log (see `relearning`) are where the slopes of their
likelihoods and of the prior cancel out. Slopes at given weights are sums over observations, so each shard
adds up its own, and shards are added. A viewer's own effect touches observations of that viewer alone, and
all of these are in one shard: there it is settled for the given weights, and never leaves it. Where it is
settled its slope is zero, so the slopes of the others are right as they are (the envelope theorem).
"""

import math

import numpy as np

from contatto.delivery.rules.columns import A_FEATURES, FIRST_AGAIN, HEADS_AGAIN, LEAD, STACKED
from contatto.delivery.rules.describing import count_stacked, list_features, list_stacked
from contatto.delivery.rules.learner import logistic
from contatto.delivery.rules.relearning import slope_of
from contatto.kit.kernels import Array, compiled

_NEAR = 1e-10
_MOST = 60


@compiled
def loss_of(z: float, came: float) -> float:
    """What a score costs: the integral of `slope_of`, turned round."""
    if came < 0.0:
        return math.log1p(math.exp(-z)) if z > -30.0 else -z
    p = logistic(z)
    if came >= 1.0:
        return math.log1p(math.exp(z)) if z < 30.0 else z
    steepest = (1.0 - math.sqrt(1.0 - came)) / came
    if p <= steepest:
        return -math.log(1.0 - p * came)
    edge = math.log(steepest / (1.0 - steepest))
    return -math.log(1.0 - steepest * came) - slope_of(edge, came) * (z - edge)


@compiled
def list_rows(
    starts: Array,
    hashes: Array,
    values: Array,
    kinds: Array,
    between: Array,
    said: Array,
    chosen: Array,
    ads: Array,
    ad_hashes: Array,
    ad_features: Array,
    ad_values: Array,
    feature_hashes: Array,
    crosses: Array,
    shift: np.uint64,
    slots: Array,
    weights: Array,
    families: Array,
    offsets: Array,
    row_slots: Array,
    row_weights: Array,
    family_of: Array,
) -> None:
    """List the weights that took part in each observation; those of estimates before come last.

    Args:
        starts: where the features of each begin, one after the other.
        hashes: features as they were.
        values: their values.
        kinds: their kinds.
        between: what lay between viewer and ad.
        said: what earlier heads said of each to later ones, see `said_by`.
        chosen: the ad of each.
        ads: see `hold_auction`.
        ad_hashes: see `hold_auction`.
        ad_features: see `hold_auction`.
        ad_values: see `hold_auction`.
        feature_hashes: see `hold_auction`.
        crosses: see `hold_auction`.
        shift: see `slot_of`.
        slots: scratch.
        weights: scratch.
        families: scratch.
        offsets: where the weights of each begin; filled.
        row_slots: filled as far as it is long enough: the first call counts, the second fills.
        row_weights: filled likewise.
        family_of: filled with the least family of each slot.
    """  # fmt: skip
    for i in range(chosen.shape[0]):
        ad, start, end = chosen[i], starts[i], starts[i + 1]
        count = list_features(
            hashes[start:end], values[start:end], kinds[start:end], end - start, ad, ad_hashes[ad],
            ad_features[ad], ad_values[ad], int(ads[ad, A_FEATURES]), feature_hashes, crosses, between[i],
            shift, slots, weights, families,
        )  # fmt: skip
        count = list_stacked(said[i], LEAD, count, shift, slots, weights, families)
        first = offsets[i]
        offsets[i + 1] = first + count
        if first + count > row_slots.shape[0]:
            continue
        for j in range(count):
            row_slots[first + j], row_weights[first + j] = slots[j], weights[j]
            family_of[slots[j]] = min(family_of[slots[j]], families[j])


@compiled
def end_of_weights(offsets: Array, row: int, k: int) -> int:
    """Where the weights of an observation end for a head: later ones are told more by earlier ones.

    Args:
        offsets: see `list_rows`.
        row: the observation.
        k: the head, counted from ``FIRST_AGAIN`` on.
    """
    return int(offsets[row + 1]) - STACKED + count_stacked(FIRST_AGAIN + k)


@compiled
def add_slopes(
    firsts: Array,
    spreads: Array,
    offsets: Array,
    slots: Array,
    weights: Array,
    came: Array,
    counts_for: Array,
    means: Array,
    effects: Array,
    scores: Array,
    slopes: Array,
    bends: Array,
    losses: Array,
) -> None:
    """Add up slopes, bends and losses of all observations at given weights, viewer by viewer.

    Args:
        firsts: the first observation of each viewer, and the end.
        spreads: the variance expected of each viewer's own effect, by head; 0 for who is nobody.
        offsets: see `list_rows`.
        slots: see `list_rows`.
        weights: see `list_rows`.
        came: what is known of each observation, see `learn_again`.
        counts_for: how much each counts, by head.
        means: the weights, by slot and head.
        effects: viewers' own effects, by head; settled from what they are.
        scores: filled with the score of each observation without the viewer's effect, by head.
        slopes: slopes of the losses, by slot and head; added to.
        bends: their curvatures; added to.
        losses: by head; added to.
    """
    for viewer in range(firsts.shape[0] - 1):
        first, end = firsts[viewer], firsts[viewer + 1]
        for i in range(first, end):
            for k in range(HEADS_AGAIN):
                z, until = 0.0, end_of_weights(offsets, i, k)
                if came[i, k] != 0.0:
                    for j in range(offsets[i], until):
                        z += weights[j] * means[slots[j], k]
                scores[i, k] = z
        for k in range(HEADS_AGAIN):
            own = 0.0
            if spreads[viewer, k] > 0.0:
                own = _settle_viewer(
                    scores, came, counts_for, first, end, k, spreads[viewer, k], effects[viewer, k]
                )
                losses[k] += 0.5 * own * own / spreads[viewer, k]
            effects[viewer, k] = own
            for i in range(first, end):
                if came[i, k] == 0.0:
                    continue
                z, many = scores[i, k] + own, counts_for[i, k]
                p = logistic(z)
                losses[k] += many * loss_of(z, came[i, k])
                slope = many * slope_of(z, came[i, k])
                bend = many * p * (1.0 - p) * min(abs(came[i, k]), 1.0)
                until = end_of_weights(offsets, i, k)
                for j in range(offsets[i], until):
                    slopes[slots[j], k] -= weights[j] * slope
                    bends[slots[j], k] += weights[j] * weights[j] * bend


@compiled
def _settle_viewer(
    scores: Array,
    came: Array,
    counts_for: Array,
    first: int,
    end: int,
    k: int,
    spread: float,
    own: float,
) -> float:
    """The likeliest effect of a viewer's own: where its slope is zero (Newton's method within bounds)."""
    most = 0.0
    for i in range(first, end):
        if came[i, k] != 0.0:
            most += counts_for[i, k]
    low, high = -spread * most, spread * most
    own = min(max(own, low), high)
    for _ in range(_MOST):
        rest, bend = -own / spread, 1.0 / spread
        for i in range(first, end):
            if came[i, k] != 0.0:
                z = scores[i, k] + own
                p = logistic(z)
                rest += counts_for[i, k] * slope_of(z, came[i, k])
                bend += counts_for[i, k] * p * (1.0 - p)
        if abs(rest) < _NEAR:
            break
        if rest > 0.0:
            low = own
        else:
            high = own
        own += rest / bend
        if not low < own < high:
            own = 0.5 * (low + high)
    return own
