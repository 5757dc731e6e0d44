"""Learning the rare questions again from all that is kept of them, each observation given all the others.

Theory. `learner` sees each observation once: what it made of an early one is never looked at again, and
weights that take part together each take what is due to one of them. Here the most likely weights of
conversation, lead and spam are found for all observations that are kept. Each holds an amount by which it
moves its weights: the slope of its likelihood, where all are moved (the dual of logistic regression with a
Gaussian prior). One after the other is moved to where it agrees with the rest. What an observation that is
dropped has moved stays moved, so nothing is forgotten at once.

The weights of one feature are expected to be alike in questions that are (see `Learned.alike`): what moves a
weight of one moves those of the others, by their covariance.

Source: Yu, Huang and Lin 2011 (dual coordinate descent for logistic regression); Shalev-Shwartz and
Zhang 2013 (its stochastic form); Bonilla, Chai and Williams 2007 (tasks that are alike, as a covariance).
"""

import math

import numpy as np

from contatto.delivery.rules.columns import A_FEATURES, FIRST_AGAIN, HEADS_AGAIN
from contatto.delivery.rules.describing import list_features, list_stacked
from contatto.delivery.rules.farms import SUSPECT, trust_in
from contatto.delivery.rules.hashing import chance
from contatto.delivery.rules.learner import logistic
from contatto.kit.kernels import Array, compiled

_HALVINGS = 14


@compiled
def slope_of(z: float, came: float) -> float:
    """The slope of the likelihood of an observation at a score.

    What may still come says less again of who was thought almost sure to come: it is late, it seems. Such a
    likelihood has two hills, and observations would jump from one to the other for ever. So from the point
    on where it would say less, what has not come says as much as there, and there is one hill.

    Args:
        z: the score.
        came: -1 for yes; else no so far, and which share of late labels would have come by now.
    """
    p = logistic(z)
    if came < 0.0:
        return 1.0 - p
    p = min(p, (1.0 - math.sqrt(1.0 - came)) / came)
    return -came * p * (1.0 - p) / (1.0 - p * came) if p < 1.0 else -1.0


@compiled
def settle(z: float, total: float, held: float, came: float) -> float:
    """The amount at which an observation agrees with all others.

    Args:
        z: its score, with the amount that it holds.
        total: by how much an amount of one moves the score.
        held: the amount that it holds.
        came: see `slope_of`.
    """
    low, high = (0.0, 1.0) if came < 0.0 else (-1.0, 0.0)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if slope_of(z + total * (middle - held), came) > middle:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@compiled
def shuffle(order: Array, seed: np.uint64) -> None:
    """Put numbers into an order by lot (Fisher and Yates)."""
    for last in range(order.shape[0] - 1, 0, -1):
        other = int(chance(seed, np.uint64(last)) * (last + 1))
        order[last], order[other] = order[other], order[last]


@compiled
def learn_again(
    order: Array,
    samples: Array,
    came: Array,
    kept_hashes: Array,
    kept_values: Array,
    kept_kinds: Array,
    kept_between: Array,
    kept_counts: Array,
    held: Array,
    stacks: Array,
    shares: Array,
    stands_for: Array,
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
    alike: Array,
    viewer_spread: Array,
    viewers: Array,
    farm_prior: float,
    means: Array,
    effects: Array,
) -> None:
    """Let each observation agree with all others, one after the other.

    Args:
        order: in which order.
        samples: place among those kept, ad and viewer of each.
        came: what is known of each (see `slope_of`), by head from ``FIRST_AGAIN`` on; 0 for nothing.
        kept_hashes: features as they were, by place.
        kept_values: their values.
        kept_kinds: their kinds.
        kept_between: what lay between viewer and ad.
        kept_counts: how many features.
        held: the amounts, by place and head.
        stacks: what earlier heads say to later ones (see `K_CLICK`), by place.
        shares: how much of an observation the shared weights may take, by place.
        stands_for: how many observations of the first head each is, by place.
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
        alike: the variances and covariances expected of weights, by family, head and head.
        viewer_spread: the variance of viewers' own effects, by head.
        viewers: the table of viewers; what one who is likelier a click farm has moved is taken back.
        farm_prior: see `trust_in`.
        means: the weights, by head.
        effects: the viewers' own effects, by head.
    """  # fmt: skip
    for i in order:
        place, ad, viewer = samples[i, 0], samples[i, 1], samples[i, 2]
        base = list_features(
            kept_hashes[place], kept_values[place], kept_kinds[place], int(kept_counts[place]), ad,
            ad_hashes[ad], ad_features[ad], ad_values[ad], int(ads[ad, A_FEATURES]), feature_hashes, crosses,
            kept_between[place], shift, slots, weights, families,
        )  # fmt: skip
        share, trusted = float(shares[place]), trust_in(viewers, viewer, farm_prior) > SUSPECT
        for k in range(HEADS_AGAIN):
            if came[i, k] == 0.0:
                continue
            head = FIRST_AGAIN + k
            count = list_stacked(stacks[place], head, base, shift, slots, weights, families)
            z, total = float(effects[viewer, k]), float(viewer_spread[head])
            for j in range(count):
                z += weights[j] * means[slots[j], k]
                total += weights[j] * weights[j] * alike[families[j], k, k] * share
            before = float(held[place, k])
            many = float(stands_for[place]) if k == 0 else 1.0
            amount = 0.0
            if trusted:
                amount = many * settle(z, total * many, before / many, float(came[i, k]))
            step = amount - before
            held[place, k] = amount
            effects[viewer, k] += viewer_spread[head] * step
            for j in range(count):
                slot, move, near = slots[j], weights[j] * step * share, alike[families[j], k]
                for other in range(HEADS_AGAIN):
                    means[slot, other] += move * near[other]


@compiled
def what_is_missed(
    samples: Array,
    came: Array,
    kept_hashes: Array,
    kept_values: Array,
    kept_kinds: Array,
    kept_between: Array,
    kept_counts: Array,
    stacks: Array,
    shares: Array,
    stands_for: Array,
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
    means: Array,
    effects: Array,
    missed: Array,
) -> None:
    """Tell what the weights miss of each observation.

    Args:
        samples: see `learn_again`.
        came: see `learn_again`.
        kept_hashes: see `learn_again`.
        kept_values: see `learn_again`.
        kept_kinds: see `learn_again`.
        kept_between: see `learn_again`.
        kept_counts: see `learn_again`.
        stacks: see `learn_again`.
        shares: see `learn_again`.
        stands_for: see `learn_again`.
        ads: see `learn_again`.
        ad_hashes: see `learn_again`.
        ad_features: see `learn_again`.
        ad_values: see `learn_again`.
        feature_hashes: see `learn_again`.
        crosses: see `learn_again`.
        shift: see `learn_again`.
        slots: see `learn_again`.
        weights: see `learn_again`.
        families: see `learn_again`.
        means: see `learn_again`.
        effects: see `learn_again`.
        missed: filled with the slopes of the likelihood, by observation and head; 0 where nothing is known.
    """  # fmt: skip
    for i in range(samples.shape[0]):
        place, ad, viewer = samples[i, 0], samples[i, 1], samples[i, 2]
        base = list_features(
            kept_hashes[place], kept_values[place], kept_kinds[place], int(kept_counts[place]), ad,
            ad_hashes[ad], ad_features[ad], ad_values[ad], int(ads[ad, A_FEATURES]), feature_hashes, crosses,
            kept_between[place], shift, slots, weights, families,
        )  # fmt: skip
        for k in range(HEADS_AGAIN):
            if came[i, k] == 0.0:
                continue
            count = list_stacked(stacks[place], FIRST_AGAIN + k, base, shift, slots, weights, families)
            z = float(effects[viewer, k])
            for j in range(count):
                z += weights[j] * means[slots[j], k]
            many = float(shares[place])
            if k == 0:
                many *= float(stands_for[place])
            missed[i, k] = many * slope_of(z, float(came[i, k]))
