"""Features: the one place that says which weights speak for an ad at a request, serving and learning alike.

A request brings hashed features (``context``); the viewer's history adds its own, as it was at that moment.
A feature of an ad that another ad shares carries what was learned over to a new ad.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from contatto.delivery.rules.columns import (
    ASKED,
    BIAS,
    CLICK,
    CONVERSATION,
    COUNTED,
    DAY_S,
    F_AD,
    F_AD_FEATURE,
    F_ASKED,
    F_ASKED_AD,
    F_ASKED_FEATURE,
    F_BETWEEN,
    F_COUNTED,
    F_STACKED,
    F_TIMED,
    HEADS,
    R_FIT,
    STACKED,
    V_ASKED_AT,
    V_CLICKS,
    V_CONVERSATIONS,
    V_DECAYED_AT,
    V_EFFECT,
    V_FARM,
    V_LEADS,
    V_SPAM,
    V_VARIANCE,
    V_VIEWS,
)
from contatto.delivery.rules.hashing import crossed, slot_beside, slot_of
from contatto.kit.kernels import Array, compiled

_BIAS_HASH = np.uint64(0x5851F42D4C957F2D)
_COUNTED_HASH = np.uint64(0xD6E8FEB86659FD93)
_STACKED_HASH = np.uint64(0xA0761D6478BD642F)
_AT_ONCE: Final = 64
"""Ads whose sums are made together: so many stay in the nearest memory of a core."""


@compiled
def doubling(value: float, most: int) -> int:
    """0 for (almost) nothing, then one more for each doubling."""
    step, edge = 0, 0.4
    while step < most and value >= edge:
        step += 1
        edge *= 2.0
    return step


@compiled
def views_step(count: float) -> int:
    """Views as a step: one by one up to five, then by doubling."""
    if count < 5.5:
        return int(count + 0.5)
    return 6 if count < 8.0 else (7 if count < 16.0 else 8)


@compiled
def since_step(seconds: float) -> int:
    """Return how long ago, in steps: a minute, ten, an hour, six, a day, three days, ten, longer."""
    if seconds < 60.0:
        return 0
    if seconds < 600.0:
        return 1
    if seconds < 3_600.0:
        return 2
    if seconds < 21_600.0:
        return 3
    if seconds < 86_400.0:
        return 4
    if seconds < 259_200.0:
        return 5
    return 6 if seconds < 864_000.0 else 7


@compiled
def fade_viewer(viewers: Array, viewer: int, now_s: float) -> None:
    """Bring the viewer's counters down to now: views halve in a day, what is rare in two weeks."""
    passed = now_s - viewers[viewer, V_DECAYED_AT]
    if passed > 0.0:
        viewers[viewer, V_VIEWS] *= math.pow(0.5, passed / DAY_S)
        slow = math.pow(0.5, passed / (14.0 * DAY_S))
        for column in range(V_CLICKS, V_SPAM + 1):
            viewers[viewer, column] *= slow
        viewers[viewer, V_FARM] *= slow
        viewers[viewer, V_DECAYED_AT] = now_s


@compiled
def _counted(field: int, value: int) -> np.uint64:
    return (_COUNTED_HASH ^ np.uint64(field * 1_000 + value)) * np.uint64(0xBF58476D1CE4E5B9)


@compiled
def describe_viewer(
    viewers: Array,
    viewer: int,
    now_s: float,
    spread: Array,
    hashes: Array,
    values: Array,
    kinds: Array,
    count: int,
) -> int:
    """Add what the viewer did before to the features of a request.

    Args:
        viewers: the table of viewers.
        viewer: the row.
        now_s: the time of the request.
        spread: the variance of viewers' effects, by head.
        hashes: names of features; filled from ``count`` on.
        values: their values.
        kinds: their kinds.
        count: how many there are already.

    Returns:
        How many there are now.
    """
    row = viewers[viewer]
    steps = (
        doubling(row[V_VIEWS], 8),
        since_step(now_s - row[V_ASKED_AT]),
        doubling(row[V_CLICKS], 6),
        doubling(row[V_CONVERSATIONS], 5),
        doubling(row[V_LEADS], 3),
        doubling(row[V_SPAM], 4),
    )
    for field in range(6):
        hashes[count] = _counted(field, steps[field])
        values[count] = 1.0
        kinds[count] = COUNTED
        count += 1
    for head in range(HEADS - 1):
        at = row[V_EFFECT + head] / math.sqrt(spread[head]) * 2.0 + 4.0
        at = min(max(at, 0.0), 8.0)
        low = min(int(at), 7)
        for knot in range(2):
            weight = at - low if knot == 1 else 1.0 - (at - low)
            hashes[count] = _counted(10 + head, low + knot)
            values[count] = weight
            kinds[count] = COUNTED
            count += 1
    return count


@compiled
def list_features(
    hashes: Array,
    values: Array,
    kinds: Array,
    count: int,
    ad: int,
    ad_hash: np.uint64,
    ad_features: Array,
    ad_values: Array,
    ad_count: int,
    feature_hashes: Array,
    crosses: Array,
    between: Array,
    shift: np.uint64,
    slots: Array,
    weights: Array,
    families: Array,
) -> int:
    """Every weight that speaks for an ad at a request: its slot, its value and its family.

    Returns:
        How many there are.
    """  # fmt: skip
    n = 0
    slots[n], weights[n], families[n] = slot_of(_BIAS_HASH, shift), 1.0, BIAS
    n += 1
    for i in range(count):
        kind = kinds[i]
        slots[n], weights[n] = slot_of(hashes[i], shift), values[i]
        families[n] = F_ASKED if kind == ASKED else (F_COUNTED if kind == COUNTED else F_TIMED)
        n += 1
        if kind == ASKED:
            slots[n], weights[n] = slot_beside(hashes[i], ad, shift), values[i]
            families[n] = F_ASKED_AD
            n += 1
    slots[n], weights[n], families[n] = slot_of(ad_hash, shift), 1.0, F_AD
    n += 1
    for k in range(ad_count):
        feature = ad_features[k]
        named = feature_hashes[feature]
        slots[n], weights[n], families[n] = slot_of(named, shift), ad_values[k], F_AD_FEATURE
        n += 1
        if crosses[feature] == 0:
            continue
        for i in range(count):
            if kinds[i] == ASKED:
                slots[n], weights[n] = slot_of(crossed(hashes[i], named), shift), values[i] * ad_values[k]
                families[n] = F_ASKED_FEATURE
                n += 1
    for b in range(between.shape[0]):
        slots[n], weights[n], families[n] = slot_of(between[b], shift), 1.0, F_BETWEEN
        n += 1
    return n


@compiled
def bounded(score: float) -> float:
    """A score that no head after it takes for more than three."""
    return float(min(max(score, -3.0), 3.0))


@compiled
def stacked(p: float) -> float:
    """How far an estimate is from the usual, for the questions that come after it: as a score, bounded."""
    return bounded(math.log(p / (1.0 - p)) + 2.5)


def said_by(raw: Sequence[float]) -> tuple[float, float, float]:
    """What earlier heads say to later ones (see `K_CLICK`), by what was estimated when the ad was chosen."""
    fit = raw[HEADS] if len(raw) > HEADS else 0.0
    return stacked(raw[CLICK]), bounded(fit), stacked(raw[CONVERSATION])


@compiled
def count_stacked(head: int) -> int:
    """How many weights earlier heads have in a head: two in a conversation, three in those after it."""
    return min(head + 1, STACKED) if head > CLICK else 0


@compiled
def stack_slot(before: int, shift: np.uint64) -> int:
    """The weight with which what a head estimated (see `K_CLICK`) speaks for the heads after it."""
    return slot_of(_STACKED_HASH ^ np.uint64(before * 7_919), shift)


@compiled
def list_stacked(
    stack: Array, head: int, count: int, shift: np.uint64, slots: Array, weights: Array, families: Array
) -> int:
    """Add what the heads before this one estimated.

    Returns:
        How many weights there are now.
    """
    for before in range(count_stacked(head)):
        slots[count], weights[count] = stack_slot(before, shift), stack[before]
        families[count] = F_STACKED
        count += 1
    return count


@compiled
def sum_fit(table: Array, slots: Array, weights: Array, families: Array, count: int) -> float:
    """What lies between what a request says and an ad in the score of a click."""
    fit = 0.0
    for j in range(count):
        if families[j] == F_ASKED_AD or families[j] == F_ASKED_FEATURE:
            fit += weights[j] * table[slots[j], CLICK]
    return fit


@compiled
def add_shared(
    hashes: Array,
    values: Array,
    kinds: Array,
    count: int,
    shift: np.uint64,
    table: Array,
    named: np.uint64,
    into: Array,
) -> None:
    """The part of all heads' scores that a feature of ads brings to this request, its own weight included.

    Behind these stands how well the feature fits the request: the score of a click without that weight.
    """
    slot = slot_of(named, shift)
    for head in range(HEADS):
        into[head] = table[slot, head]
    own = into[CLICK]
    for i in range(count):
        if kinds[i] == ASKED:
            slot = slot_of(crossed(hashes[i], named), shift)
            for head in range(HEADS):
                into[head] += values[i] * table[slot, head]
    into[HEADS] = into[CLICK] - own


@compiled
def add_base(
    hashes: Array,
    values: Array,
    kinds: Array,
    count: int,
    shift: np.uint64,
    table: Array,
    viewers: Array,
    viewer: int,
    into: Array,
) -> None:
    """The part of all heads' scores that does not depend on the ad."""
    slot = slot_of(_BIAS_HASH, shift)
    for head in range(HEADS):
        into[head] = table[slot, head] + viewers[viewer, V_EFFECT + head]
    for i in range(count):
        slot = slot_of(hashes[i], shift)
        for head in range(HEADS):
            into[head] += values[i] * table[slot, head]


@compiled
def add_own(
    hashes: Array,
    values: Array,
    kinds: Array,
    count: int,
    shift: np.uint64,
    table: Array,
    able: Array,
    total: int,
    ad_hashes: Array,
    base: Array,
    into: Array,
) -> None:
    """What is each ad's own in all heads' scores, on top of their base: its weight, its crosses.

    Feature by feature, as the crosses of one feature with all ads lie side by side in the table. For each ad
    the sum is made in the order of features, so it is the same number as if it were made ad by ad.
    """
    for i in range(total):
        slot = slot_of(ad_hashes[able[i]], shift)
        for head in range(HEADS):
            into[i, head] = base[head] + table[slot, head]
        into[i, R_FIT] = -into[i, CLICK]
    last = (np.int64(1) << (np.int64(64) - np.int64(shift))) - 1
    for start in range(0, total, _AT_ONCE):
        end = min(start + _AT_ONCE, total)
        for k in range(count):
            if kinds[k] == ASKED:
                begin, value = slot_beside(hashes[k], 0, shift), values[k]
                for i in range(start, end):
                    slot = (begin + able[i]) & last
                    for head in range(HEADS):
                        into[i, head] += value * table[slot, head]
    for i in range(total):
        into[i, R_FIT] += into[i, CLICK]


@compiled
def add_between(between: Array, shift: np.uint64, table: Array, into: Array) -> None:
    """The part of all heads' scores that lies between the viewer and the ad: how often shown, the hour."""
    for b in range(between.shape[0]):
        slot = slot_of(between[b], shift)
        for head in range(HEADS):
            into[head] += table[slot, head]


@compiled
def weigh_between(between: Array, shift: np.uint64, table: Array, into: Array) -> None:
    """What `add_between` adds, part by part: for many ads with which a viewer has had the same to do."""
    for b in range(between.shape[0]):
        slot = slot_of(between[b], shift)
        for head in range(HEADS):
            into[b, head] = table[slot, head]


@compiled
def viewer_variance(viewers: Array, viewer: int, head: int, spread: Array) -> float:
    """How unsure the viewer's own effect is; a viewer of whom nothing is known has all of the spread."""
    known = viewers[viewer, V_VARIANCE + head]
    return float(known if known > 0.0 else spread[head])
