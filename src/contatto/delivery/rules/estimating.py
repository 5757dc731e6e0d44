"""Kernels of the estimates of one ad at a request: what lies between it and the viewer, and what that makes.

The auction needs them for each ad, so what is the same for all ads is looked up once.
"""

import math
from typing import Final

from contatto.delivery.rules.columns import (
    B_CLICKED,
    B_HOUR,
    B_SHOWN,
    B_SINCE,
    B_TALKED,
    B_WEEKDAY,
    BETWEEN,
    DAY_S,
    G_CALIBRATION,
    HEADS,
    KNOWN_ADVERTISERS,
    LEAD,
    RECENT_ADS,
)
from contatto.delivery.rules.describing import doubling, since_step, stacked
from contatto.delivery.rules.learner import logistic
from contatto.kit.kernels import Array, compiled

NOBODY: Final = -2
"""An ad, and an advertiser, that no viewer ever met; -1 stands in the tables where there is none."""


@compiled
def calibrated(p: float, factor: float) -> float:
    """A probability whose odds are multiplied."""
    return p * factor / (1.0 - p + p * factor)


@compiled
def lies_between(
    ad: int,
    advertiser: int,
    viewer: int,
    now_s: float,
    offset_s: float,
    recent: Array,
    shown: Array,
    shown_at: Array,
    known: Array,
    flags: Array,
    names: Array,
    into: Array,
) -> None:
    """What a viewer and an ad have had to do with each other, as features, before this view."""
    for b in range(BETWEEN):
        into[b] = names[b, 0]
    for k in range(RECENT_ADS):
        if recent[viewer, k] == ad:
            passed = now_s - shown_at[viewer, k]
            step = doubling(float(abs(shown[viewer, k])) * math.pow(0.5, passed / DAY_S), 9)
            into[B_SHOWN] = names[B_SHOWN, step]
            into[B_SINCE] = names[B_SINCE, 1 + since_step(passed)]
            if shown[viewer, k] < 0.0:
                into[B_CLICKED] = names[B_CLICKED, 1]
            break
    for k in range(KNOWN_ADVERTISERS):
        if known[viewer, k] == advertiser:
            into[B_TALKED] = names[B_TALKED, flags[viewer, k]]
            break
    local = int(now_s + offset_s)
    into[B_HOUR] = names[B_HOUR, local // 3600 % 24]
    into[B_WEEKDAY] = names[B_WEEKDAY, local // 86_400 % 7]


@compiled
def note_met(viewer: int, recent: Array, known: Array, met: Array) -> bool:
    """Mark the ads that a viewer was shown lately, and say whether the viewer talked to any advertiser."""
    for k in range(RECENT_ADS):
        ad = recent[viewer, k]
        if 0 <= ad < met.shape[0]:
            met[ad] = 1
    talked = False
    for k in range(KNOWN_ADVERTISERS):
        talked = talked or known[viewer, k] >= 0
    return talked


@compiled
def estimate(z: Array, start: int, end: int, group: Array, first: int, second: int, table: Array) -> None:
    """Turn the scores of some heads into probabilities, before and after calibration.

    Args:
        z: scores by head; probabilities take their place, and calibrated ones come behind them.
        start: the first head.
        end: the head after the last.
        group: the row of the ad group.
        first: the slot with which the first head's estimate speaks for those after it.
        second: that of the second.
        table: the weights.
    """
    to_first = stacked(z[0]) if start > 0 else 0.0
    to_second = stacked(z[1]) if start > 1 else 0.0
    for head in range(start, end):
        score = z[head]
        if head > 0:
            score += float(table[first, head]) * to_first
        if head > 1:
            score += float(table[second, head]) * to_second
        z[head] = logistic(score)
        z[HEADS + head] = calibrated(z[head], group[G_CALIBRATION + head])
        if head == 0 and end > 1:
            to_first = stacked(z[0])
        elif head == 1 and end > LEAD:
            to_second = stacked(z[1])
