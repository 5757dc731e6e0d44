"""Reference players that know the world: policies, auction and pacing."""

from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

from contatto.simulator.worlds.game import CLICK, LEAD, MARK, SPAM, TALK, VIEW, Run, ShownViews, ViewOutcomes
from contatto.simulator.worlds.model import (
    DAY,
    STARTS_TS,
    TICK,
    TICKS,
    Columns,
    Flags,
    Floats,
    GroupStates,
    Ints,
    OnDay,
    Past,
    Requests,
    Spans,
    World,
    chance,
    expected_flow,
    sigmoid,
    weary,
)

type Score = Callable[[Ints, Floats, Flags, Past], Floats]
"""Function from viewers, shifts of clicks, allowed ads and the past to scores of requests and ads."""


POLICIES: Final = {"random": "lead", "oracle_conv": "conversation", "oracle_obs": "lead", "oracle": "lead"}
"""Players that know the world, and their goals."""


def make_score(policy: str, world: World, day: int, past: Past) -> Score:
    """Return the score function of a policy for a day.

    ``oracle`` scores by the true chances of a conversion, hidden ones too, and the others by the best
    predictions from requests and earlier events. ``random`` picks one ad of each request, so that it bids
    the same for every view.
    """
    if policy == "random":
        rng = chance(world.seed, 7, day)

        def pick(viewer: Ints, shift: Floats, may: Flags, past: Past) -> Floats:
            keys = rng.random(may.shape) * may
            return np.asarray((keys == keys.max(1, keepdims=True)) * may, float)

        return pick
    is_lead, nature = POLICIES[policy] == "lead", world.nature
    if policy == "oracle":
        tables = world.tables(day)
        click, genuine = tables.click, tables.talk * (1 - tables.spam)
        after = genuine * tables.lead if is_lead else genuine
    else:
        observable = world.observable(day, past)
        click = np.log(observable.click / (1 - observable.click))
        reached = observable.leads if is_lead else observable.talks - observable.spams
        after = reached / observable.click
    owners = np.array([world.groups[ad.group].advertiser for ad in world.ads])
    same_owner = (owners[:, None] == owners).astype(np.float32)

    def score(viewer: Ints, shift: Floats, may: Flags, past: Past) -> Floats:
        logit = click[viewer] + shift[:, None].astype(np.float32)
        if nature.tires:
            views = past.views[viewer]
            logit = logit - weary(nature, views, views @ same_owner)
        worth = sigmoid(logit) * after[viewer]
        if nature.once and is_lead:
            worth = worth * ~past.is_lead[viewer][:, owners]
        return np.asarray(worth)

    return score


_EPSILON: Final = 1e-12
_SAMPLE: Final = 5_000
_FITTINGS: Final = 60
_BOUNDS: Final = (1e-4, 30.0)
_GAIN: Final = 0.15
_LEAST_DUE: Final = 0.1
"""Multipliers do not learn from a tick with less than this share of the usual spend due."""


class Pacer:
    """Pacing of each ad group by its expected flow of requests.

    It spreads the remaining budget over the remaining flow. After each tick the logarithm of a multiplier
    moves by the gap to the plan. Each budget period begins with the mean of the days before.
    """

    def __init__(self, world: World) -> None:
        count = len(world.groups)
        self.multiplier = np.ones(count)
        self.mean = np.zeros(count)
        """Running mean of the logarithms of the multipliers."""
        self._spent = np.zeros(count)
        self._withheld = np.zeros(count)
        """Share of a daily budget for the hours before the ad group starts."""
        self._begins = [-1] * count
        self._flow = np.concatenate([np.zeros((1, count)), np.cumsum(expected_flow(world), 0)])
        self._spans = Spans(world)

    def budgets_left(self, standings: GroupStates, ts: int) -> Floats:
        """Return the remaining budget of each ad group in its span; infinite without a budget."""
        amounts = np.full(len(self._spent), np.inf)
        for number, group in enumerate(standings.groups):
            span = self._spans.at(group, ts)
            if span[0] != self._begins[number]:
                if self._begins[number] >= 0:
                    self.multiplier[number] = np.exp(self.mean[number])
                self._begins[number], self._spent[number], self._withheld[number] = span[0], 0.0, 0.0
                starts = max(group.starts_ts, STARTS_TS)
                if group.budget_mode == "day" and span[0] < starts < span[1]:
                    later = DAY if span[0] < STARTS_TS else 0
                    whole = self._between(number, span[0] + later, span[1] + later)
                    before = self._between(number, span[0] + later, starts + later)
                    self._withheld[number] = before / max(whole, _EPSILON)
            if group.budget_mode != "infinite":
                amounts[number] = (
                    group.budget_micros / 1e6 * (1 - self._withheld[number]) - self._spent[number]
                )
        return amounts

    def _between(self, number: int, begins: int, ends: int) -> float:
        """Return the flow that an ad group may expect between two moments."""
        last = len(self._flow) - 1
        low, high = (
            (min(max(ts, STARTS_TS), STARTS_TS + last * TICK) - STARTS_TS) // TICK for ts in (begins, ends)
        )
        return float(self._flow[high, number] - self._flow[low, number])

    def due(self, standings: GroupStates, ts: int) -> Floats:
        """Return the planned spend of the tick that begins now; infinite without a budget."""
        amounts = self.budgets_left(standings, ts)
        for number, group in enumerate(standings.groups):
            ends = self._spans.at(group, ts)[1]
            ahead = self._between(number, ts, ends)
            amounts[number] *= self._between(number, ts, ts + TICK) / ahead if ahead else 1.0
        return amounts

    def usual(self, standings: GroupStates, ts: int) -> Floats:
        """Return the planned spend of a whole day like this; infinite without a budget."""
        amounts = self.budgets_left(standings, ts)
        whole = (len(self._flow) - 1) * TICK
        for number, group in enumerate(standings.groups):
            if group.budget_mode == "day":
                amounts[number] = group.budget_micros / 1e6
            elif group.budget_mode == "total":
                ends = self._spans.at(group, ts)[1]
                a_day = self._between(number, STARTS_TS, STARTS_TS + whole) * DAY / whole
                amounts[number] *= min(1.0, a_day / max(self._between(number, ts, ends), _EPSILON))
        return amounts

    def learn(self, due: Floats, usual: Floats, spent: Floats, running: Flags) -> None:
        """Move the multipliers after a tick."""
        self._spent += spent
        is_paced = running & np.isfinite(due) & (due > _LEAST_DUE * usual / TICKS)
        gap = np.zeros(len(due))
        gap[is_paced] = (due[is_paced] - spent[is_paced]) / due[is_paced]
        self.multiplier *= np.exp(_GAIN * np.clip(gap, -1, 1))
        np.clip(self.multiplier, *_BOUNDS, out=self.multiplier)
        self.mean[is_paced] += (np.log(self.multiplier[is_paced]) - self.mean[is_paced]) / TICKS


class Auction:
    """The auction of one world, with one policy for all ad groups."""

    def __init__(self, world: World, policy: str) -> None:
        self.world, self.policy, self.goal = world, policy, POLICIES[policy]
        self.outcomes = ViewOutcomes(world)
        self.past = Past.empty(world)
        self.standings = GroupStates(list(world.groups), deque(world.edits))
        count = len(world.groups)
        self.pacer = Pacer(world)
        self.was_running = np.zeros(count, np.bool_)
        self._aimed = np.array(
            [[country in group.countries for group in world.groups] for country in world.countries]
        )
        self._ad_group = self.outcomes.group

    def play(self, on_day: OnDay = lambda _: None) -> Run:
        """Play all days of UTC, and call ``on_day`` after each."""
        world, pacer, standings, past = self.world, self.pacer, self.standings, self.past
        parts = list[Columns]()
        for day in range(world.days):
            requests, tables = world.requests(day), world.tables(day)
            score = make_score(self.policy, world, day, past)
            for tick in range(TICKS):
                ts = STARTS_TS + (day * TICKS + tick) * TICK
                standings.move_to(ts)
                running = standings.running(ts)
                if tick == 0 or (running & ~self.was_running).any():
                    self._fit(requests, score, ts)
                self.was_running = running
                low, high = np.searchsorted(requests.ts, [ts, ts + TICK])
                shown = _cut(requests, slice(low, high))
                # The auction: of the winners, some are never viewed, and some no budget pays for.
                budgets, due, usual = (
                    amounts(standings, ts) for amounts in (pacer.budgets_left, pacer.due, pacer.usual)
                )
                open_groups = running & (budgets > 0)
                row, ad, price = self._award(self._score(shown, score, open_groups), shown.floor)
                is_viewed = shown.draws[row, VIEW] >= world.nature.view_lost
                row, ad, price = row[is_viewed], ad[is_viewed], price[is_viewed]
                group = self._ad_group[ad]
                cost, is_payable = price / 1e9, np.ones(len(price), np.bool_)
                for number in np.flatnonzero(np.bincount(group, cost, len(budgets)) > budgets):
                    views = np.flatnonzero(group == number)
                    is_payable[views[np.cumsum(cost[views]) > budgets[number]]] = False
                row, ad, price, group = row[is_payable], ad[is_payable], price[is_payable], group[is_payable]
                pacer.learn(due, usual, np.bincount(group, price / 1e9, len(budgets)), open_groups)
                # Outcomes of the views.
                viewer, draws = shown.viewer[row], shown.draws[row]
                truth = self.outcomes.truth(tables, viewer, ad, shown.shift[row], past)
                np.add.at(past.views, (viewer, ad), 1)
                chats = (draws[:, CLICK] < truth["click"]) & (draws[:, TALK] < truth["talk"])
                spams = chats & (draws[:, SPAM] < truth["spam"])
                leads = chats & ~spams & (draws[:, LEAD] < truth["lead"])
                recall = np.where(spams, self.outcomes.spam_recall[viewer], world.nature.spam_false_alarm)
                marks = chats & (draws[:, MARK] < recall)
                for counted, happened in ((past.chats, chats), (past.spams, marks)):
                    np.add.at(counted, viewer[happened], 1)
                if world.nature.once:
                    past.is_lead[viewer[leads], self.outcomes.owner[ad[leads]]] = True
                view: Columns = {"ts": shown.ts[row], "viewer": viewer, "ad": ad, "price": price, **truth}
                unknown = np.full(len(row), np.nan)
                parts.append({**view, "predicted": unknown, "predicted_talk": unknown})
            past.views *= world.nature.night
            on_day(day)
        columns = {name: np.concatenate([part[name] for part in parts]) for name in ShownViews.__slots__}
        return Run(world, self.goal, ShownViews(**columns), {})

    def _score(self, requests: Requests, score: Score, open_groups: Flags) -> Floats:
        """Return scores of requests (rows) and ads (columns); 0 where an ad may not be shown."""
        may = (self._aimed[self.world.viewer_country[requests.viewer]] & open_groups)[:, self._ad_group]
        scores = score(requests.viewer, requests.shift, may, self.past).astype(np.float32)
        scores *= may
        return scores

    def _award(self, scores: Floats, floors: Ints) -> tuple[Ints, Ints, Ints]:
        """Return the won requests (their rows), their ads and prices."""
        bids = self.pacer.multiplier.copy()  # of each ad group, for one whole unit of its score
        for number, group in enumerate(self.standings.groups):
            target = group.bid_for(self.goal) / 1e6
            if group.budget_mode == "infinite":
                bids[number] = target
            elif target and self.policy != "random":
                bids[number] = min(bids[number], target)
        offers = scores * bids[self._ad_group].astype(np.float32)
        best = offers.argmax(1)
        top = offers[np.arange(len(offers)), best]
        floor = floors / 1e9
        won = np.flatnonzero(top > floor)
        best = best[won]
        other_bids = offers[won]
        other_bids[self._ad_group[best][:, None] == self._ad_group] = 0.0
        price = np.maximum(floor[won], other_bids.max(1, initial=0.0))
        return won, best, np.ceil(price * 1e9).astype(np.int64)

    def _fit(self, requests: Requests, score: Score, ts: int) -> None:
        """Fit the multipliers so that a sample of the day would cost its planned spend."""
        sample = _cut(requests, slice(None, None, max(1, len(requests.ts) // _SAMPLE)))
        running = self.standings.running(ts)
        due = (
            np.where(running, self.pacer.usual(self.standings, ts), 0.0)
            * len(sample.ts)
            / max(len(requests.ts), 1)
        )
        if not self.was_running.any():
            self.pacer.multiplier[:] = 1.0
        scores = self._score(sample, score, running)
        for step in np.geomspace(0.5, 0.03, _FITTINGS):
            _, ad, price = self._award(scores, sample.floor)
            spent = np.bincount(self._ad_group[ad], price / 1e9, len(due))
            is_paced = running & np.isfinite(due)
            due = np.where(is_paced, due, 0.0)
            ratio = np.where(is_paced, (due + _EPSILON) / (spent + 0.02 * due + _EPSILON), 1.0)
            self.pacer.multiplier *= np.clip(ratio, 0.2, 5.0) ** step
            np.clip(self.pacer.multiplier, *_BOUNDS, out=self.pacer.multiplier)
        self.pacer.mean = np.log(self.pacer.multiplier)


def _cut(requests: Requests, rows: slice) -> Requests:
    return Requests(*(getattr(requests, name)[rows] for name in Requests.__slots__))
