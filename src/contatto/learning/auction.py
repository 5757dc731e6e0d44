"""Kernels of the auction: predictions, bids and the winner."""

import math
from typing import Final

import numpy as np

from contatto.kit.runtime import Array, compiled
from contatto.learning.columns import (
    A_FEATURES,
    A_GROUP,
    A_ON,
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
    BAD,
    BETWEEN,
    BINS,
    BINS_AN_OCTAVE,
    CLICK,
    CONVERSATION,
    DAY_S,
    G_ADVERTISER,
    G_AVAILABLE,
    G_CALIBRATION,
    G_ENDS,
    G_GOAL,
    G_MULTIPLIER,
    G_OFFSET,
    G_OPEN,
    G_REQUESTS,
    G_STARTS,
    HEADS,
    K_CLICK,
    K_CONVERSATION,
    K_FIT,
    KNOWN_ADVERTISERS,
    LEAD,
    LOWEST_OCTAVE,
    M_AD,
    M_ADVERTISER,
    M_CLICKED,
    M_DAY,
    M_GROUP,
    M_SINCE,
    M_WEEK,
    O_AD,
    O_FIT,
    O_OFFER,
    O_P,
    O_PRICE,
    O_PROPENSITY,
    O_RAW,
    O_SCORE,
    O_VIEWER,
    R_FIT,
    R_SCORE,
    RECENT_ADS,
    S_BAD_WEIGHT,
    S_EXPLORE,
    S_FARM_PRIOR,
    S_RANDOM,
    S_SPAM_POWER,
    S_TEMPERATURE,
    S_VIEWER,
    S_VIEWER_MEAN,
    S_VIEWER_SLOPE,
    SPAM,
    VIEWED,
)
from contatto.learning.features import (
    add_base,
    add_between,
    add_own,
    add_shared,
    bounded,
    chance,
    crossed,
    doubling,
    since_step,
    stack_slot,
    stacked,
    views_step,
    weigh_between,
)
from contatto.learning.impressions import LEAST_WORTH, boldness
from contatto.learning.learner import logistic, trust_in

_AT_ONCE: Final = 128
"""Ads per block of predictions."""
NOBODY: Final = -2
"""Row of an ad or advertiser that no viewer has met; -1 marks empty cells of the tables."""


@compiled
def calibrated(p: float, factor: float) -> float:
    """Return a probability after multiplying its odds by a factor."""
    return p * factor / (1.0 - p + p * factor)


@compiled
def list_viewed(
    viewer: int, now_s: float, recent: Array, shown: Array, weekly: Array, shown_at: Array, ads: Array,
    groups: Array, viewed: Array,
) -> int:  # fmt: skip
    """List a viewer's recent ads, see `M_AD`; return their number."""
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
    ad: int, ad_hash: np.uint64, group: int, advertiser: int, viewed: Array, count: int, contacts: Array,
    flags: Array, now_s: float, offset_s: float, names: Array, into: Array,
) -> None:  # fmt: skip
    """Fill the hashes of the interactions of a viewer and an ad before this view; see `list_viewed`."""
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
        if contacts[k] == advertiser:
            into[B_TALKED] = names[B_TALKED, flags[k]]
            break
    local = int(now_s + offset_s)
    into[B_HOUR] = names[B_HOUR, local // 3600 % 24]
    into[B_WEEKDAY] = names[B_WEEKDAY, local // 86_400 % 7]


@compiled
def mark_met(viewed: Array, count: int, contacts: Array, met: Array) -> bool:
    """Mark advertisers with recent ads or conversations of a viewer; return False without any."""
    is_any = False
    for k in range(count):
        met[int(viewed[k, M_ADVERTISER])] = 1
        is_any = True
    for k in range(KNOWN_ADVERTISERS):
        if 0 <= contacts[k] < met.shape[0]:
            met[contacts[k]] = 1
            is_any = True
    return is_any


@compiled
def estimate_all(
    n: int, able: Array, ads: Array, groups: Array, stacks: tuple[int, int, int], table: Array, raws: Array
) -> None:
    """Turn scores of eligible ads into probabilities, raw and calibrated, in place.

    The loops run head by head over a block of ads, so that the processor can work on several ads at once.
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


@compiled
def bin_of(multiplier: float) -> int:
    """Return the bin of a multiplier in the landscape of an ad group."""
    place = (math.log2(max(multiplier, 1.0)) - LOWEST_OCTAVE) * BINS_AN_OCTAVE
    return int(min(max(place, 0.0), BINS - 1.0))


@compiled
def hold_auction(
    now_s: float, floor: float, country: int, viewer: int, count: int, hashes: Array, values: Array,
    kinds: Array, table: Array, shift: np.uint64, viewers: Array, recent: Array, shown: Array,
    weekly: Array, shown_at: Array, contacts: Array, flags: Array, ads: Array, ad_hashes: Array,
    ad_features: Array, ad_values: Array, ad_total: int, groups: Array, allowed: Array,
    feature_hashes: Array, crosses: Array, stamps: Array, sums: Array, stamp: int, names: Array,
    settings: Array, seed: np.uint64, number: np.uint64, prices: Array, counts: Array, able: Array,
    offers: Array, raws: Array, base: Array, between: Array, best_of: Array, chosen_between: Array,
    outcome: Array,
) -> None:  # fmt: skip
    """Choose the ad of a request; ``outcome`` has -1 in ``O_AD`` without a winner.

    See `columns` for the names. ``stamps`` are the last requests at which the ``sums`` of ad features were
    made, ``stamp`` is the mark of this one. ``able``, ``offers`` and ``raws`` get the eligible ads, their
    bids and probabilities, ``chosen_between`` the interactions of viewer and winner. ``base``, ``between``
    and ``best_of`` are scratch. ``seed`` and ``number`` seed the draw.
    """
    outcome[:] = 0.0
    outcome[O_AD] = -1.0
    best_of[:, 0] = 0.0
    add_base(hashes, values, kinds, count, shift, table, viewers, viewer, base)
    n = 0
    for ad in range(ad_total):
        group = ads[ad, A_GROUP]
        row = groups[group]
        if ads[ad, A_ON] == 0 or row[G_OPEN] == 0.0 or now_s < row[G_STARTS] or now_s >= row[G_ENDS]:
            continue
        if allowed[group, country] == 0 or row[G_AVAILABLE] < max(floor, 1.0):
            continue
        able[n] = ad
        n += 1
    add_own(hashes, values, kinds, count, shift, table, able, n, ad_hashes, base, raws)
    viewed = np.empty((RECENT_ADS, VIEWED))
    viewed_ads = list_viewed(viewer, now_s, recent, shown, weekly, shown_at, ads, groups, viewed)
    met = np.zeros(groups.shape[0], np.uint8)
    has_met = mark_met(viewed, viewed_ads, contacts[viewer], met)
    stacks = (stack_slot(K_CLICK, shift), stack_slot(K_FIT, shift), stack_slot(K_CONVERSATION, shift))
    spot, usual = between[0], between[1]
    weights, offset_s = np.empty((BETWEEN, HEADS)), math.nan
    for i in range(n):
        ad = able[i]
        group = ads[ad, A_GROUP]
        row, z = groups[group], raws[i]
        for k in range(ads[ad, A_FEATURES]):
            feature = ad_features[ad, k]
            if stamps[feature] != stamp:
                stamps[feature] = stamp
                used = count if crosses[feature] != 0 else 0
                add_shared(hashes, values, kinds, used, shift, table, feature_hashes[feature], sums[feature])
            for head in range(HEADS):
                z[head] += ad_values[ad, k] * sums[feature, head]
            z[R_FIT] += ad_values[ad, k] * sums[feature, HEADS]
        if row[G_OFFSET] != offset_s:
            offset_s = row[G_OFFSET]
            lies_between(
                NOBODY, ad_hashes[ad], NOBODY, NOBODY, viewed, 0, contacts[viewer], flags[viewer], now_s,
                offset_s, names, usual,
            )  # fmt: skip
            weigh_between(usual, shift, table, weights)
        if has_met and met[int(row[G_ADVERTISER])] != 0:
            lies_between(
                ad, ad_hashes[ad], group, int(row[G_ADVERTISER]), viewed, viewed_ads, contacts[viewer],
                flags[viewer], now_s, offset_s, names, spot,
            )  # fmt: skip
            add_between(spot, shift, table, z)
        else:
            for b in range(BETWEEN):
                for head in range(HEADS):
                    z[head] += weights[b, head]
    estimate_all(n, able, ads, groups, stacks, table, raws)
    worth = _worth_of_viewer(n, able, ads, groups, raws, settings)
    bold = boldness(worth, settings[S_VIEWER_SLOPE], settings[S_VIEWER_MEAN])
    trust = trust_in(viewers, viewer, settings[S_FARM_PRIOR])
    for i in range(n):
        group = ads[able[i], A_GROUP]
        row, z = groups[group], raws[i]
        is_lead = row[G_GOAL] == 0.0
        genuine = 1.0 - z[HEADS + SPAM]
        score = trust * z[HEADS + CLICK] * z[HEADS + CONVERSATION]
        if is_lead:
            score *= bold * z[HEADS + LEAD] * (1.0 - settings[S_BAD_WEIGHT] * z[HEADS + BAD])
            score *= math.pow(genuine, settings[S_SPAM_POWER])
        else:
            score *= genuine
        if settings[S_RANDOM] != 0.0:
            score = 0.001
        z[R_SCORE] = score
        offers[i] = math.floor(min(row[G_MULTIPLIER] * score * 1000.0, row[G_AVAILABLE]))
        if score > best_of[group, 0]:
            best_of[group, 0] = score
            best_of[group, 1] = offers[i]
    _survey(n, able, ads, groups, floor, best_of, prices, counts)
    winner = _draw(n, offers, floor, settings, seed, number, outcome)
    if winner < 0:
        return
    group = ads[able[winner], A_GROUP]
    second = 0.0
    for i in range(n):
        if ads[able[i], A_GROUP] != group and offers[i] > second:
            second = offers[i]
    ad = able[winner]
    row, z = groups[group], raws[winner]
    lies_between(
        ad, ad_hashes[ad], group, int(row[G_ADVERTISER]), viewed, viewed_ads, contacts[viewer], flags[viewer],
        now_s, row[G_OFFSET], names, chosen_between,
    )  # fmt: skip
    outcome[O_AD] = ad
    outcome[O_OFFER] = offers[winner]
    outcome[O_PRICE] = min(offers[winner], max(floor, second))
    outcome[O_SCORE] = z[R_SCORE]
    outcome[O_FIT] = z[R_FIT]
    outcome[O_VIEWER] = worth
    for head in range(HEADS):
        outcome[O_RAW + head] = z[head]
        outcome[O_P + head] = z[HEADS + head]


@compiled
def _worth_of_viewer(n: int, able: Array, ads: Array, groups: Array, raws: Array, settings: Array) -> float:
    """Return the viewer's value for ads with the goal of leads (see `O_VIEWER`), or the given one."""
    if settings[S_VIEWER] != 0.0:
        return float(settings[S_VIEWER])
    total, many = 0.0, 0
    for i in range(n):
        if groups[ads[able[i], A_GROUP], G_GOAL] == 0.0:
            total += raws[i, HEADS + CLICK] * raws[i, HEADS + CONVERSATION] * raws[i, HEADS + LEAD]
            many += 1
    return math.log(max(total, LEAST_WORTH) / max(many, 1))


@compiled
def _survey(
    n: int, able: Array, ads: Array, groups: Array, floor: float, best_of: Array, prices: Array, counts: Array
) -> None:
    """Add this request to the landscape of each ad group: its price, by the lowest winning multiplier."""
    first, second, first_group = 0.0, 0.0, -1
    for i in range(n):
        group = ads[able[i], A_GROUP]
        if best_of[group, 1] > first:
            if first_group != group:
                second = first
            first, first_group = best_of[group, 1], group
        elif group != first_group and best_of[group, 1] > second:
            second = best_of[group, 1]
    for i in range(n):
        group = ads[able[i], A_GROUP]
        score = best_of[group, 0]
        if score <= 0.0:
            continue
        price = max(floor, second if group == first_group else first, 1.0)
        place = bin_of(price / (1000.0 * score))
        prices[group, place] += price
        counts[group, place] += 1.0
        groups[group, G_REQUESTS] += 1.0
        best_of[group, 0] = 0.0


@compiled
def _draw(
    n: int, offers: Array, floor: float, settings: Array, seed: np.uint64, number: np.uint64, outcome: Array
) -> int:
    """Draw the winner among bids at or above the reserve price, and set its propensity."""
    best, able = 0.0, 0
    for i in range(n):
        if offers[i] >= floor and offers[i] >= 1.0:
            able += 1
            best = max(best, offers[i])
    if able == 0:
        outcome[O_PROPENSITY] = 1.0
        return -1
    heat = settings[S_TEMPERATURE]
    explore = 1.0 if settings[S_RANDOM] != 0.0 else settings[S_EXPLORE]
    nearness = np.empty(n)
    total = 0.0
    for i in range(n):
        if offers[i] >= floor and offers[i] >= 1.0:
            nearness[i] = math.pow(offers[i] / best, 1.0 / heat)
            total += nearness[i]
    remaining = chance(seed, number)
    last = -1
    for i in range(n):
        if offers[i] >= floor and offers[i] >= 1.0:
            share = (1.0 - explore) * nearness[i] / total + explore / able
            last = i
            outcome[O_PROPENSITY] = share
            remaining -= share
            if remaining < 0.0:
                break
    return last


@compiled
def keep_snapshot(
    count: int, hashes: Array, values: Array, kinds: Array, between: Array, place: int,
    kept_hashes: Array, kept_values: Array, kept_kinds: Array, kept_between: Array,
) -> None:  # fmt: skip
    """Store a feature snapshot of a request for learning."""
    for i in range(count):
        kept_hashes[place, i] = hashes[i]
        kept_values[place, i] = values[i]
        kept_kinds[place, i] = kinds[i]
    for b in range(BETWEEN):
        kept_between[place, b] = between[b]
