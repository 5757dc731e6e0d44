"""Kernels of the estimates of one ad at a request: what lies between it and the viewer, and what that makes.

The auction needs them for each ad, so what is the same for all ads is looked up once.
"""

import math
from typing import Final

import numpy as np

from contatto.delivery.rules.columns import (
    A_GROUP,
    B_ADVERTISER,
    B_CLICKED,
    B_GROUP,
    B_HOUR,
    B_SHOWN,
    B_SINCE,
    B_TALKED,
    B_WEEK,
    B_WEEK_OF_AD,
    B_WEEKDAY,
    BETWEEN,
    CLICK,
    CONVERSATION,
    DAY_S,
    G_ADVERTISER,
    G_CALIBRATION,
    HEADS,
    K_CLICK,
    K_CONVERSATION,
    K_FIT,
    KNOWN_ADVERTISERS,
    M_AD,
    M_ADVERTISER,
    M_CLICKED,
    M_DAY,
    M_GROUP,
    M_SINCE,
    M_WEEK,
    R_FIT,
    RECENT_ADS,
)
from contatto.delivery.rules.describing import bounded, doubling, since_step, stacked, views_step
from contatto.delivery.rules.hashing import crossed
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
def list_viewed(
    viewer: int,
    now_s: float,
    recent: Array,
    shown: Array,
    weekly: Array,
    shown_at: Array,
    ads: Array,
    groups: Array,
    viewed: Array,
) -> int:
    """List the ads that a viewer saw lately, see `M_AD`; how many these are comes back."""
    n = 0
    for k in range(RECENT_ADS):
        ad = recent[viewer, k]
        if ad < 0 or ad >= ads.shape[0]:
            continue
        passed, group = now_s - shown_at[viewer, k], ads[ad, A_GROUP]
        viewed[n, M_AD], viewed[n, M_GROUP] = ad, group
        viewed[n, M_ADVERTISER] = groups[group, G_ADVERTISER]
        viewed[n, M_DAY] = abs(shown[viewer, k]) * math.pow(0.5, passed / DAY_S)
        viewed[n, M_WEEK] = weekly[viewer, k] * math.pow(0.5, passed / (7.0 * DAY_S))
        viewed[n, M_SINCE] = passed
        viewed[n, M_CLICKED] = 1.0 if shown[viewer, k] < 0.0 else 0.0
        n += 1
    return n


@compiled
def lies_between(
    ad: int,
    ad_hash: np.uint64,
    group: int,
    advertiser: int,
    viewed: Array,
    count: int,
    known: Array,
    flags: Array,
    now_s: float,
    offset_s: float,
    names: Array,
    into: Array,
) -> None:
    """What a viewer and an ad have had to do with each other, as features, before this view.

    Args:
        ad: the ad.
        ad_hash: its name.
        group: its ad group.
        advertiser: whose it is.
        viewed: see `list_viewed`.
        count: how many rows of it count.
        known: the advertisers that the viewer talked to.
        flags: what became of it.
        now_s: the time.
        offset_s: how far the zone of the ad group is ahead of UTC.
        names: hashes by kind and value.
        into: filled with the features.
    """
    for b in range(BETWEEN):
        into[b] = names[b, 0]
    of_group, of_advertiser = 0.0, 0.0
    for k in range(count):
        if viewed[k, M_ADVERTISER] != advertiser:
            continue
        of_advertiser += viewed[k, M_WEEK]
        if viewed[k, M_GROUP] != group:
            continue
        of_group += viewed[k, M_WEEK]
        if viewed[k, M_AD] == ad:
            into[B_SHOWN] = names[B_SHOWN, doubling(viewed[k, M_DAY], 9)]
            into[B_SINCE] = names[B_SINCE, 1 + since_step(viewed[k, M_SINCE])]
            week = views_step(viewed[k, M_WEEK])
            into[B_WEEK] = names[B_WEEK, week]
            into[B_WEEK_OF_AD] = crossed(names[B_WEEK_OF_AD, week], ad_hash)
            if viewed[k, M_CLICKED] != 0.0:
                into[B_CLICKED] = names[B_CLICKED, 1]
    into[B_GROUP] = names[B_GROUP, views_step(of_group)]
    into[B_ADVERTISER] = names[B_ADVERTISER, views_step(of_advertiser)]
    for k in range(KNOWN_ADVERTISERS):
        if known[k] == advertiser:
            into[B_TALKED] = names[B_TALKED, flags[k]]
            break
    local = int(now_s + offset_s)
    into[B_HOUR] = names[B_HOUR, local // 3600 % 24]
    into[B_WEEKDAY] = names[B_WEEKDAY, local // 86_400 % 7]


@compiled
def note_met(viewed: Array, count: int, known: Array, met: Array) -> bool:
    """Mark the advertisers whose ads a viewer saw lately or whom the viewer talked to; False where none."""
    is_any = False
    for k in range(count):
        met[int(viewed[k, M_ADVERTISER])] = 1
        is_any = True
    for k in range(KNOWN_ADVERTISERS):
        if 0 <= known[k] < met.shape[0]:
            met[known[k]] = 1
            is_any = True
    return is_any


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
    """Turn the scores of all ads that may serve into probabilities, before and after calibration.

    Head by head: the steps of one ad wait for each other, those of several do not.

    Args:
        n: how many ads.
        able: which they are.
        ads: the table of ads.
        groups: the table of ad groups.
        stacks: the slots with which earlier heads speak for later ones (see `stack_slot`).
        table: the weights.
        raws: scores, by ad and head; probabilities take their place, and calibrated ones come behind them.
    """
    to_click, fits, to_talk = np.empty(_AT_ONCE), np.empty(_AT_ONCE), np.empty(_AT_ONCE)
    rows = np.empty(_AT_ONCE, np.int64)
    scores = np.empty(_AT_ONCE)
    for start in range(0, n, _AT_ONCE):
        total = min(_AT_ONCE, n - start)
        for i in range(total):
            rows[i] = ads[able[start + i], A_GROUP]
            fits[i] = bounded(raws[start + i, R_FIT])
        for head in range(HEADS):
            by_click, by_fit = float(table[stacks[K_CLICK], head]), float(table[stacks[K_FIT], head])
            by_talk = float(table[stacks[K_CONVERSATION], head])
            for i in range(total):
                scores[i] = raws[start + i, head]
            if head > CLICK:
                for i in range(total):
                    scores[i] = scores[i] + by_click * to_click[i] + by_fit * fits[i]
            if head > CONVERSATION:
                for i in range(total):
                    scores[i] += by_talk * to_talk[i]
            for i in range(total):
                scores[i] = logistic(scores[i])
                raws[start + i, head] = scores[i]
            for i in range(total):
                raws[start + i, HEADS + head] = calibrated(scores[i], groups[rows[i], G_CALIBRATION + head])
            if head == CLICK:
                for i in range(total):
                    to_click[i] = stacked(scores[i])
            elif head == CONVERSATION:
                for i in range(total):
                    to_talk[i] = stacked(scores[i])
