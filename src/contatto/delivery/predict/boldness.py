"""How far the estimates of leads are believed where they tell viewers apart."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np

from contatto.delivery.predict.market import Market
from contatto.delivery.predict.records import Shown
from contatto.delivery.predict.waiting import EDGES_S
from contatto.delivery.rules.budgets import SECOND
from contatto.delivery.rules.calibrating import fit_slope
from contatto.delivery.rules.columns import (
    CLICK,
    CONVERSATION,
    G_GOAL,
    HEADS,
    LEAD,
    S_VIEWER_MEAN,
    S_VIEWER_SLOPE,
)

HALF_LIFE_S: Final = 12 * 3_600.0
"""After so much time a view counts half."""
LONGEST_S: Final = 72 * 3_600.0
"""What is older takes no part."""
MOST: Final = 6_000
"""So many of the newest views take part."""
FEW: Final = 5
"""Before so many leads nothing is changed."""
_LEAST: Final = 1e-12
_VIEWER: Final = HEADS + 1
"""Where ``raw`` has what the viewer is worth."""


def weigh_boldness(market: Market, kept: Sequence[Shown]) -> None:
    """Hold what was expected of viewers against the leads that came: how far are they believed now?

    ``kept`` are views of which something is known, in the order of time.
    """
    first = bisect_left(kept, market.now - int(LONGEST_S * SECOND), key=lambda shown: shown.asked_at)
    wants_leads = (market.groups.table[:, G_GOAL] == 0.0).tolist()
    first = max(first, len(kept) - MOST)
    seen = [each for each in kept[first:] if wants_leads[each.group] and len(each.raw) > _VIEWER]
    came = np.array([bool(each.lead_at and not each.spam_at) for each in seen], np.float64)
    if came.sum() < FEW:
        return
    age_s = (market.now - np.array([each.asked_at for each in seen])) / SECOND
    counts = 0.5 ** (age_s / HALF_LIFE_S)
    late = market.leads.shares_by_edge(
        [float(group.line.click_window_s or 0) for group in market.groups.groups]
    )
    edge = np.searchsorted(np.array(EDGES_S), age_s, side="right") - 1
    by_now = np.where(edge < 0, 0.0, late[[each.group for each in seen], np.maximum(edge, 0)])
    counts *= np.where(came > 0.0, 1.0, by_now)
    stands_for = market.snapshots.stands_for[[each.place for each in seen]].astype(np.float64)
    worth = np.prod([[each.p[head] for head in (CLICK, CONVERSATION, LEAD)] for each in seen], axis=1)
    scores = np.array([each.raw[_VIEWER] for each in seen])
    expected = np.maximum(counts * stands_for * worth, _LEAST)
    slope, mean = fit_slope(scores, expected, counts * came)
    market.numbers[S_VIEWER_SLOPE], market.numbers[S_VIEWER_MEAN] = slope, mean
