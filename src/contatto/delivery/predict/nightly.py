"""A model learned again elsewhere: what shards have to know, and its weights in a marketplace."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from contatto.delivery.engines.shards import Ads, Floats, Ints, Terms
from contatto.delivery.predict.learned import FIRST_MEANS, MEANS_AGAIN, VARIANCES_AGAIN
from contatto.delivery.predict.market import Market
from contatto.delivery.predict.relearning import list_kept, observe, tell_missed
from contatto.delivery.predict.waiting import EDGES_S
from contatto.delivery.rules.budgets import SECOND
from contatto.delivery.rules.columns import (
    A_GROUP,
    BIAS,
    CONVERSATION,
    F_VIEWER,
    FAMILIES,
    FIRST_AGAIN,
    HEADS_AGAIN,
    LEAD,
    S_FLOOR_VARIANCE,
    SPAM,
    V_EFFECT,
)

VIEWS_A_DAY: Final = 60.0
"""From this many views or …"""
CLICKS_A_DAY: Final = 4.0
"""… clicks of a day on, a viewer teaches the weights of others less and less."""


@dataclass(frozen=True)
class Weights:
    """The likeliest weights: slots, families, means and curvatures by head; and viewers' own effects."""

    slots: Ints
    families: Ints
    means: Floats
    bends: Floats
    effects: Mapping[str, Floats]


def terms_of(market: Market, as_of_ts: int) -> Terms:
    """What shards have to know: the ads, the variances expected, and how late labels come."""
    groups, learned = market.groups, market.learned
    ads = Ads(
        {int(ad): place for place, ad in enumerate(groups.ad_ids)},
        groups.ads[:, A_GROUP].astype(np.int64), groups.ads, groups.ad_hashes, groups.ad_features,
        groups.ad_values, groups.feature_hashes, groups.crosses,
    )  # fmt: skip
    waits = {CONVERSATION: market.talks, SPAM: market.spam, LEAD: market.leads}
    windows_s = [float(group.line.click_window_s or 0) for group in groups.groups]
    late = {head: waiting.shares_by_edge(windows_s) for head, waiting in waits.items()}
    return Terms(
        ads, as_of_ts, int(learned.shift), learned.spread[F_VIEWER], late, np.array(EDGES_S),
        int(market.click_wait * SECOND), VIEWS_A_DAY, CLICKS_A_DAY, len(learned.slots),
    )  # fmt: skip


def first_means(families: Ints) -> Floats:
    """What weights are before anything was seen, by head."""
    means = np.zeros((len(families), HEADS_AGAIN))
    means[families == BIAS] = FIRST_MEANS[MEANS_AGAIN]
    return means


def alike_of(market: Market, families: Ints) -> Floats:
    """The variances and covariances expected of weights, by head and head."""
    return market.learned.alike()[families]


def lay_over(market: Market, weights: Weights) -> None:
    """Put weights that were learned again in place of those of a marketplace, which goes on from them.

    How sure it is of a weight stays; one that it never saw is as sure as all observations make it. What each
    observation that it keeps has moved is set to what agrees with the new weights.
    """
    learned, viewers = market.learned, market.viewers
    slots, families = weights.slots, weights.families
    learned.table[slots, MEANS_AGAIN] = learned.again[slots] = weights.means
    fresh = learned.family_of[slots] == FAMILIES
    learned.family_of[slots[fresh]] = families[fresh]
    spread = learned.spread[families][:, MEANS_AGAIN]
    floor = float(market.numbers[S_FLOOR_VARIANCE])
    sure = np.maximum(1.0 / (1.0 / spread + weights.bends), floor * spread)
    variances = learned.table[slots, VARIANCES_AGAIN]
    learned.table[slots, VARIANCES_AGAIN] = np.where(variances == 0.0, sure, variances)
    for viewer, effects in weights.effects.items():
        row = viewers.by_id.get(viewer)
        if row is not None:
            viewers.table[row, V_EFFECT + FIRST_AGAIN : V_EFFECT + FIRST_AGAIN + HEADS_AGAIN] = effects
            viewers.again[row] = effects
    _hold_again(market)


def _hold_again(market: Market) -> None:
    kept = market.snapshots
    observed = observe(list_kept(market, len(market.records.shown)))
    if len(observed.samples):
        kept.held[observed.samples[:, 0]], _ = tell_missed(market, observed, np.ones_like(kept.shares))
