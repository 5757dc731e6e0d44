"""What is done by the clock of the lines: every few minutes and once a day."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contatto.delivery.predict.market import FIRST_USUAL, Market
from contatto.delivery.predict.pacing import check_spend, steer_groups
from contatto.delivery.predict.relearning import is_time_to_relearn, relearn_in_slices
from contatto.delivery.predict.teaching import learn_due
from contatto.delivery.rules.budgets import SECOND
from contatto.delivery.rules.columns import (
    CLICK,
    CONVERSATION,
    G_ASKED,
    G_CALIBRATION,
    HEADS,
    LEAD,
    S_FARM_PRIOR,
    SPAM,
)
from contatto.delivery.rules.farms import prior_of

STEP_S: Final = 300
"""So often multipliers are set anew."""
DAY_S: Final = 86_400
LEAST_KEPT_S: Final = 2 * DAY_S
"""So long a request is remembered, whatever became of it."""
REMEMBERED_S: Final = 30 * DAY_S
ENOUGH: Final = 20.0
"""So many answers the usual rates before anything was seen are worth."""
RATE_S: Final = 1_200.0
"""So long until the newest requests make up two thirds of the rate."""
_DONE: Final = object()
HALF_LIVES_S: Final = {CLICK: DAY_S, CONVERSATION: 2 * DAY_S, LEAD: 3 * DAY_S, SPAM: 2 * DAY_S}


def step_market(market: Market) -> None:
    """Let time do its work: promises end, labels are given up, multipliers follow."""
    passed_s = (market.now - market.stepped_at) / SECOND if market.stepped_at else float(STEP_S)
    market.stepped_at = market.now
    newest = measure_rates(market, passed_s)
    check_spend(market.groups, newest, passed_s)
    market.groups.fade(newest)
    market.asked_before = market.groups.table[:, G_ASKED].copy()
    end_promises(market)
    learn_due(market)
    drop_records(market)
    shares = np.ones(HEADS)
    for head, half_life_s in HALF_LIVES_S.items():
        shares[head] = 0.5 ** (passed_s / half_life_s)
    market.calibration.fade(shares)
    came, tried = market.calibration.came.sum(axis=0), market.calibration.tried.sum(axis=0)
    fade = 0.5 ** (passed_s / DAY_S)
    market.clicks *= fade
    market.farm_clicks *= fade
    market.numbers[S_FARM_PRIOR] = prior_of(market.farm_clicks, market.clicks)
    market.usual = (came + ENOUGH * np.array(FIRST_USUAL)) / (tried + ENOUGH)
    if market.work is None and market.classes.is_time_to_fit():
        market.work = market.classes.refit_in_slices(market.seed)
    if market.now - market.daily_at >= DAY_S * SECOND // 4:
        days = min((market.now - market.daily_at) / SECOND / DAY_S, 1.0) if market.daily_at else 0.25
        market.daily_at = market.now
        market.learned.forget(market.settings["forget"] * days)
        for waiting in (market.talks, market.leads, market.spam):
            waiting.refit(0.5 ** (days / 7.0))
    if market.work is None and is_time_to_relearn(market):
        market.work = relearn_in_slices(market)
    steer_market(market)


def do_work(market: Market) -> None:
    """Do the next slice of the work between requests, if there is any."""
    if market.work is not None and next(market.work, _DONE) is _DONE:
        market.work = None


def finish_work(market: Market) -> None:
    """Do all of it: before a state is saved."""
    while market.work is not None:
        do_work(market)


def measure_rates(market: Market, passed_s: float) -> NDArray[np.float64]:
    """Measure how many requests a second each ad group could serve; the newest ones come back, in number."""
    asked = market.groups.table[:, G_ASKED]
    before = np.zeros(len(asked))
    before[: len(market.asked_before)] = market.asked_before
    came: NDArray[np.float64] = np.maximum(asked - before, 0.0)
    newest = came / max(passed_s, 1.0)
    rates = np.zeros(len(asked))
    rates[: len(market.rates)] = market.rates
    share = 1.0 - math.exp(-passed_s / RATE_S)
    market.rates = np.where(rates > 0.0, rates + share * (newest - rates), newest)
    return came


def steer_market(market: Market) -> None:
    """Set calibrations and multipliers anew."""
    groups = market.groups
    count = len(groups.groups)
    groups.table[:count, G_CALIBRATION : G_CALIBRATION + HEADS] = market.calibration.factors()[:count]
    rates = market.rates
    if not rates.any():
        elapsed_s = max((market.now - market.first_asked) / SECOND, 60.0)
        rates = groups.table[:, G_ASKED] / elapsed_s
    if len(rates) < len(groups.table):
        rates = np.pad(rates, (0, len(groups.table) - len(rates)))
    steer_groups(groups, market.traffic, rates, market.now)


def end_promises(market: Market) -> None:
    """Give back what was kept for views that did not come."""
    promised = market.records.promised
    limit = market.now - int(market.promise_wait * SECOND)
    while promised:
        shown = market.records.shown.get(promised[0])
        if shown is not None and shown.asked_at > limit:
            break
        promised.popleft()
        if shown is not None and shown.is_promised:
            group = market.groups.groups[shown.group]
            shown.is_promised = False
            group.promised -= shown.price
            market.groups.refresh(group)
            market.snapshots.give_back(shown)
            market.views_lost += 1.0
    total = market.views_seen + market.views_lost
    market.groups.view_rate = (market.views_seen + 1.0) / (total + 1.0)
    if total > 20_000.0:
        market.views_seen *= 0.5
        market.views_lost *= 0.5


def drop_records(market: Market) -> None:
    """Forget requests that nothing can become of any more."""
    records = market.records
    lines = [group.line for group in market.groups.groups]
    view_s = max([LEAST_KEPT_S, *((line.view_window_s or 0) + 3_600 for line in lines)])
    click_s = max([view_s, *((line.click_window_s or 0) + DAY_S for line in lines)])
    kept, limit = records.kept, market.now - view_s * SECOND
    while kept and kept[0][0] < limit:
        asked_at, name = kept.popleft()
        shown = records.shown.get(name)
        if shown is not None and (shown.clicked_at or shown.place >= 0):
            records.long_kept.append((asked_at, name))
        else:
            forget_record(market, name)
    long_kept, limit = records.long_kept, market.now - click_s * SECOND
    while long_kept and long_kept[0][0] < limit:
        forget_record(market, long_kept.popleft()[1])
    order, limit = market.seen_order, market.now - REMEMBERED_S * SECOND
    while order and order[0][0] < limit:
        market.seen.discard(order.popleft()[1])


def forget_record(market: Market, name: str) -> None:
    shown = market.records.shown.pop(name, None)
    if shown is None:
        return
    market.snapshots.give_back(shown)
    touches = market.records.touches.get(shown.viewer)
    if touches and name in touches:
        touches.remove(name)
        if not touches:
            del market.records.touches[shown.viewer]
