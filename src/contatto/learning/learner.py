"""Bayesian logistic regression over hashed features: online, and again over kept impressions."""

import math
from typing import Final

import numpy as np

from contatto.kit.kernels import Array, compiled
from contatto.learning.columns import (
    A_FEATURES,
    CLICK,
    CONVERSATION,
    FAMILIES,
    FIRST_AGAIN,
    HEADS,
    HEADS_AGAIN,
    K_CLICK,
    K_CONVERSATION,
    K_FIT,
    LEAD,
    SPAM,
    V_EFFECT,
    V_FARM,
    V_VARIANCE,
)
from contatto.learning.features import (
    bounded,
    chance,
    list_features,
    list_stacked,
    stacked,
    sum_fit,
    viewer_variance,
)

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
def fill_residuals(
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


FEWEST: Final = 1.0 / 150.0
"""The share of clicks that farms make before anything was seen, and the least that is expected, …"""
MOST: Final = 0.05
"""… and the most."""
PRIOR_CLICKS: Final = 30.0
"""So many clicks that first share is worth."""
CLICKS: Final = 0.35
"""How likely a farm clicks on a view, …"""
SPAMS: Final = 0.9
"""… how likely a chat of it is found to be spam, …"""
LEADS: Final = 0.02
"""… and how likely a good contact comes of one."""
_LEAST, _MOST = -5.0, 12.0
ABOVE_USUAL: Final = 3.0
"""No person is expected to do a thing more than so many times as often as is usual."""
MOST_EXPECTED: Final = {CLICK: 0.15, SPAM: 0.5, LEAD: 0.9}
"""Nor more often than this: where one viewer makes most clicks of a market, these are not usual."""
SUSPECT: Final = 0.5
"""Nothing is learned from viewers whom it trusts less than this."""
_NEVER: Final = 0.01
"""No expectation is taken for surer than this."""
_OF_FARMS: Final = {CLICK: CLICKS, SPAM: SPAMS, LEAD: LEADS}


def evidence_of(head: int, expected: float, usual: float, *, came: bool) -> float:
    """What something that came, or did not, says for a farm: the logarithm of a likelihood ratio.

    Args:
        head: the question that it answers: click, spam or lead.
        expected: how likely it was thought to be.
        usual: how likely it is in the whole market.
        came: whether it did.
    """
    p = min(max(min(expected, ABOVE_USUAL * usual, MOST_EXPECTED[head]), _NEVER), 1.0 - _NEVER)
    of_farms = _OF_FARMS[head]
    return math.log(of_farms / p) if came else math.log((1.0 - of_farms) / (1.0 - p))


def add_evidence(row: Array, amount: float) -> None:
    """Let something speak for or against a farm, within bounds: nobody is beyond change."""
    row[V_FARM] = min(max(float(row[V_FARM]) + amount, _LEAST), _MOST)


def prior_of(farm_clicks: float, clicks: float) -> float:
    """The logarithm of the odds that a new viewer is a farm, by the clicks that farms make now.

    Farms come in bursts of new viewers, each of whom does little. Where many were found lately, little is
    needed to tell the next one.
    """
    share = (farm_clicks + FEWEST * PRIOR_CLICKS) / (clicks + PRIOR_CLICKS)
    share = min(max(share, FEWEST), MOST)
    return math.log(share / (1.0 - share))


FIRST_PRIOR: Final = prior_of(0.0, 0.0)
"""Before anything was seen."""


@compiled
def trust_in(viewers: Array, viewer: int, prior: float) -> float:
    """Return how likely a viewer is no farm; nobody (row 0) is trusted."""
    return 1.0 - logistic(prior + float(viewers[viewer, V_FARM])) if viewer > 0 else 1.0
