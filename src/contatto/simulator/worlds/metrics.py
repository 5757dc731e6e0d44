"""What a run is judged by: leads by true chances, what they cost, spam, pacing, calibration, learning."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from contatto.simulator.worlds.model import DAY, STARTS_TS, TICK, TICKS, Flags, Floats, Ints, World
from contatto.simulator.worlds.record import Run, Shown
from contatto.simulator.worlds.setup import Spans, expected_flow

LAST_DAYS: Final = 5
STEADY_DAYS: Final = 3
_LEARNED: Final = 0.9
_STARVED: Final = 3
"""An ad group that has fewer leads than this after three days of its own is starved."""
_YOUNG_DAYS: Final = 3
_COLD_DAYS: Final = 2


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one run; ``last`` are its last days, all the rest of it is in the others.

    Money is in units of currency. ``calibration`` is foretold leads over those that will be noticed in time;
    ``pacing_error`` is the mean distance between spend and plan, as a share of the budget.
    """

    days: int
    leads_last: float
    leads: float
    spend_last: float
    spend: float
    cost_per_lead: float
    spam_share: float
    budget_use: float
    pacing_error: float
    learning_days: int
    calibration: float
    calibration_by_kind: dict[str, float]
    calibration_of_talks: float
    starved: tuple[str, ...]
    leads_by_day: tuple[float, ...]
    spend_by_day: tuple[float, ...]
    leads_by_group: tuple[float, ...]
    spend_by_group: tuple[float, ...]
    cold_rate: float
    """Leads for each unit of spend of ad groups that start late, in their first two days."""
    cost_over_target: float
    """Cost per lead over the target of ad groups that have one; the median of the ad groups."""
    farm_share: float
    """Share of the spend that went to click farms."""
    calibration_by_day: tuple[float, ...]
    day_spent: tuple[float, ...]
    day_due: tuple[float, ...]
    """Spend so far, and what was due, as shares of a budget at the ticks of a mean day."""


def measure(run: Run) -> Figures:
    """All figures of a run that need no other run beside it."""
    world, shown = run.world, run.shown
    judged = _judged(run)
    day = (shown.ts - STARTS_TS) // DAY
    last = day >= world.days - min(LAST_DAYS, world.days)
    group = np.array([ad.group for ad in world.ads])[shown.ad]
    mine = judged[group]
    leads, spend = np.where(mine, shown.leads, 0.0), np.where(mine, shown.spend, 0.0)
    by_day = [np.bincount(day, values, world.days) for values in (leads, spend)]
    by_group = [np.bincount(group, values, len(world.groups)) for values in (shown.leads, shown.spend)]
    now = last & mine
    paces = _paces(world, group, shown)
    return Figures(
        days=world.days,
        leads_last=float(leads[last].sum()),
        leads=float(leads.sum()),
        spend_last=float(spend[last].sum()),
        spend=float(spend.sum()),
        cost_per_lead=_ratio(float(spend[last].sum()), float(leads[last].sum())),
        spam_share=_ratio(float(shown.spams[now].sum()), float(shown.talks[now].sum())),
        budget_use=_budget_use(world, group, shown, last),
        pacing_error=paces.error,
        learning_days=_learning_days(by_day[0], by_day[1]),
        calibration=_ratio(float(shown.foretold[now].sum()), float(shown.caught[now].sum())),
        calibration_by_kind=_by_kind(world, group, shown, now),
        calibration_of_talks=_ratio(float(shown.foretold_talk[last].sum()), float(shown.talks[last].sum())),
        starved=_starved(world, group, day, shown, judged),
        leads_by_day=tuple(by_day[0].tolist()),
        spend_by_day=tuple(by_day[1].tolist()),
        leads_by_group=tuple(by_group[0].tolist()),
        spend_by_group=tuple(by_group[1].tolist()),
        cold_rate=_cold_rate(world, group, shown),
        cost_over_target=_cost_over_target(world, group, shown, last),
        calibration_by_day=_by_day(day, shown, world.days, mine),
        day_spent=tuple(paces.spent),
        day_due=tuple(paces.due),
        farm_share=_ratio(float(shown.spend[world.is_farm[shown.viewer]].sum()), float(shown.spend.sum())),
    )


def _judged(run: Run) -> Flags:
    """The ad groups that follow the goal of a run; those with a goal of their own are scenery."""
    return np.array([not group.goal for group in run.world.groups])


def _ratio(over: float, under: float) -> float:
    return over / under if under else float("nan")


def _budgets(world: World) -> list[tuple[int, int, int, float]]:
    """Every whole span of a daily budget that nothing disturbed: ad group, beginning, end, budget.

    A span counts in which its ad group ran from beginning to end, with no cost target to hold it back.
    """
    spans = Spans(world)
    edited = {edit.group for edit in world.edits}
    end = STARTS_TS + world.days * DAY
    found = []
    for number, group in enumerate(world.groups):
        begins_late = group.starts_ts >= end
        if group.budget_mode != "day" or group.bid_micros or number in edited or begins_late:
            continue
        begins, ends = spans.at(group, max(group.starts_ts, STARTS_TS))
        while ends <= end:
            if begins >= max(group.starts_ts, STARTS_TS) and (not group.ends_ts or ends <= group.ends_ts):
                found.append((number, begins, ends, group.budget_micros / 1e6))
            begins, ends = spans.at(group, ends)
    return found


def _budget_use(world: World, group: Ints, shown: Shown, last: Flags) -> float:
    spend = shown.spend
    used, budget = 0.0, 0.0
    since = int(shown.ts[last].min()) // DAY * DAY if last.any() else STARTS_TS
    rows = [np.flatnonzero(group == number) for number in range(len(world.groups))]
    for number, begins, ends, amount in _budgets(world):
        if begins >= since:
            low, high = np.searchsorted(shown.ts[rows[number]], [begins, ends])
            used += float(spend[rows[number][low:high]].sum())
            budget += amount
    return _ratio(used, budget)


@dataclass(frozen=True, slots=True)
class _Paces:
    error: float
    spent: list[float]
    due: list[float]


def _paces(world: World, group: Ints, shown: Shown) -> _Paces:
    """Spend beside the expected flow of requests, tick by tick: the mean distance, and a mean day."""
    flow = expected_flow(world)
    spend = np.zeros((len(flow), len(world.groups)))
    np.add.at(spend, ((shown.ts - STARTS_TS) // TICK, group), shown.spend)
    errors: list[float] = []
    days: list[tuple[Floats, Floats]] = []
    for number, begins, ends, amount in _budgets(world):
        low, high = (begins - STARTS_TS) // TICK, (ends - STARTS_TS) // TICK
        plan = np.cumsum(flow[low:high, number])
        due = plan / plan[-1]
        so_far = np.cumsum(spend[low:high, number]) / amount
        errors.append(float(np.abs(so_far - due).mean()))
        if high - low == TICKS:
            days.append((so_far, due))
    if not days:
        return _Paces(float(np.mean(errors)) if errors else float("nan"), [], [])
    spent, due = (np.mean([day[which] for day in days], 0) for which in (0, 1))
    return _Paces(float(np.mean(errors)), spent.tolist(), due.tolist())


def _by_day(day: Ints, shown: Shown, days: int, rows: Flags) -> tuple[float, ...]:
    foretold, caught = (
        np.bincount(day[rows], values[rows], days) for values in (shown.foretold, shown.caught)
    )
    return tuple(_ratio(over, under) for over, under in zip(foretold.tolist(), caught.tolist(), strict=True))


def _learning_days(leads: Floats, spend: Floats) -> int:
    """The first day whose leads for each unit of spend are nine tenths of what they are at the end."""
    if len(leads) <= STEADY_DAYS or not spend[-STEADY_DAYS:].sum():
        return len(leads)
    steady = leads[-STEADY_DAYS:].sum() / spend[-STEADY_DAYS:].sum()
    good = leads >= _LEARNED * steady * spend
    return int(np.argmax(good)) + 1


def _by_kind(world: World, group: Ints, shown: Shown, rows: Flags) -> dict[str, float]:
    kinds = np.array([each.kind for each in world.groups])[group]
    return {
        str(kind): _ratio(float(shown.foretold[part].sum()), float(shown.caught[part].sum()))
        for kind in sorted(set(kinds.tolist()))
        if (part := rows & (kinds == kind)).any()
    }


def _starved(world: World, group: Ints, day: Ints, shown: Shown, judged: Flags) -> tuple[str, ...]:
    """Ad groups that have next to no leads after three days of their own."""
    found = []
    for number, each in enumerate(world.groups):
        first = max(0, (each.starts_ts - STARTS_TS) // DAY)
        ended = world.days if not each.ends_ts else (each.ends_ts - STARTS_TS) // DAY
        if not judged[number] or min(world.days, ended) - first < _YOUNG_DAYS:
            continue
        young = (group == number) & (day < first + _YOUNG_DAYS)
        if shown.leads[young].sum() < _STARVED:
            found.append(each.id)
    return tuple(found)


def _cold_rate(world: World, group: Ints, shown: Shown) -> float:
    leads, spend = 0.0, 0.0
    for number, each in enumerate(world.groups):
        if each.starts_ts > STARTS_TS and STARTS_TS + world.days * DAY - each.starts_ts >= _COLD_DAYS * DAY:
            young = (group == number) & (shown.ts < each.starts_ts + _COLD_DAYS * DAY)
            leads += float(shown.leads[young].sum())
            spend += float(shown.spend[young].sum())
    return _ratio(leads, spend)


def _cost_over_target(world: World, group: Ints, shown: Shown, last: Flags) -> float:
    """The target is of leads that are noticed, so those are counted here."""
    found = []
    for number, each in enumerate(world.groups):
        if each.bid_micros:
            mine = last & (group == number)
            cost = _ratio(float(shown.spend[mine].sum()), float(shown.caught[mine].sum()))
            found.append(cost / (each.bid_micros / 1e6))
    return float(np.nanmedian(found)) if found else float("nan")


def share_by_day(run: Figures, limit: Figures) -> Floats:
    """Leads of each day as a share of those of another run."""
    return np.asarray(run.leads_by_day) / np.maximum(limit.leads_by_day, 1e-9)
