"""Figures of a run by true chances, and the lift of lookalikes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from contatto.simulator.worlds.game import Game, Run, ShownViews
from contatto.simulator.worlds.model import (
    DAY,
    STARTS_TS,
    TICK,
    TICKS,
    Flags,
    Floats,
    Ints,
    Spans,
    World,
    expected_flow,
    sigmoid,
)

STEADY_DAYS: Final = 3
_LEARNED: Final = 0.9
_STARVED: Final = (3, 0.5)
"""A starved ad group has fewer leads and spent a smaller share of its budget in its first three days."""
_YOUNG_DAYS: Final = 3
"""Days after which a cost target must hold, and a starved ad group counts."""
_COLD_DAYS: Final = 2
_FREQUENT: Final = 5
"""A view of the same ad by the same viewer from this number on is too many."""
_SAMPLES: Final = 4_000


@dataclass(frozen=True, slots=True)
class RunFigures:
    """Figures of one run; money is in units of currency, and ``last`` is of the second half of the days.

    Leads and conversations are means by true chances; a genuine conversation is one that is no spam. Costs
    are of ad groups that follow the goal of the run and have no cost target of their own.
    """

    goal: str
    days: int
    leads_last: float
    leads: float
    spend_last: float
    spend: float
    cost_per_lead: float
    cost_per_lead_whole: float
    genuine_last: float
    """Genuine conversations."""
    cost_per_genuine: float
    cost_per_genuine_whole: float
    spam_share: float
    """Spam over all conversations of people and farms."""
    budget_use: float
    pacing_error: float
    """The mean distance between spend and plan, as a share of the budget."""
    learning_days: int
    """First day on which leads a unit of spend reach nine tenths of the final rate."""
    calibration: float
    """Predicted leads over those that are noticed in time."""
    calibration_late: float
    """Calibration of the ad groups with the latest leads."""
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
    """Cost over cost target of the results that are noticed, after three days of each ad group."""
    target_results: float
    """Noticed results of ad groups with a cost target after their first three days."""
    farm_share: float
    """Share of the spend on click farms."""
    farm_first_day: float
    """Share of the spend in the first day of a farm; of several farms the highest."""
    farm_later: float
    """Share of the spend after the first day of a farm; of several farms the highest."""
    frequent_share: float
    """Share of views that are at least the fifth of the same ad by the same person."""
    calibration_by_day: tuple[float, ...]
    day_spent: tuple[float, ...]
    day_due: tuple[float, ...]
    """Spend so far, and the plan, as shares of a budget at the ticks of a mean day."""


def measure(run: Run) -> RunFigures:
    """Compute all figures of a run that need no other run."""
    world, shown = run.world, run.shown
    day = (shown.ts - STARTS_TS) // DAY
    last = day >= world.days // 2
    group = np.array([ad.group for ad in world.ads])[shown.ad]
    follows = np.array([not ad_group.goal for ad_group in world.groups])
    untargeted = follows & np.array([not ad_group.bid_micros for ad_group in world.groups])
    judged = untargeted[group] if untargeted.any() else follows[group]
    genuine = np.where(judged, shown.talks - shown.spams, 0.0)
    leads, spend = np.where(judged, shown.leads, 0.0), np.where(judged, shown.spend, 0.0)
    by_day = [np.bincount(day, values, world.days) for values in (leads, spend)]
    by_group = [np.bincount(group, values, len(world.groups)) for values in (shown.leads, shown.spend)]
    recent = last & follows[group]
    pacing_error, day_spent, day_due = _paces(world, group, shown)
    draws = np.random.default_rng(0).random((_SAMPLES, 2))
    delays = [float(np.median(world.delays_s(number, draws))) for number in range(len(world.groups))]
    late = np.isin(group, np.flatnonzero(np.array(delays) >= 0.999 * max(delays)))
    calibration_days = [
        np.bincount(day[follows[group]], values[follows[group]], world.days).tolist()
        for values in (shown.predicted, shown.caught)
    ]
    views_of_pair = np.unique(shown.viewer * len(world.ads) + shown.ad, return_counts=True)[1]
    frequent_views = float(np.maximum(views_of_pair - _FREQUENT + 1, 0).sum())
    starved, cold, targets = _group_figures(run, group, follows)
    kinds = np.array([world_group.kind for world_group in world.groups])[group]
    farms: list[list[float]] = []  # shares of the spend on each farm in its first day, and after it
    for number, starts in enumerate(world.farm_starts):
        is_farm = world.farm_of[shown.viewer] == number
        first_day = (shown.ts >= starts) & (shown.ts < starts + DAY)
        farms.append(
            [
                _ratio(shown.spend[rows & is_farm].sum(), shown.spend[rows].sum())
                for rows in (first_day, shown.ts >= starts + DAY)
            ]
        )
    learning_days, daily_leads, daily_spend = world.days, *by_day
    if world.days > STEADY_DAYS and daily_spend[-STEADY_DAYS:].sum():
        steady = daily_leads[-STEADY_DAYS:].sum() / daily_spend[-STEADY_DAYS:].sum()
        learning_days = int(np.argmax(daily_leads >= _LEARNED * steady * daily_spend)) + 1
    view_spend = shown.spend
    used, budget = 0.0, 0.0
    since = int(shown.ts[last].min()) // DAY * DAY if last.any() else STARTS_TS
    rows = [np.flatnonzero(group == number) for number in range(len(world.groups))]
    for number, begins, ends, amount in _budgets(world):
        if begins >= since:
            low, high = np.searchsorted(shown.ts[rows[number]], [begins, ends])
            used += float(view_spend[rows[number][low:high]].sum())
            budget += amount
    budget_use = _ratio(used, budget)
    return RunFigures(
        goal=run.goal,
        days=world.days,
        leads_last=float(leads[last].sum()),
        leads=float(leads.sum()),
        spend_last=float(spend[last].sum()),
        spend=float(spend.sum()),
        cost_per_lead=_ratio(spend[last].sum(), leads[last].sum()),
        cost_per_lead_whole=_ratio(spend.sum(), leads.sum()),
        genuine_last=float(genuine[last].sum()),
        cost_per_genuine=_ratio(spend[last].sum(), genuine[last].sum()),
        cost_per_genuine_whole=_ratio(spend.sum(), genuine.sum()),
        spam_share=_ratio(shown.spams[recent].sum(), shown.talks[recent].sum()),
        budget_use=budget_use,
        pacing_error=pacing_error,
        learning_days=learning_days,
        calibration=_ratio(shown.predicted[recent].sum(), shown.caught[recent].sum()),
        calibration_late=_ratio(shown.predicted[recent & late].sum(), shown.caught[recent & late].sum()),
        calibration_by_kind={
            kind: _ratio(shown.predicted[part].sum(), shown.caught[part].sum())
            for kind in sorted({world_group.kind for world_group in world.groups})
            if (part := recent & (kinds == kind)).any()
        },
        calibration_of_talks=_ratio(shown.predicted_talk[last].sum(), shown.talks[last].sum()),
        starved=starved,
        leads_by_day=tuple(by_day[0].tolist()),
        spend_by_day=tuple(by_day[1].tolist()),
        leads_by_group=tuple(by_group[0].tolist()),
        spend_by_group=tuple(by_group[1].tolist()),
        cold_rate=cold,
        cost_over_target=targets[0],
        target_results=targets[1],
        calibration_by_day=tuple(map(_ratio, *calibration_days)),
        day_spent=tuple(day_spent),
        day_due=tuple(day_due),
        farm_share=_ratio(shown.spend[world.is_farm[shown.viewer]].sum(), shown.spend.sum()),
        farm_first_day=max((first for first, _ in farms), default=float("nan")),
        farm_later=max((later for _, later in farms), default=float("nan")),
        frequent_share=_ratio(frequent_views, len(shown.ad)),
    )


def _group_figures(
    run: Run, group: Ints, judged: Flags
) -> tuple[tuple[str, ...], float, tuple[float, float]]:
    """Return starved ad groups, the rate of leads of late ones, and cost over target with its results.

    A result is a noticed lead, or a genuine conversation where that is the goal.
    """
    world, shown = run.world, run.shown
    starved = []
    cold_leads, cold_spend, spent, allowed, results = 0.0, 0.0, 0.0, 0.0, 0.0
    end = STARTS_TS + world.days * DAY
    for number, ad_group in enumerate(world.groups):
        rows = group == number
        starts = max(ad_group.starts_ts, STARTS_TS)
        first = (starts - STARTS_TS) // DAY
        last = min(world.days, (ad_group.ends_ts - STARTS_TS) // DAY if ad_group.ends_ts else world.days)
        if judged[number] and last - first >= _YOUNG_DAYS:
            young = rows & ((shown.ts - STARTS_TS) // DAY < first + _YOUNG_DAYS)
            days = _YOUNG_DAYS / (last - first if ad_group.budget_mode == "total" else 1)
            share = _ratio(shown.spend[young].sum(), ad_group.budget_micros / 1e6 * days)
            spends = not ad_group.bid_micros and share >= _STARVED[1]
            if shown.leads[young].sum() < _STARVED[0] and not spends:
                starved.append(ad_group.id)
        if ad_group.starts_ts > STARTS_TS and end - ad_group.starts_ts >= _COLD_DAYS * DAY:
            young = rows & (shown.ts < ad_group.starts_ts + _COLD_DAYS * DAY)
            cold_leads += float(shown.leads[young].sum())
            cold_spend += float(shown.spend[young].sum())
        if ad_group.bid_micros:
            later = rows & (shown.ts >= starts + _YOUNG_DAYS * DAY)
            is_lead = (ad_group.goal or run.goal) == "lead"
            count = float((shown.caught if is_lead else shown.talks - shown.spams)[later].sum())
            spent += float(shown.spend[later].sum())
            allowed += count * ad_group.bid_for(run.goal) / 1e6
            results += count
    return tuple(starved), _ratio(cold_leads, cold_spend), (_ratio(spent, allowed), results)


def _ratio(over: Any, under: Any) -> float:
    return float(over) / float(under) if under else float("nan")


def _budgets(world: World) -> list[tuple[int, int, int, float]]:
    """List whole spans of daily budgets that nothing disturbed: ad group, beginning, end, budget.

    A span counts in which its ad group ran from beginning to end, with no cost target to hold it back.
    """
    spans = Spans(world)
    edited = {edit.group for edit in world.edits}
    end = STARTS_TS + world.days * DAY
    budgets = []
    for number, group in enumerate(world.groups):
        begins_late = group.starts_ts >= end
        if group.budget_mode != "day" or group.bid_micros or number in edited or begins_late:
            continue
        begins, ends = spans.at(group, max(group.starts_ts, STARTS_TS))
        while ends <= end:
            if begins >= max(group.starts_ts, STARTS_TS) and (not group.ends_ts or ends <= group.ends_ts):
                budgets.append((number, begins, ends, group.budget_micros / 1e6))
            begins, ends = spans.at(group, ends)
    return budgets


def _paces(world: World, group: Ints, shown: ShownViews) -> tuple[float, list[float], list[float]]:
    """Compare spend with the expected flow: the mean distance, and spend and plan of a mean day."""
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
    error = float(np.mean(errors)) if errors else float("nan")
    spent, due = np.mean(days, 0).tolist() if days else ([], [])
    return error, spent, due


type Rank = Callable[[int, Ints, Ints], Floats]
"""Scores of candidates for an ad group that has these seeds."""

SEEDS: Final = 20
_SHARES: Final = (0.01, 0.05, 0.10)
_LEAST_CANDIDATES: Final = 100


@dataclass(frozen=True, slots=True)
class Lifts:
    """True lead value of the best 1, 5 and 10 in a hundred over the mean of all who could be reached.

    ``spam`` is the mean chance of spam of the best 5 in a hundred over that of all.
    """

    groups: int
    top_1: float
    top_5: float
    top_10: float
    spam: float


def true_worth(world: World, day: int) -> tuple[Floats, Floats]:
    """Return the true chances of a lead and of spam of viewers (rows) for ad groups (columns)."""
    tables = world.tables(day)
    leads = sigmoid(tables.click) * tables.talk * (1 - tables.spam) * tables.lead
    return mean_by_group(world, leads), mean_by_group(world, tables.spam)


def mean_by_group(world: World, values: Floats) -> Floats:
    """Return the means of viewers (rows) over the ads of each ad group (columns)."""
    owner = np.array([ad.group for ad in world.ads])
    return np.stack([values[:, owner == number].mean(1) for number in range(len(world.groups))], 1)


def measure_lifts(world: World, seeds: dict[int, list[int]], rank: Rank) -> Lifts:
    """Measure the true worth of the candidates that a player ranks first, without the seeds."""
    leads, spams = true_worth(world, world.days - 1)
    rows = []
    for group, seed_viewers in seeds.items():
        aimed = np.isin(
            world.viewer_country, [world.countries.index(name) for name in world.groups[group].countries]
        )
        aimed[seed_viewers] = False
        candidates = np.flatnonzero(aimed)
        if len(candidates) < _LEAST_CANDIDATES:
            continue
        order = candidates[np.argsort(-rank(group, np.array(seed_viewers), candidates), kind="stable")]
        lead, spam = leads[:, group], spams[:, group]
        best = [
            lead[order[: max(1, round(share * len(order)))]].mean() / lead[candidates].mean()
            for share in _SHARES
        ]
        fifth = order[: max(1, round(_SHARES[1] * len(order)))]
        rows.append([*best, spam[fifth].mean() / spam[candidates].mean()])
    if not rows:
        return Lifts(0, *([float("nan")] * 4))
    return Lifts(len(rows), *(float(mean) for mean in np.mean(rows, 0)))


def first_leads(play: Game, most: int = SEEDS) -> dict[int, list[int]]:
    """Return the first viewers who became leads, of each ad group with enough of them."""
    viewers_by_group = {group: list(dict.fromkeys(who))[:most] for group, who in play.leads_of.items()}
    return {group: who for group, who in sorted(viewers_by_group.items()) if len(who) >= most}


def rank_by_lines(play: Game, group: int, seeds: Ints, candidates: Ints) -> Floats:
    """Score candidates by the player of a game."""
    world = play.world
    line: dict[str, Any] = {
        "type": "rank",
        "ask_id": f"rank{group}",
        "ts": STARTS_TS + world.days * DAY,
        "advertiser_id": world.advertisers[world.groups[group].advertiser],
        "adgroup_id": world.groups[group].id,
        "seeds": [world.viewer_ids[who] for who in seeds],
        "candidates": [
            {
                "viewer_id": world.viewer_ids[who],
                "country": world.countries[world.viewer_country[who]],
                "features": world.viewer_features[who],
            }
            for who in candidates
        ],
    }
    answer = play.answer(line)
    return np.array(answer["scores"] if answer else np.zeros(len(candidates)), float)


def rank_by_worth(worth: Floats) -> Rank:
    """Return the ranking of a player who knows the worth of viewers (rows) for ad groups (columns)."""
    return lambda group, seeds, candidates: np.asarray(worth[candidates, group], float)
