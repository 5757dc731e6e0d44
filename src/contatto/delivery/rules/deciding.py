"""The auction of one request as a kernel: who may serve, what a view is worth to each, who wins.

Theory. An ad's offer is what a conversion is worth to its ad group (its budget multiplier, or its cost
target if that is less) times how likely a view becomes one. The best offer wins if it reaches the floor, and
pays the better of the floor and the best offer of another ad group, never more than its own. Near ties are
drawn by lot, and a small share of requests goes to any able ad, so that every able ad has a known chance.
"""

import math

import numpy as np

from contatto.delivery.rules.calibrating import LEAST_WORTH, boldness
from contatto.delivery.rules.columns import (
    A_FEATURES,
    A_GROUP,
    A_ON,
    BAD,
    BETWEEN,
    BINS,
    BINS_AN_OCTAVE,
    CLICK,
    CONVERSATION,
    G_ADVERTISER,
    G_ASKED,
    G_AVAILABLE,
    G_ENDS,
    G_GOAL,
    G_MULTIPLIER,
    G_OFFSET,
    G_OPEN,
    G_STARTS,
    HEADS,
    K_CLICK,
    K_CONVERSATION,
    K_FIT,
    LEAD,
    LOWEST_OCTAVE,
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
from contatto.delivery.rules.describing import (
    add_base,
    add_between,
    add_own,
    add_shared,
    stack_slot,
    weigh_between,
)
from contatto.delivery.rules.estimating import NOBODY, estimate_all, lies_between, list_viewed, note_met
from contatto.delivery.rules.farms import trust_in
from contatto.delivery.rules.hashing import chance
from contatto.kit.kernels import Array, compiled


@compiled
def bin_of(multiplier: float) -> int:
    """The bin of a multiplier in the landscape of an ad group."""
    place = (math.log2(max(multiplier, 1.0)) - LOWEST_OCTAVE) * BINS_AN_OCTAVE
    return int(min(max(place, 0.0), BINS - 1.0))


@compiled
def _list_able(
    now_s: float,
    floor: float,
    country: int,
    ads: Array,
    ad_total: int,
    groups: Array,
    allowed: Array,
    able: Array,
) -> int:
    """List the ads that may serve; how many these are comes back."""
    n = 0
    for ad in range(ad_total):
        if ads[ad, A_ON] == 0:
            continue
        group = ads[ad, A_GROUP]
        row = groups[group]
        if row[G_OPEN] == 0.0 or now_s < row[G_STARTS] or now_s >= row[G_ENDS]:
            continue
        if allowed[group, country] == 0 or row[G_AVAILABLE] < max(floor, 1.0):
            continue
        able[n] = ad
        n += 1
    return n


@compiled
def hold_auction(
    now_s: float,
    floor: float,
    country: int,
    viewer: int,
    count: int,
    hashes: Array,
    values: Array,
    kinds: Array,
    table: Array,
    shift: np.uint64,
    viewers: Array,
    recent: Array,
    shown: Array,
    weekly: Array,
    shown_at: Array,
    known: Array,
    flags: Array,
    ads: Array,
    ad_hashes: Array,
    ad_features: Array,
    ad_values: Array,
    ad_total: int,
    groups: Array,
    allowed: Array,
    feature_hashes: Array,
    crosses: Array,
    stamps: Array,
    sums: Array,
    stamp: int,
    names: Array,
    settings: Array,
    seed: np.uint64,
    number: np.uint64,
    prices: Array,
    counts: Array,
    able: Array,
    offers: Array,
    raws: Array,
    base: Array,
    between: Array,
    best_of: Array,
    chosen_between: Array,
    outcome: Array,
) -> None:
    """Choose the ad of a request; see the theory above. ``outcome`` is the answer, ``O_AD`` -1 for none.

    Args:
        now_s: the time.
        floor: the least price that wins.
        country: the number of the country.
        viewer: the row of the viewer.
        count: features of the request.
        hashes: their names.
        values: their values.
        kinds: their kinds.
        table: the weights.
        shift: see `slot_of`.
        viewers: the table of viewers.
        recent: the ads that each viewer was shown lately.
        shown: how often, by a half-life of a day; negative when the viewer clicked it.
        weekly: how often, by a half-life of a week.
        shown_at: when last.
        known: advertisers that each viewer talked to.
        flags: what became of it.
        ads: ad group, status and number of features of each ad.
        ad_hashes: names of ads.
        ad_features: features of each ad.
        ad_values: their values.
        ad_total: how many ads there are.
        groups: the table of ad groups.
        allowed: which countries each ad group serves.
        feature_hashes: names of features of ads.
        crosses: whether a feature of ads is crossed with those of requests.
        stamps: at which request the sums of a feature of ads were last made.
        sums: those sums.
        stamp: the mark of this request.
        names: hashes of what lies between viewer and ad.
        settings: see `columns`.
        seed: of chance.
        number: of the request.
        prices: landscape: what requests cost, by ad group and by the multiplier that wins them.
        counts: landscape: how many these are.
        able: scratch: ads that may serve.
        offers: scratch: their offers.
        raws: scratch: their probabilities, before and after calibration, and their scores.
        base: scratch.
        between: scratch.
        best_of: scratch: the best score of each ad group.
        chosen_between: what lies between the viewer and the chosen ad.
        outcome: the answer.
    """  # fmt: skip
    outcome[:] = 0.0
    outcome[O_AD] = -1.0
    best_of[:, 0] = 0.0
    add_base(hashes, values, kinds, count, shift, table, viewers, viewer, base)
    n = _list_able(now_s, floor, country, ads, ad_total, groups, allowed, able)
    add_own(hashes, values, kinds, count, shift, table, able, n, ad_hashes, base, raws)
    viewed = np.empty((RECENT_ADS, VIEWED))
    seen = list_viewed(viewer, now_s, recent, shown, weekly, shown_at, ads, groups, viewed)
    met = np.zeros(groups.shape[0], np.uint8)
    has_met = note_met(viewed, seen, known[viewer], met)
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
                NOBODY, ad_hashes[ad], NOBODY, NOBODY, viewed, 0, known[viewer], flags[viewer], now_s,
                offset_s, names, usual,
            )  # fmt: skip
            weigh_between(usual, shift, table, weights)
        if has_met and met[int(row[G_ADVERTISER])] != 0:
            lies_between(
                ad, ad_hashes[ad], group, int(row[G_ADVERTISER]), viewed, seen, known[viewer], flags[viewer],
                now_s, offset_s, names, spot,
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
    other = 0.0
    for i in range(n):
        if ads[able[i], A_GROUP] != group and offers[i] > other:
            other = offers[i]
    ad = able[winner]
    row, z = groups[group], raws[winner]
    lies_between(
        ad, ad_hashes[ad], group, int(row[G_ADVERTISER]), viewed, seen, known[viewer], flags[viewer], now_s,
        row[G_OFFSET], names, chosen_between,
    )  # fmt: skip
    outcome[O_AD] = ad
    outcome[O_OFFER] = offers[winner]
    outcome[O_PRICE] = min(offers[winner], max(floor, other))
    outcome[O_SCORE] = z[R_SCORE]
    outcome[O_FIT] = z[R_FIT]
    outcome[O_VIEWER] = worth
    for head in range(HEADS):
        outcome[O_RAW + head] = z[head]
        outcome[O_P + head] = z[HEADS + head]


@compiled
def _worth_of_viewer(n: int, able: Array, ads: Array, groups: Array, raws: Array, settings: Array) -> float:
    """What the viewer is worth to ads that look for leads: see `O_VIEWER`."""
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
    """Note for each ad group which multiplier would have won this request, and at what price."""
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
        groups[group, G_ASKED] += 1.0
        best_of[group, 0] = 0.0


@compiled
def _draw(
    n: int, offers: Array, floor: float, settings: Array, seed: np.uint64, number: np.uint64, outcome: Array
) -> int:
    """Draw the winner among the ads whose offers reach the floor, and tell its chance."""
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
    left = chance(seed, number)
    last = -1
    for i in range(n):
        if offers[i] >= floor and offers[i] >= 1.0:
            share = (1.0 - explore) * nearness[i] / total + explore / able
            last = i
            outcome[O_PROPENSITY] = share
            left -= share
            if left < 0.0:
                break
    return last


@compiled
def keep_snapshot(
    count: int,
    hashes: Array,
    values: Array,
    kinds: Array,
    between: Array,
    place: int,
    kept_hashes: Array,
    kept_values: Array,
    kept_kinds: Array,
    kept_between: Array,
) -> None:
    """Keep the features of a request as they were, for learning from what becomes of it."""
    for i in range(count):
        kept_hashes[place, i] = hashes[i]
        kept_values[place, i] = values[i]
        kept_kinds[place, i] = kinds[i]
    for b in range(BETWEEN):
        kept_between[place, b] = between[b]
