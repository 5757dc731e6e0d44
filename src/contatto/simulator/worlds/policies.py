"""Players who know the world: their policies, auction and pacing."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from contatto.simulator.worlds.game import CLICK, LEAD, SPAM, TALK, VIEW, Fates, Run, Truth, joined
from contatto.simulator.worlds.model import (
    DAY,
    STARTS_TS,
    TICK,
    TICKS,
    Columns,
    Flags,
    Floats,
    Group,
    Ints,
    Past,
    Requests,
    Spans,
    Standings,
    Tables,
    World,
    chance,
    expected_flow,
    sigmoid,
    weary,
)

type Score = Callable[[Ints, Floats, Flags, Past], Floats]
"""Scores of all ads (columns) for some requests (rows): viewers, shifts of clicks, which ads may be shown."""


class Policy(Protocol):
    """One that decides by knowledge of the world."""

    @property
    def name(self) -> str: ...
    @property
    def goal(self) -> str: ...
    def scoring(self, world: World, day: int, past: Past) -> Score: ...


@dataclass(frozen=True, slots=True)
class Oracle:
    """Knows every chance as it is."""

    name: str = "oracle"
    goal: str = "lead"

    def scoring(self, world: World, day: int, past: Past) -> Score:  # knows more than the past
        tables = world.tables(day)
        genuine = tables.talk * (1 - tables.spam)
        after = genuine * tables.lead if self.goal == "lead" else genuine
        return _score(world, self.goal, tables.click, after)


@dataclass(frozen=True, slots=True)
class Observer:
    """Knows at best what follows from the features of a request, and from what was seen of the viewer."""

    name: str = "oracle_obs"
    goal: str = "lead"

    def scoring(self, world: World, day: int, past: Past) -> Score:
        known = world.known(day, past)
        logit = np.log(known.click / (1 - known.click))
        reached = known.leads if self.goal == "lead" else known.talks - known.spams
        return _score(world, self.goal, logit, reached / known.click)


def _score(world: World, goal: str, click: Floats, after: Floats) -> Score:
    """The chance of a conversion, from the logit of a click and the chance of what comes after it."""
    nature = world.nature
    owners = np.array([world.groups[ad.group].advertiser for ad in world.ads])
    same_owner = (owners[:, None] == owners).astype(np.float32)

    def score(viewer: Ints, shift: Floats, may: Flags, past: Past) -> Floats:
        logit = click[viewer] + shift[:, None].astype(np.float32)
        if nature.tires:
            views = past.seen[viewer]
            logit = logit - weary(nature, views, views @ same_owner)
        worth = sigmoid(logit) * after[viewer]
        if nature.once and goal == "lead":
            worth = worth * ~past.is_lead[viewer][:, owners]
        return np.asarray(worth)

    return score


@dataclass(frozen=True, slots=True)
class Blind:
    """Takes any ad, and offers the same for every view."""

    name: str = "random"
    goal: str = "lead"

    def scoring(self, world: World, day: int, past: Past) -> Score:
        rng = chance(world.seed, 7, day)

        def score(viewer: Ints, shift: Floats, may: Flags, past: Past) -> Floats:
            keys = rng.random(may.shape) * may
            return np.asarray((keys == keys.max(1, keepdims=True)) * may, float)

        return score


POLICIES: Final = (Blind(), Observer("oracle_conv", "conversation"), Observer(), Oracle())


_EPSILON: Final = 1e-12
_SAMPLE: Final = 5_000
_FITTINGS: Final = 60
_BOUNDS: Final = (1e-4, 30.0)
_GAIN: Final = 0.15
_LEAST: Final = 0.1
"""A tick in which less than this share of the usual is due teaches nothing."""


type OnDay = Callable[[int], None]


class Pacer:
    """Holds each ad group to the flow of requests that it may expect.

    Theory. What is left of a budget is spread over what is left of the flow; the logarithm of a multiplier is
    moved by how far the last tick was off what was due. Each span begins with the mean of the days before.
    """

    def __init__(self, world: World) -> None:
        count = len(world.groups)
        self.multiplier = np.ones(count)
        self._mean = np.zeros(count)
        self._spent = np.zeros(count)
        self._held = np.zeros(count)
        self._begins = [-1] * count
        self._flow = np.concatenate([np.zeros((1, count)), np.cumsum(expected_flow(world), 0)])
        self._spans = Spans(world)

    def left(self, standings: Standings, ts: int) -> Floats:
        """What each ad group may still spend in its span, in currency; infinite without a budget."""
        found = np.full(len(self._spent), np.inf)
        for number, standing in enumerate(standings.groups):
            group = standing.group
            span = self._spans.at(group, ts)
            if span[0] != self._begins[number]:
                self._begin(number, group, span)
            if group.budget_mode != "infinite":
                found[number] = group.budget_micros / 1e6 * (1 - self._held[number]) - self._spent[number]
        return found

    def _begin(self, number: int, group: Group, span: tuple[int, int]) -> None:
        """A new span: of a day that has begun already, the part of the budget that was due is held back."""
        if self._begins[number] >= 0:
            self.multiplier[number] = np.exp(self._mean[number])
        self._begins[number], self._spent[number], self._held[number] = span[0], 0.0, 0.0
        starts = max(group.starts_ts, STARTS_TS)
        if group.budget_mode == "day" and span[0] < starts < span[1]:
            later = DAY if span[0] < STARTS_TS else 0
            whole = self._between(number, span[0] + later, span[1] + later)
            self._held[number] = self._between(number, span[0] + later, starts + later) / max(whole, _EPSILON)

    def _between(self, number: int, begins: int, ends: int) -> float:
        """The flow that an ad group may expect between two moments, up to the end of the world."""
        last = len(self._flow) - 1
        low, high = (
            (min(max(ts, STARTS_TS), STARTS_TS + last * TICK) - STARTS_TS) // TICK for ts in (begins, ends)
        )
        return float(self._flow[high, number] - self._flow[low, number])

    def due(self, standings: Standings, ts: int) -> Floats:
        """What should be spent in the tick that begins now; infinite without a budget."""
        found = self.left(standings, ts)
        for number, standing in enumerate(standings.groups):
            ends = self._spans.at(standing.group, ts)[1]
            ahead = self._between(number, ts, ends)
            found[number] *= self._between(number, ts, ts + TICK) / ahead if ahead else 1.0
        return found

    def usual(self, standings: Standings, ts: int) -> Floats:
        """What each ad group should spend in a whole day like this; infinite without a budget."""
        found = self.left(standings, ts)
        whole = (len(self._flow) - 1) * TICK
        for number, standing in enumerate(standings.groups):
            if standing.group.budget_mode == "day":
                found[number] = standing.group.budget_micros / 1e6
            elif standing.group.budget_mode == "total":
                ends = self._spans.at(standing.group, ts)[1]
                a_day = self._between(number, STARTS_TS, STARTS_TS + whole) * DAY / whole
                found[number] *= min(1.0, a_day / max(self._between(number, ts, ends), _EPSILON))
        return found

    def bound(self) -> None:
        """No offer is beyond all reason, however little an ad group can spend."""
        np.clip(self.multiplier, *_BOUNDS, out=self.multiplier)

    def learn(self, due: Floats, usual: Floats, spent: Floats, running: Flags) -> None:
        """Move the multipliers after a tick."""
        self._spent += spent
        wants = running & np.isfinite(due) & (due > _LEAST * usual / TICKS)
        off = np.zeros(len(due))
        off[wants] = (due[wants] - spent[wants]) / due[wants]
        self.multiplier *= np.exp(_GAIN * np.clip(off, -1, 1))
        self.bound()
        self._mean[wants] += (np.log(self.multiplier[wants]) - self._mean[wants]) / TICKS

    def settle(self) -> None:
        """What was fitted is the mean to begin with."""
        self._mean = np.log(self.multiplier)


class Auction:
    """One world played by one who knows it."""

    def __init__(self, world: World, policy: Policy) -> None:
        self.world, self.policy = world, policy
        self.fates = Fates(world)
        self.past = Past.of(world)
        self.standings = Standings(world)
        count = len(world.groups)
        self.pacer = Pacer(world)
        self.was_running = np.zeros(count, np.bool_)
        self._aimed = np.array(
            [[country in group.countries for group in world.groups] for country in world.countries]
        )
        self._ad_group = self.fates.group

    def play_day(self, day: int) -> list[Columns]:
        """Play one day of UTC; the views of each tick come back."""
        world = self.world
        requests, tables = world.requests(day), world.tables(day)
        score = self.policy.scoring(world, day, self.past)
        found = []
        for tick in range(TICKS):
            ts = STARTS_TS + (day * TICKS + tick) * TICK
            self.standings.move_to(ts)
            running = self.standings.running(ts)
            if tick == 0 or (running & ~self.was_running).any():
                self._fit(requests, score, ts)
            self.was_running = running
            low, high = np.searchsorted(requests.ts, [ts, ts + TICK])
            found.append(self._play_tick(_cut(requests, slice(low, high)), tables, score, ts))
        self.past.sleep(world.nature)
        return found

    def _play_tick(self, requests: Requests, tables: Tables, score: Score, ts: int) -> Columns:
        pacer, standings = self.pacer, self.standings
        left, due, usual = (of(standings, ts) for of in (pacer.left, pacer.due, pacer.usual))
        open_groups = standings.running(ts) & (left > 0)
        row, ad, price = self._award(self._score(requests, score, open_groups), requests.floor)
        kept = requests.draws[row, VIEW] >= self.world.nature.view_lost
        row, ad, price = row[kept], ad[kept], price[kept]
        group = self._ad_group[ad]
        kept = _within(price / 1e9, group, left)
        row, ad, price, group = row[kept], ad[kept], price[kept], group[kept]
        spent = np.bincount(group, price / 1e9, len(left))
        pacer.learn(due, usual, spent, open_groups)
        viewer = requests.viewer[row]
        truth = self.fates.truth(tables, viewer, ad, requests.shift[row], self.past)
        self._live(viewer, ad, truth, requests.draws[row])
        nothing = np.full(len(row), np.nan)
        return {
            "ts": requests.ts[row],
            "viewer": viewer,
            "ad": ad,
            "price": price,
            "click": truth.click,
            "talk": truth.talk,
            "spam": truth.spam,
            "lead": truth.lead,
            "caught": self.fates.caught(truth, viewer, ad),
            "predicted": nothing,
            "predicted_talk": nothing,
        }

    def _bids(self) -> Floats:
        """What each ad group offers for one whole unit of its score."""
        bids = self.pacer.multiplier.copy()
        for number, standing in enumerate(self.standings.groups):
            target = standing.group.bid_for(self.policy.goal) / 1e6
            if standing.group.budget_mode == "infinite":
                bids[number] = target
            elif target and self.policy.name != "random":
                bids[number] = min(bids[number], target)
        return bids

    def _score(self, requests: Requests, score: Score, open_groups: Flags) -> Floats:
        """Scores of all ads (columns) for requests (rows); 0 where an ad may not be shown."""
        may = (self._aimed[self.world.viewer_country[requests.viewer]] & open_groups)[:, self._ad_group]
        found = score(requests.viewer, requests.shift, may, self.past).astype(np.float32)
        found *= may
        return found

    def _award(self, scores: Floats, floors: Ints) -> tuple[Ints, Ints, Ints]:
        """The requests that are won (their rows), by which ads, at which prices."""
        offers = scores * self._bids()[self._ad_group].astype(np.float32)
        best = offers.argmax(1)
        top = offers[np.arange(len(offers)), best]
        floor = floors / 1e9
        won = np.flatnonzero(top > floor)
        best = best[won]
        others = offers[won]
        others[self._ad_group[best][:, None] == self._ad_group] = 0.0
        price = np.maximum(floor[won], others.max(1, initial=0.0))
        return won, best, np.ceil(price * 1e9).astype(np.int64)

    def _fit(self, requests: Requests, score: Score, ts: int) -> None:
        """Set the multipliers so that a sample of the day would cost what is due for it."""
        sample = _cut(requests, slice(None, None, max(1, len(requests) // _SAMPLE)))
        running = self.standings.running(ts)
        due = (
            np.where(running, self.pacer.usual(self.standings, ts), 0.0) * len(sample) / max(len(requests), 1)
        )
        if not self.was_running.any():
            self.pacer.multiplier[:] = 1.0
        scores = self._score(sample, score, running)
        for step in np.geomspace(0.5, 0.03, _FITTINGS):
            _, ad, price = self._award(scores, sample.floor)
            spent = np.bincount(self._ad_group[ad], price / 1e9, len(due))
            wants = running & np.isfinite(due)
            due = np.where(wants, due, 0.0)
            ratio = np.where(wants, (due + _EPSILON) / (spent + 0.02 * due + _EPSILON), 1.0)
            self.pacer.multiplier *= np.clip(ratio, 0.2, 5.0) ** step
            self.pacer.bound()
        self.pacer.settle()

    def _live(self, viewer: Ints, ad: Ints, truth: Truth, draws: Floats) -> None:
        """Remember what became of the views of a tick."""
        past = self.past
        np.add.at(past.seen, (viewer, ad), 1)
        chats = (draws[:, CLICK] < truth.click) & (draws[:, TALK] < truth.talk)
        spams = chats & (draws[:, SPAM] < truth.spam)
        leads = chats & ~spams & (draws[:, LEAD] < truth.lead)
        for counted, happened in ((past.chats, chats), (past.spams, spams), (past.leads, leads)):
            np.add.at(counted, viewer[happened], 1)
        if self.world.nature.once:
            past.is_lead[viewer[leads], self.fates.owner[ad[leads]]] = True


def _cut(requests: Requests, rows: slice) -> Requests:
    return Requests(*(getattr(requests, name)[rows] for name in Requests.__slots__))


def _within(cost: Floats, group: Ints, left: Floats) -> Flags:
    """Return which views can still be paid, in order."""
    kept = np.ones(len(cost), np.bool_)
    for number in np.flatnonzero(np.bincount(group, cost, len(left)) > left):
        rows = np.flatnonzero(group == number)
        kept[rows[np.cumsum(cost[rows]) > left[number]]] = False
    return kept


def play(world: World, policy: Policy, on_day: OnDay | None = None) -> Run:
    """Let one who knows the world play all its days; ``on_day`` is told of each that is over."""
    started = time.perf_counter()
    auction = Auction(world, policy)
    shown: list[Columns] = []
    for day in range(world.days):
        shown += auction.play_day(day)
        if on_day:
            on_day(day)
    return Run(world, policy.name, policy.goal, joined(shown), {}, time.perf_counter() - started)
