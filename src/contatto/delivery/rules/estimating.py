"""Kernels of the estimates of one ad at a request: what lies between it and the viewer, and what that makes.

The auction needs them for each ad, so what is the same for all ads is looked up once.
"""

import math
from typing import Final

import numpy as np

from contatto.delivery.rules.columns import (
    A_GROUP,
    B_CLICKED,
    B_HOUR,
    B_SHOWN,
    B_SINCE,
    B_TALKED,
    B_WEEKDAY,
    BETWEEN,
    CLICK,
    CONVERSATION,
    DAY_S,
    G_CALIBRATION,
    G_GOAL,
    HEADS,
    K_CLICK,
    K_CONVERSATION,
    K_FIT,
    KNOWN_ADVERTISERS,
    LEAD,
    R_FIT,
    RECENT_ADS,
)
from contatto.delivery.rules.describing import bounded, doubling, since_step, stacked
from contatto.delivery.rules.learner import logistic
from contatto.kit.kernels import Array, compiled

_AT_ONCE: Final = 128
"""Ads that are estimated side by side."""
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
def estimate(
    z: Array, start: int, end: int, group: Array, stacks: tuple[int, int, int], table: Array
) -> None:
    """Turn the scores of some heads into probabilities, before and after calibration.

    Args:
        z: scores by head; probabilities take their place, and calibrated ones come behind them.
        start: the first head.
        end: the head after the last.
        group: the row of the ad group.
        stacks: the slots with which earlier heads speak for later ones (see `stack_slot`).
        table: the weights.
    """
    to_click = stacked(z[CLICK]) if start > CLICK else 0.0
    to_talk = stacked(z[CONVERSATION]) if start > CONVERSATION else 0.0
    fit = bounded(z[R_FIT])
    for head in range(start, end):
        score = z[head]
        if head > CLICK:
            score += float(table[stacks[K_CLICK], head]) * to_click
            score += float(table[stacks[K_FIT], head]) * fit
        if head > CONVERSATION:
            score += float(table[stacks[K_CONVERSATION], head]) * to_talk
        z[head] = logistic(score)
        z[HEADS + head] = calibrated(z[head], group[G_CALIBRATION + head])
        if head == CLICK and end > CONVERSATION:
            to_click = stacked(z[head])
        elif head == CONVERSATION and end > LEAD:
            to_talk = stacked(z[head])


@compiled
def estimate_all(
    n: int,
    able: Array,
    ads: Array,
    groups: Array,
    stacks: tuple[int, int, int],
    table: Array,
    raws: Array,
) -> None:
    """Do for all ads that may serve what `estimate` does for one, as far as their scores need it.

    Head by head: the steps of one ad wait for each other, those of several do not. The numbers are the same.

    Args:
        n: how many ads.
        able: which they are.
        ads: the table of ads.
        groups: the table of ad groups.
        stacks: see `estimate`.
        table: the weights.
        raws: scores, by ad and head; see `estimate`.
    """
    to_click, fits, to_talk = np.empty(_AT_ONCE), np.empty(_AT_ONCE), np.empty(_AT_ONCE)
    rows, factors = np.empty(_AT_ONCE, np.int64), np.empty(_AT_ONCE)
    scores = np.empty(_AT_ONCE)
    for start in range(0, n, _AT_ONCE):
        total = min(_AT_ONCE, n - start)
        heads = LEAD
        for i in range(total):
            rows[i] = ads[able[start + i], A_GROUP]
            fits[i] = bounded(raws[start + i, R_FIT])
            if groups[rows[i], G_GOAL] == 0.0:
                heads = HEADS
        for head in range(heads):
            by_click, by_fit = float(table[stacks[K_CLICK], head]), float(table[stacks[K_FIT], head])
            by_talk = float(table[stacks[K_CONVERSATION], head])
            for i in range(total):
                scores[i] = raws[start + i, head]
                factors[i] = groups[rows[i], G_CALIBRATION + head]
            if head > CLICK:
                for i in range(total):
                    scores[i] = scores[i] + by_click * to_click[i] + by_fit * fits[i]
            if head > CONVERSATION:
                for i in range(total):
                    scores[i] += by_talk * to_talk[i]
            for i in range(total):
                scores[i] = logistic(scores[i])
            for i in range(total):
                factors[i] = calibrated(scores[i], factors[i])
            for i in range(total):
                if head < LEAD or groups[rows[i], G_GOAL] == 0.0:  # what others need is left as it was
                    raws[start + i, head] = scores[i]
                    raws[start + i, HEADS + head] = factors[i]
            if head == CLICK:
                for i in range(total):
                    to_click[i] = stacked(scores[i])
            elif head == CONVERSATION:
                for i in range(total):
                    to_talk[i] = stacked(scores[i])
