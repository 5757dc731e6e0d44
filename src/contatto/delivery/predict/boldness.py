"""How far the estimates of leads are believed where they tell viewers apart."""

from typing import Final

import numpy as np

from contatto.delivery.predict.market import Market
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
FEW: Final = 5
"""Before so many leads nothing is changed."""
_VIEWER: Final = HEADS + 1
"""Where ``raw`` has what the viewer is worth."""


def weigh_boldness(market: Market) -> None:
    """Hold what was expected of viewers against the leads that came: how far are they believed now?"""
    groups, kept = market.groups, market.snapshots
    seen = [
        (each, 1.0 if each.clicked_at else float(kept.stands_for[each.place]))
        for each in market.records.shown.values()
        if each
        and each.place >= 0
        and (each.clicked_at or each.is_settled)
        and len(each.raw) > _VIEWER
        and groups.table[each.group, G_GOAL] == 0.0
    ]
    came = np.array([float(bool(each.lead_at and not each.spam_at)) for each, _ in seen])
    if came.sum() < FEW:
        return
    age_s = np.array([(market.now - each.asked_at) / SECOND for each, _ in seen])
    counts = 0.5 ** (age_s / HALF_LIFE_S)
    shares = np.array(
        [
            [
                market.leads.share_by(group.number, edge, float(group.line.click_window_s or 0))
                for edge in range(len(EDGES_S))
            ]
            for group in groups.groups
        ]
    )
    edge = np.searchsorted(np.array(EDGES_S), age_s, side="right") - 1
    would_be_here = np.where(edge < 0, 0.0, shares[[each.group for each, _ in seen], np.maximum(edge, 0)])
    worth = np.array([each.p[CLICK] * each.p[CONVERSATION] * each.p[LEAD] * many for each, many in seen])
    expected = counts * worth * np.where(came > 0.0, 1.0, would_be_here)
    scores = np.array([each.raw[_VIEWER] for each, _ in seen])
    slope, mean = fit_slope(scores, np.maximum(expected, 1e-12), counts * came)
    market.numbers[S_VIEWER_SLOPE], market.numbers[S_VIEWER_MEAN] = slope, mean
