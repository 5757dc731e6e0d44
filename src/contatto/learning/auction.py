"""Kernels of the auction: predictions, bids and the winner."""

import math
from typing import Final

import numpy as np

from contatto.kit.runtime import Array, compiled
from contatto.learning import columns as col
from contatto.learning.features import (
    add_own,
    add_shared,
    chance,
    crossed,
    doubling,
    since_step,
    slot_of,
    views_step,
    weigh_between,
)
from contatto.learning.learner import logistic, sloped, trust_in

NOBODY: Final = -2
"""Row of an ad or advertiser that no viewer has met; -1 marks empty cells of the tables."""


@compiled
def calibrated(p: float, factor: float) -> float:
    """Return a probability after multiplying its odds by a factor."""
    return p * factor / (1.0 - p + p * factor)


@compiled
def list_viewed(
    viewer: int, now_s: float, recent: Array, shown: Array, weekly: Array, shown_at: Array, contacts: Array,
    ads: Array, groups: Array, viewed: Array, met: Array,
) -> int:  # fmt: skip
    """List a viewer's recent ads, see `M_AD`; return their number.

    Advertisers with recent ads or conversations of the viewer get a mark in ``met``.
    """
    n = 0
    for k in range(col.RECENT_ADS):
        ad = recent[viewer, k]
        if ad < 0 or ad >= ads.shape[0]:
            continue
        passed, group = now_s - shown_at[viewer, k], ads[ad, col.A_GROUP]
        viewed[n, col.M_AD], viewed[n, col.M_GROUP] = ad, group
        viewed[n, col.M_ADVERTISER] = groups[group, col.G_ADVERTISER]
        met[int(groups[group, col.G_ADVERTISER])] = 1
        viewed[n, col.M_DAY] = abs(shown[viewer, k]) * math.pow(0.5, passed / col.DAY_S)
        viewed[n, col.M_WEEK] = weekly[viewer, k] * math.pow(0.5, passed / (7.0 * col.DAY_S))
        viewed[n, col.M_SINCE] = passed
        viewed[n, col.M_CLICKED] = 1.0 if shown[viewer, k] < 0.0 else 0.0
        n += 1
    for k in range(col.KNOWN_ADVERTISERS):
        if 0 <= contacts[k] < met.shape[0]:
            met[contacts[k]] = 1
    return n


@compiled
def fill_between(
    ad: int, ad_hash: np.uint64, group: int, advertiser: int, viewed: Array, count: int, contacts: Array,
    flags: Array, now_s: float, offset_s: float, names: Array, into: Array,
) -> None:  # fmt: skip
    """Hash the interactions of a viewer and an ad before this view into ``into``; see `list_viewed`."""
    for b in range(col.BETWEEN):
        into[b] = names[b, 0]
    of_group, of_advertiser = 0.0, 0.0
    for k in range(count):
        if viewed[k, col.M_ADVERTISER] != advertiser:
            continue
        of_advertiser += viewed[k, col.M_WEEK]
        if viewed[k, col.M_GROUP] != group:
            continue
        of_group += viewed[k, col.M_WEEK]
        if viewed[k, col.M_AD] == ad:
            into[col.B_SHOWN] = names[col.B_SHOWN, doubling(viewed[k, col.M_DAY], 9)]
            into[col.B_SINCE] = names[col.B_SINCE, 1 + since_step(viewed[k, col.M_SINCE])]
            week = views_step(viewed[k, col.M_WEEK])
            into[col.B_WEEK] = names[col.B_WEEK, week]
            into[col.B_WEEK_OF_AD] = crossed(names[col.B_WEEK_OF_AD, week], ad_hash)
            if viewed[k, col.M_CLICKED] != 0.0:
                into[col.B_CLICKED] = names[col.B_CLICKED, 1]
    into[col.B_GROUP] = names[col.B_GROUP, views_step(of_group)]
    into[col.B_ADVERTISER] = names[col.B_ADVERTISER, views_step(of_advertiser)]
    for k in range(col.KNOWN_ADVERTISERS):
        if contacts[k] == advertiser:
            into[col.B_TALKED] = names[col.B_TALKED, flags[k]]
            break
    local = int(now_s + offset_s)
    into[col.B_HOUR] = names[col.B_HOUR, local // 3600 % 24]
    into[col.B_WEEKDAY] = names[col.B_WEEKDAY, local // 86_400 % 7]


@compiled
def bin_of(multiplier: float) -> int:
    """Return the bin of a multiplier in the bid landscape of an ad group."""
    place = (math.log2(max(multiplier, 1.0)) - col.LOWEST_OCTAVE) * col.BINS_AN_OCTAVE
    return int(min(max(place, 0.0), col.BINS - 1.0))


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
    outcome[col.O_AD] = -1.0
    best_of[:, 0] = 0.0
    n = 0
    for ad in range(ad_total):
        group = ads[ad, col.A_GROUP]
        row = groups[group]
        if ads[ad, col.A_ON] == 0 or row[col.G_OPEN] == 0.0:
            continue
        if now_s < row[col.G_STARTS] or now_s >= row[col.G_ENDS]:
            continue
        if allowed[group, country] == 0 or row[col.G_AVAILABLE] < max(floor, 1.0):
            continue
        able[n] = ad
        n += 1
    add_own(
        hashes, values, kinds, count, shift, table, viewers, viewer, able, n, ad_hashes, base, raws
    )  # fmt: skip
    viewed, met = np.empty((col.RECENT_ADS, col.VIEWED)), np.zeros(groups.shape[0], np.uint8)
    viewed_ads = list_viewed(
        viewer, now_s, recent, shown, weekly, shown_at, contacts[viewer], ads, groups, viewed, met
    )  # fmt: skip
    met_hashes, unmet_hashes = between[0], between[1]
    weights, offset_s = np.empty((col.BETWEEN, col.HEADS)), math.nan
    for i in range(n):
        ad = able[i]
        group = ads[ad, col.A_GROUP]
        row, z = groups[group], raws[i]
        for k in range(ads[ad, col.A_FEATURES]):
            feature = ad_features[ad, k]
            if stamps[feature] != stamp:
                stamps[feature] = stamp
                used = count if crosses[feature] != 0 else 0
                add_shared(hashes, values, kinds, used, shift, table, feature_hashes[feature], sums[feature])
            for head in range(col.HEADS):
                z[head] += ad_values[ad, k] * sums[feature, head]
        if row[col.G_OFFSET] != offset_s:
            offset_s = row[col.G_OFFSET]
            fill_between(
                NOBODY, ad_hashes[ad], NOBODY, NOBODY, viewed, 0, contacts[viewer], flags[viewer], now_s,
                offset_s, names, unmet_hashes,
            )  # fmt: skip
            weigh_between(unmet_hashes, shift, table, weights)
        if met[int(row[col.G_ADVERTISER])] != 0:
            fill_between(
                ad, ad_hashes[ad], group, int(row[col.G_ADVERTISER]), viewed, viewed_ads, contacts[viewer],
                flags[viewer], now_s, offset_s, names, met_hashes,
            )  # fmt: skip
            for b in range(col.BETWEEN):
                slot = slot_of(met_hashes[b], shift)
                for head in range(col.HEADS):
                    z[head] += table[slot, head]
        else:
            for b in range(col.BETWEEN):
                for head in range(col.HEADS):
                    z[head] += weights[b, head]
        for head in range(col.HEADS):
            z[col.HEADS + head] = calibrated(sloped(z[head], head, settings), row[col.G_CALIBRATION + head])
            z[head] = logistic(z[head])
    trust = trust_in(viewers, viewer, settings[col.S_FARM_PRIOR])
    for i in range(n):
        group = ads[able[i], col.A_GROUP]
        row, z = groups[group], raws[i]
        is_lead = row[col.G_GOAL] == 0.0
        genuine = 1.0 - z[col.HEADS + col.SPAM]
        score = trust * z[col.HEADS + col.CLICK] * z[col.HEADS + col.CONVERSATION]
        if is_lead:
            score *= z[col.HEADS + col.LEAD] * (1.0 - settings[col.S_BAD_WEIGHT] * z[col.HEADS + col.BAD])
            score *= math.pow(genuine, settings[col.S_SPAM_POWER])
        else:
            score *= genuine
        if settings[col.S_RANDOM] != 0.0:  # the random arm scores all ads alike
            score = 0.001
        z[col.R_SCORE] = score
        offers[i] = math.floor(min(row[col.G_MULTIPLIER] * score * 1000.0, row[col.G_AVAILABLE]))
        if score > best_of[group, 0]:
            best_of[group, 0] = score
            best_of[group, 1] = offers[i]
    _survey(n, able, ads, groups, floor, best_of, prices, counts)
    winner = _draw(n, offers, floor, settings, seed, number, outcome)
    if winner < 0:
        return
    group = ads[able[winner], col.A_GROUP]
    second = 0.0
    for i in range(n):
        if ads[able[i], col.A_GROUP] != group and offers[i] > second:
            second = offers[i]
    ad = able[winner]
    row, z = groups[group], raws[winner]
    fill_between(
        ad, ad_hashes[ad], group, int(row[col.G_ADVERTISER]), viewed, viewed_ads, contacts[viewer],
        flags[viewer], now_s, row[col.G_OFFSET], names, chosen_between,
    )  # fmt: skip
    outcome[col.O_AD] = ad
    outcome[col.O_OFFER] = offers[winner]
    outcome[col.O_PRICE] = min(offers[winner], max(floor, second))
    outcome[col.O_SCORE] = z[col.R_SCORE]
    for head in range(col.HEADS):
        outcome[col.O_RAW + head] = z[head]
        outcome[col.O_P + head] = z[col.HEADS + head]


@compiled
def _survey(
    n: int, able: Array, ads: Array, groups: Array, floor: float, best_of: Array, prices: Array, counts: Array
) -> None:
    """Add this request to the bid landscape of each ad group: its price, by the lowest winning multiplier."""
    first, second, first_group = 0.0, 0.0, -1
    for i in range(n):
        group = ads[able[i], col.A_GROUP]
        if best_of[group, 1] > first:
            if first_group != group:
                second = first
            first, first_group = best_of[group, 1], group
        elif group != first_group and best_of[group, 1] > second:
            second = best_of[group, 1]
    for i in range(n):
        group = ads[able[i], col.A_GROUP]
        score = best_of[group, 0]
        if score <= 0.0:
            continue
        price = max(floor, second if group == first_group else first, 1.0)
        place = bin_of(price / (1000.0 * score))
        prices[group, place] += price
        counts[group, place] += 1.0
        groups[group, col.G_REQUESTS] += 1.0
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
        outcome[col.O_PROPENSITY] = 1.0
        return -1
    temperature = settings[col.S_TEMPERATURE]
    explore = 1.0 if settings[col.S_RANDOM] != 0.0 else settings[col.S_EXPLORE]
    nearness = np.empty(n)
    total = 0.0
    for i in range(n):
        if offers[i] >= floor and offers[i] >= 1.0:
            nearness[i] = math.pow(offers[i] / best, 1.0 / temperature)
            total += nearness[i]
    remaining = chance(seed, number)
    last = -1
    for i in range(n):
        if offers[i] >= floor and offers[i] >= 1.0:
            share = (1.0 - explore) * nearness[i] / total + explore / able
            last = i
            outcome[col.O_PROPENSITY] = share
            remaining -= share
            if remaining < 0.0:
                break
    return last
