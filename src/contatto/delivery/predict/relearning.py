"""Now and then all questions of views are learned again, from all that is kept of them."""

from collections.abc import Generator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contatto.delivery.predict.boldness import weigh_boldness
from contatto.delivery.predict.learned import MEANS_AGAIN
from contatto.delivery.predict.market import Market
from contatto.delivery.predict.records import Shown, Snapshots
from contatto.delivery.rules.budgets import SECOND
from contatto.delivery.rules.columns import (
    CLICK,
    CONVERSATION,
    F_VIEWER,
    FAMILIES,
    FIRST_AGAIN,
    HEADS,
    HEADS_AGAIN,
    LEAD,
    S_FARM_PRIOR,
    SPAM,
    V_EFFECT,
)
from contatto.delivery.rules.relearning import learn_again, shuffle, what_is_missed

type Numbers = NDArray[Any]

ROUNDS: Final = 2
"""So often each observation is gone through at a time; each time goes on from the one before."""
SLICE: Final = 400
"""So many observations are gone through at once."""
MOST: Final = 120_000
"""So many of the newest clicks, and of the views that are kept beside them, take part."""
FEW: Final = 20
"""Before so many clicks there is nothing to learn again."""
EVERY_S: Final = 6 * 3_600
"""So often all is learned again, …"""
MORE: Final = 1.3
"""… and when there are so many times the clicks of the time before: at first what is learned ages fast."""
_YES: Final = -1.0
_NO: Final = 1.0


def is_time_to_relearn(market: Market) -> bool:
    """Return whether enough time has passed, or enough has come."""
    is_old = market.now - market.relearned_at >= EVERY_S * SECOND
    return is_old or _count_clicks(market) >= max(MORE * market.clicks_then, FEW)


def _count_clicks(market: Market) -> int:
    return sum(group.clicks for group in market.groups.groups)


def relearn_market(market: Market) -> None:
    """Find the likeliest weights for all observations that are kept, and go on from these."""
    for _ in relearn_in_slices(market):
        pass


def relearn_in_slices(market: Market) -> Generator[None]:
    """Do what `relearn_market` does in slices of some milliseconds, so that no decision waits for it."""
    market.relearned_at, market.clicks_then = market.now, _count_clicks(market)
    kept = list_kept(market, MOST)
    yield
    weigh_boldness(market, kept)
    yield
    order = np.arange(len(kept))
    for turn in range(ROUNDS):
        shuffle(order, np.uint64(market.seed + turn))
        for start in range(0, len(order), SLICE):
            some = [kept[i] for i in order[start : start + SLICE].tolist()]
            observed = observe([shown for shown in some if shown.place >= 0])
            places, farm_prior = np.arange(len(observed.samples)), float(market.numbers[S_FARM_PRIOR])
            let_agree(market, observed, market.snapshots, places, farm_prior)
            yield
    learned, viewers = market.learned, market.viewers
    used = np.flatnonzero(learned.family_of != FAMILIES)
    learned.table[used, MEANS_AGAIN] = learned.again[used]
    viewers.table[:, V_EFFECT + FIRST_AGAIN : V_EFFECT + FIRST_AGAIN + HEADS_AGAIN] = viewers.again


def let_agree(
    market: Market, observed: "Observed", features: Snapshots, order: Numbers, farm_prior: float
) -> None:
    """Let observations agree with all others, one after the other in an order.

    ``farm_prior`` is the log-odds of a click farm before any evidence, see `farms`.
    """
    if not len(order):
        return
    learned, groups = market.learned, market.groups
    learn_again(
        order, observed.samples, observed.outcomes, features.hashes, features.values, features.kinds,
        features.between, features.counts, features.held, features.stacks, features.shares,
        features.stands_for, groups.ads, groups.ad_hashes, groups.ad_features, groups.ad_values,
        groups.feature_hashes, groups.crosses, learned.shift, learned.slots, learned.weights,
        learned.families, learned.alike(), learned.spread[F_VIEWER], market.viewers.table,
        farm_prior, learned.again, market.viewers.again,
    )  # fmt: skip


def list_kept(market: Market, most: int) -> list[Shown]:
    """The newest views of which something is known and whose features are kept, in the order of time."""
    return [holder for holder in market.snapshots.holders.values() if holder.clicked_at or holder.is_settled][
        -most:
    ]


class Observed(NamedTuple):
    """Place, ad and viewer of each view, and its outcomes by head (see `slope_of`)."""

    samples: Numbers
    outcomes: Numbers


def observe(shown: Sequence[Shown]) -> Observed:
    """Return samples and outcomes of views with features in memory."""
    return Observed(
        np.array([(each.place, each.ad, each.viewer) for each in shown], np.int64),
        np.array([known_of(each) for each in shown]),
    )


def tell_missed(market: Market, observed: Observed, features: Snapshots, shares: Numbers) -> Numbers:
    """Return what the weights miss of each observation, by head.

    ``shares`` is how much of an observation the shared weights may take, by place.
    """
    learned, groups = market.learned, market.groups
    missed = np.zeros(observed.outcomes.shape)
    what_is_missed(
        observed.samples, observed.outcomes, features.hashes, features.values, features.kinds,
        features.between, features.counts, features.stacks, shares, features.stands_for, groups.ads,
        groups.ad_hashes, groups.ad_features, groups.ad_values, groups.feature_hashes, groups.crosses,
        learned.shift, learned.slots, learned.weights, learned.families, learned.again, market.viewers.again,
        missed,
    )  # fmt: skip
    return missed


def known_of(shown: Shown) -> tuple[float, ...]:
    """What is known of a view, by head: see `slope_of`. A spam chat is one that no lead came of."""
    found = [0.0] * HEADS
    if shown.is_settled:
        found[CLICK] = _YES if shown.clicked_at else _NO
    if not shown.clicked_at:
        return tuple(found[MEANS_AGAIN])
    found[CONVERSATION] = _YES if shown.talked_at else shown.waited_talk
    if shown.talked_at:
        found[SPAM] = _YES if shown.spam_at else shown.waited_spam
        is_lead = _YES if shown.lead_at else shown.waited_lead
        found[LEAD] = _NO if shown.spam_at else is_lead
    return tuple(found[MEANS_AGAIN])
