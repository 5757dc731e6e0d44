"""Reports of ad groups, and the candidates of a lookalike in order."""

import math
from typing import Any, Final

import numpy as np

from contatto.delivery.model.lines import GroupReport, Ranking, RankLine
from contatto.delivery.predict.groups import Group
from contatto.delivery.predict.market import Market
from contatto.delivery.predict.serving import describe_request
from contatto.delivery.rules.budgets import SECOND, UNITS
from contatto.delivery.rules.calibrating import LEAST_WORTH, boldness
from contatto.delivery.rules.columns import (
    A_FEATURES,
    A_GROUP,
    A_ON,
    CLICK,
    CONVERSATION,
    G_MULTIPLIER,
    HEADS,
    LEAD,
    S_VIEWER_MEAN,
    S_VIEWER_SLOPE,
    SPAM,
    V_EFFECT,
)
from contatto.delivery.rules.describing import list_features
from contatto.delivery.rules.learner import logistic, score_features, stack_scores

ENOUGH: Final = 30
"""Conversions after which an ad group has learned."""
LIMITED_S: Final = 7 * 86_400
"""An ad group that has not learned after this time is limited."""


def phase_of(group: Group, now: int) -> str:
    if group.earned() >= ENOUGH:
        return "learned"
    return "limited" if now - group.began_at > LIMITED_S * SECOND else "learning"


def report_group(market: Market, group: Group) -> GroupReport:
    multiplier = float(market.groups.table[group.number, G_MULTIPLIER])
    return GroupReport(
        group.line.adgroup_id, group.spent_ever // UNITS, group.views, group.clicks, group.conversations,
        group.spam, group.leads, round(group.predicted, 6), phase_of(group, market.now),
        multiplier if np.isfinite(multiplier) else 0.0,
    )  # fmt: skip


def rank_candidates(market: Market, line: RankLine, complain: Any) -> Ranking:
    """Return how likely each candidate becomes a good lead of an ad group; 0 where it serves no such country.

    What tells candidates apart is believed as far as it came true of viewers: see `fit_slope`.
    """
    groups, viewers = market.groups, market.viewers
    number = groups.by_id.get(line.adgroup_id)
    ads = [] if number is None else [
        ad for ad in range(len(groups.ad_ids)) if groups.ads[ad, A_GROUP] == number and groups.ads[ad, A_ON]
    ]  # fmt: skip
    scores: list[float] = []
    now_s = market.now / SECOND
    for candidate in line.candidates:
        country_name = candidate.country.upper()
        country = groups.country_of(country_name)
        if number is None or (country_name and not groups.allowed[number, country]):
            scores.append(0.0)
            continue
        row = viewers.by_id.get(candidate.viewer_id, 0)
        count = describe_request(market, row, country_name, candidate.features, now_s, complain)
        scores.append(max((_value(market, ad, row, count) for ad in ads), default=0.0))
    return Ranking(line.ask_id, [float(f"{score:.9g}") for score in scores])


def _value(market: Market, ad: int, row: int, count: int) -> float:
    groups, learned = market.groups, market.learned
    between = learned.names[:, 0].copy()
    total = list_features(
        market.hashes, market.values, market.kinds, count, ad, groups.ad_hashes[ad], groups.ad_features[ad],
        groups.ad_values[ad], int(groups.ads[ad, A_FEATURES]), groups.feature_hashes, groups.crosses, between,
        learned.shift, learned.slots, learned.weights, learned.families,
    )  # fmt: skip
    effects = market.viewers.table[row, V_EFFECT : V_EFFECT + HEADS]
    p = [0.0] * HEADS
    for head in range(HEADS):
        count = stack_scores(
            learned.table, learned.slots, learned.weights, learned.families, total, head, effects,
            learned.shift, learned.stack,
        )  # fmt: skip
        score = score_features(learned.table, learned.slots, learned.weights, count, head)
        p[head] = logistic(score + effects[head])
    worth = p[CLICK] * p[CONVERSATION] * p[LEAD]
    slope, mean = market.numbers[S_VIEWER_SLOPE], market.numbers[S_VIEWER_MEAN]
    bold = boldness(math.log(max(worth, LEAST_WORTH)), slope, mean)
    return float(worth * bold * (1.0 - p[SPAM]))
