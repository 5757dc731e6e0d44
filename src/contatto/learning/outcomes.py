"""Outcomes of impressions, pacing multipliers, and periodic updates of the market."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contatto.learning import columns as col
from contatto.learning import learner
from contatto.learning.batch_learning import is_time_to_relearn, relearn_in_slices
from contatto.learning.features import FIRST_FIT, fade_viewer, hash_once
from contatto.learning.impressions import Impression, LabelDelays
from contatto.learning.market import (
    FAST_S,
    FIRST_USUAL,
    HALF_LIFE,
    HORIZON_S,
    NO_END_S,
    SLOT_S,
    UNITS,
    VIEW,
    AuctionGroup,
    BudgetPlan,
    Groups,
    MarketState,
    Traffic,
    amount_between,
    find_limit,
    find_multiplier,
    find_quantile,
    goal_units,
    limit_units,
    spend_at,
)
from contatto.learning.model import (
    ConversationLine,
    LeadLine,
    LineBidType,
    LineBudgetMode,
    LineGoal,
    LineLeadSource,
    LinePacing,
)

_FASTEST: Final = 0.7
"""Largest change of a multiplier in a step, as a logarithm."""
GAIN: Final = 0.25
"""Exponent of the correction of spend in a step."""
LEARNED_AT: Final = 20
"""Conversions that end the learning budget early; then the cost target limits bids."""
LEARNING_S: Final = 2.5 * col.DAY_S
"""Time in which a learning budget limits an ad group instead of its cost target."""
FEW_A_DAY: Final = 1.0
"""Expected daily conversions below which a cost target counts as too low."""
FAR_OVER: Final = 4.0
"""Cost, as a multiple of the target, above which the target counts as too low."""
LEARNING_A_DAY: Final = 20.0
"""Daily learning budget, as a multiple of the cost target; less at high costs."""
LEARNING_TRUST: Final = 8.0
"""Prior conversions at the target while an ad group learns."""
STARVED_A_DAY: Final = 0.1
"""Daily budget of an ad group with a cost target that is too low, as a multiple of the target."""
FACTORS: Final = (0.8, 1.25)
"""Bounds of the factor that corrects the actual cost to the target."""
AIM: Final = 0.8
"""Share of the cost target that bids aim at, since the cost of few results varies by chance."""
TRUST: Final = 10.0
"""Prior conversions at the target."""


def target_of(group: AuctionGroup) -> float:
    """Return the cost target in micros; 0 without one."""
    line = group.line
    return float(line.bid_micros or 0) if line.bid_type is LineBidType.CUSTOM else 0.0


def is_target_too_low(group: AuctionGroup, ts: int) -> bool:
    """Report whether the cost target is too low: few expected results, or at many times the target.

    It is not while the budget limits the ad group, nor in its learning time.
    """
    target = target_of(group)
    if not target or group.is_paced or _has_time_to_learn(group, ts):
        return False
    dear = group.lately_spent > FAR_OVER * target * group.lately_expected
    return dear or group.lately_expected < FEW_A_DAY


def _has_time_to_learn(group: AuctionGroup, ts: int) -> bool:
    return ts - max(group.began_at, group.line.starts_ts or 0) < LEARNING_S * col.SECOND


@dataclass(frozen=True, slots=True)
class CampaignShare:
    """Multiplier of an ad group from the campaign budget; ``planned`` is its spend in units per request."""

    multiplier: float
    planned: float


def pace_campaigns(
    groups: Groups, traffic: Traffic, rates: NDArray[np.float64], ts: int
) -> dict[int, CampaignShare]:
    """Return the multipliers of ad groups with a campaign budget; ``rates`` are requests per second."""
    campaigns: dict[str, list[AuctionGroup]] = {}
    for group in groups.groups:
        if group.line.campaign_id:
            campaigns.setdefault(group.line.campaign_id, []).append(group)
    shares: dict[int, CampaignShare] = {}
    for members in campaigns.values():
        serving = []
        for member in members:
            row, line = groups.table[member.number], member.line
            is_open = row[col.G_OPEN] and row[col.G_STARTS] <= ts / col.SECOND < row[col.G_ENDS]
            has_budget = line.campaign_micros is not None
            if is_open and has_budget and line.campaign_mode is not LineBudgetMode.INFINITE:
                serving.append(member)
        if serving:
            shares |= _pace_campaign(groups, members, serving, traffic, rates, ts)
    return shares


def _pace_campaign(
    groups: Groups, members: list[AuctionGroup], serving: list[AuctionGroup], traffic: Traffic,
    rates: NDArray[np.float64], ts: int,
) -> dict[int, CampaignShare]:  # fmt: skip
    """Pace a campaign budget over its serving ad groups; the first of them stores the plan."""
    now_s, head = ts / col.SECOND, serving[0]
    targeted = np.asarray(groups.allowed[[member.number for member in serving]].max(axis=0), np.bool_)
    daily = traffic.curve_of(targeted, float(groups.table[head.number, col.G_OFFSET]))
    curve = np.concatenate((np.zeros(1), np.cumsum(daily)))
    is_by_day = head.line.campaign_mode is LineBudgetMode.DAY
    counted = sum(member.spent_day if is_by_day else member.spent_ever for member in members)
    ends = (member.line.ends_ts for member in serving)
    ends_s = max(math.inf if ends_ts is None else ends_ts / col.SECOND for ends_ts in ends)
    plan = head.campaign_plan
    if not plan.amount or not (is_by_day or ends_s < math.inf):  # without an end each step makes a new plan
        remaining = float((head.line.campaign_micros or 0) * UNITS - counted)
        until_s = ends_s if ends_s < math.inf else now_s + NO_END_S
        if is_by_day:
            day_end_s = head.day_until / col.SECOND
            until_s = min(day_end_s, ends_s)
            if all(member.began_at >= member.day_from and not member.spent_ever for member in members):
                # The first day gets the rest of the daily curve.
                whole = amount_between(curve, head.day_from / col.SECOND, day_end_s)
                remaining *= amount_between(curve, now_s, day_end_s) / max(whole, 1e-9)
        plan = BudgetPlan(now_s, max(until_s, now_s + 1.0), float(counted), max(remaining, 1.0))
        head.campaign_plan = plan
    ahead_s = min(now_s + HORIZON_S, max(plan.until_s, now_s + 1.0))
    amount = amount_between(curve, now_s, ahead_s)
    lately = amount_between(curve, now_s - HORIZON_S, now_s)
    coming_s = HORIZON_S * amount / max(lately, 1e-9)
    prices, counts, requests = np.zeros(col.BINS), np.zeros(col.BINS), 0.0
    for member in serving:
        number, count = member.number, float(groups.table[member.number, col.G_REQUESTS])
        weight = float(rates[number]) * coming_s / max(count, 1e-9)
        prices += groups.prices[number] * weight / member.correction
        counts += groups.counts[number] * weight
        requests += count
    is_fast = all(member.line.pacing is LinePacing.FAST for member in serving)
    due = _due_share(plan, curve, ahead_s, is_fast=is_fast)
    spent = counted + sum(member.promised for member in members) * groups.view_rate
    units = max(plan.spent + plan.amount * due - spent, 0.0) / max(groups.view_rate, 0.05)
    multiplier = _damp(head.campaign_paced, find_multiplier(prices, counts, 1.0, units), requests)
    shares = {}
    for member in serving:
        member.campaign_paced = multiplier
        requests = max(float(groups.table[member.number, col.G_REQUESTS]), 1e-9)
        cost = spend_at(groups.prices[member.number], multiplier) / requests
        shares[member.number] = CampaignShare(multiplier, cost / member.correction)
    return shares


def _due_share(plan: BudgetPlan, curve: NDArray[np.float64], until_s: float, *, is_fast: bool) -> float:
    """Return the share of a plan that is due until a time."""
    if is_fast:
        return min((until_s - plan.from_s) / FAST_S, 1.0)
    whole = amount_between(curve, plan.from_s, plan.until_s)
    return amount_between(curve, plan.from_s, until_s) / max(whole, 1e-9)


def _damp(previous: float, multiplier: float, requests: float) -> float:
    """Limit the change of a multiplier in a step."""
    if previous > 0.0 and multiplier > 0.0 and requests >= 50.0:
        step = math.log(multiplier / previous)
        return previous * math.exp(min(max(step, -_FASTEST), _FASTEST) * 0.6)
    return multiplier


def _multiplier(
    groups: Groups, group: AuctionGroup, traffic: Traffic, rate: float, ts: int, opened: int | CampaignShare
) -> float:
    """Return the multiplier of an ad group.

    ``opened`` is its campaign share, or the number of open ad groups if it has none.
    """
    target = target_of(group)
    is_free = goal_units(group.line) == math.inf
    if is_free and isinstance(opened, int):
        group.is_paced = False
        paced = math.inf
        if not target:
            return find_quantile(groups.counts[group.number], min(max(1.0 / (opened + 1), 0.05), 0.5))
    else:
        paced = math.inf if is_free else _pace(groups, group, traffic, rate, ts)
        if isinstance(opened, CampaignShare) and opened.multiplier < paced:
            paced, group.planned = opened.multiplier, opened.planned
    if not target:
        group.is_paced = True
        return paced
    if group.earned() < LEARNED_AT and _has_time_to_learn(group, ts):
        spent = group.spent_ever / UNITS / target
        success = (group.earned() + LEARNING_TRUST) / (spent + LEARNING_TRUST)
        budget = LEARNING_A_DAY * target * min(success, 1.0)
        multiplier = min(paced, _explore(groups, group, traffic, rate, ts, budget))
    else:
        usual = groups.results_per_score[group.line.goal]
        ratio = (group.lately_expected + TRUST * usual) / (group.lately_scored + TRUST)
        limit = AIM * target * group.cost_factor * ratio
        multiplier = min(paced, find_limit(groups.prices[group.number], limit))
        if group.lately_expected < FEW_A_DAY:
            starved = _explore(groups, group, traffic, rate, ts, STARVED_A_DAY * target)
            multiplier = max(multiplier, min(paced, starved))
    group.is_paced = multiplier == paced
    return multiplier


def results_per_score(groups: Groups, goal: LineGoal) -> float:
    """Return the expected results of recent views over their scores, of all ad groups with a goal.

    Scores are lower than expected results, since spam counts less, for example. Prices are known by score.
    """
    members = [member for member in groups.groups if member.line.goal is goal]
    expected = sum(member.lately_expected for member in members)
    scored = sum(member.lately_scored for member in members)
    return (expected + TRUST) / (scored + TRUST)


def _pace(groups: Groups, group: AuctionGroup, traffic: Traffic, rate: float, ts: int) -> float:
    """Return the multiplier that spends the budget along its plan; make a missing plan."""
    now_s, line, plan = ts / col.SECOND, group.line, group.plan
    curve = _curve(groups, group, traffic)
    if not plan.amount:
        begins_s = max(now_s, (line.starts_ts or 0) / col.SECOND)
        ends_s = math.inf if line.ends_ts is None else line.ends_ts / col.SECOND
        remaining = goal_units(line) - group.counted
        if line.budget_mode is LineBudgetMode.TOTAL:
            until_s = ends_s if ends_s < math.inf else begins_s + NO_END_S
        else:
            day_end_s = group.day_until / col.SECOND
            until_s = min(day_end_s, ends_s)
            if group.began_at >= group.day_from and group.spent_ever == 0:
                # The first day gets the rest of the daily curve.
                whole = amount_between(curve, group.day_from / col.SECOND, day_end_s)
                remaining *= amount_between(curve, begins_s, day_end_s) / max(whole, 1e-9)
            remaining = max(remaining, 1.0)
        plan = BudgetPlan(begins_s, max(until_s, begins_s + 1.0), float(group.counted), remaining)
        group.plan = plan
    if line.budget_mode is LineBudgetMode.TOTAL and line.ends_ts is None:
        plan.from_s, plan.until_s, plan.spent = now_s, now_s + NO_END_S, float(group.counted)
        plan.amount = goal_units(line) - group.counted
    spent = group.counted + group.promised * groups.view_rate
    ahead_s = min(now_s + HORIZON_S, max(plan.until_s, now_s + 1.0))
    is_fast = line.pacing is LinePacing.FAST
    due = _due_share(plan, curve, ahead_s, is_fast=is_fast)
    group.ahead = math.inf if is_fast else plan.spent + plan.amount * due
    groups.refresh(group)
    amount = amount_between(curve, now_s, ahead_s)
    lately = amount_between(curve, now_s - HORIZON_S, now_s)
    coming = rate * HORIZON_S * amount / max(lately, 1e-9)
    units = max(plan.spent + plan.amount * due - spent, 0.0) / max(groups.view_rate, 0.05)
    group.planned = units / max(coming, 1.0)
    number = group.number
    requests = float(groups.table[number, col.G_REQUESTS])
    multiplier = find_multiplier(
        groups.prices[number], groups.counts[number], requests, group.planned * group.correction
    )
    group.paced = _damp(group.paced, multiplier, requests)
    return group.paced


def _explore(
    groups: Groups, group: AuctionGroup, traffic: Traffic, rate: float, ts: int, micros_a_day: float
) -> float:
    """Return the multiplier that spends a daily amount along the curve of requests."""
    curve = _curve(groups, group, traffic)
    now_s, number = ts / col.SECOND, group.number
    lately = amount_between(curve, now_s - HORIZON_S, now_s)
    share = lately / max(amount_between(curve, now_s - col.DAY_S, now_s), 1e-9)
    units = micros_a_day * UNITS * share / max(rate * HORIZON_S, 1.0)
    requests = float(groups.table[number, col.G_REQUESTS])
    return find_multiplier(groups.prices[number], groups.counts[number], requests, units)


def _curve(groups: Groups, group: AuctionGroup, traffic: Traffic) -> NDArray[np.float64]:
    """Return the cumulative daily curve of an ad group.

    It is cached until the day or a country changes; before a whole day is known, for a quarter of an hour.
    """
    cached = groups.curves.get(group.number)
    period = traffic.now_s // (col.DAY_S if traffic.weight.all() else SLOT_S)
    if cached is None or cached[0] != period:
        offset_s = float(groups.table[group.number, col.G_OFFSET])
        daily = traffic.curve_of(groups.allowed[group.number].astype(bool), offset_s)
        curve = np.concatenate((np.zeros(1), np.cumsum(daily)))
        cached = groups.curves[group.number] = (period, curve)
    return cached[1]


def check_spend(groups: Groups, newest: NDArray[np.float64], passed_s: float) -> None:
    """Correct the pacing of each ad group by its actual over planned spend of the last step.

    Changing predictions make the bid landscape slightly wrong, so a steady error remains. The factor of a
    cost target follows the actual cost per expected conversion. ``newest`` are the eligible requests of each
    ad group in the last step, which took ``passed_s``.
    """
    share = 0.5 ** (passed_s / col.DAY_S)
    for group in groups.groups:
        number = group.number
        spent = group.spent_ever + group.promised * groups.view_rate
        planned = group.planned * float(newest[number]) * groups.view_rate
        actual = max(spent - group.spent_before, 0.0)
        group.spent_before = spent
        if planned > 0.0 and group.is_paced:
            price = float(groups.prices[number].sum() / max(groups.counts[number].sum(), 1.0))
            doubt = 3.0 * price + 0.1 * planned
            group.correction *= ((planned + doubt) / (actual + doubt)) ** GAIN
            group.correction = min(max(group.correction, 0.4), 2.5)
        group.lately_spent = group.lately_spent * share + actual / UNITS
        group.lately_expected = group.lately_expected * share + group.expected
        group.lately_scored = group.lately_scored * share + group.scored
        group.expected = group.scored = 0.0
        target = target_of(group)
        if target:
            cost = (group.lately_spent + TRUST * target) / (group.lately_expected + TRUST)
            factor = group.cost_factor * (target / cost) ** (0.5 * passed_s / 3_600.0)
            group.cost_factor = min(max(factor, FACTORS[0]), FACTORS[1])


BESIDE_A_CLICK: Final = 4.0
"""Stored views without a click, per click. Storing all of them would add a fifth more information."""
ENOUGH_BESIDE: Final = 30_000.0
"""Minimum of stored views without a click, while clicks are few."""
FEW_VIEWS: Final = 20.0
"""Prior of the number of views in the sampling rate."""
_SCORE: Final = col.O_SCORE - col.O_RAW
"""Place of the score in an impression's raw predictions."""


def _count_expected(
    market: MarketState, impression: Impression, head: int, before: float, after: float
) -> None:
    """Count the expected outcomes of a label between two shares of late labels (see `Impression`).

    The present prediction measures the remaining error of the learner. The prediction of the decision would
    count errors that the learner has since corrected, so calibration would correct them twice. Once the
    label itself was partly learned, or without a feature snapshot, only the old prediction is left.
    """
    p, place = impression.raw[head], impression.place
    if place >= 0:
        table = market.viewers.table
        trust = learner.trust_in(table, impression.viewer, float(market.numbers[col.S_FARM_PRIOR]))
        market.snapshots.shares[place] = trust
        if before == 0.0:
            learned, count = market.learned, market.list_weights(place, impression.ad)
            z = learner.score_features(learned.table, learned.slots, learned.weights, count, head)
            p = float(learner.logistic(z + table[impression.viewer, col.V_EFFECT + head]))
    p = learner.sloped(math.log(p / (1.0 - p)), head, market.numbers)
    market.calibration.expected[impression.group, head] += (after - before) * p
    market.calibration.tried[impression.group, head] += after - before


def _add_farm_evidence(market: MarketState, impression: Impression, head: int, *, is_positive: bool) -> None:
    """Add evidence of a click farm from an outcome or its absence, except for viewers without consent."""
    if impression.viewer:
        usual = float(market.usual[head])
        table = market.viewers.table
        learner.add_evidence(
            table[impression.viewer],
            learner.evidence_of(head, impression.p[head], usual, is_positive=is_positive),
        )
        if head == col.CLICK and is_positive:
            market.clicks += 1.0
            market.farm_clicks += (
                learner.trust_in(table, impression.viewer, learner.FIRST_PRIOR) < learner.SUSPECT
            )


def take_view(market: MarketState, impression: Impression, ts: int) -> None:
    """Charge a view, and count it for its viewer."""
    groups, viewers = market.groups, market.viewers
    group = groups.groups[impression.group]
    impression.viewed_at = max(ts, 1)
    impression.view_until = impression.viewed_at + (group.line.view_window_s or 0) * col.SECOND
    market.views_seen += 1.0
    market.note(VIEW, impression)
    waited_s = (market.now - impression.asked_at) / col.SECOND
    market.promise_wait = min(max(market.promise_wait, 2.0 * waited_s), col.DAY_S)
    if impression.is_promised:
        impression.is_promised = False
        group.promised -= impression.price
    # a view is charged up to the limit of the budget
    amount = max(0, min(impression.price, int(min(limit_units(group.line) - group.counted, 1e18))))
    group.spent_day += amount
    group.spent_ever += amount
    groups.refresh(group)
    group.views += 1
    p = impression.p
    group.predicted += p[col.CLICK] * p[col.CONVERSATION] * p[col.LEAD]
    expected = (
        p[col.CLICK]
        * p[col.CONVERSATION]
        * (p[col.LEAD] if group.line.goal is LineGoal.LEAD else 1.0 - p[col.SPAM])
    )
    group.expected += expected
    group.scored += impression.raw[_SCORE] if len(impression.raw) > _SCORE else expected
    now_s = market.now / col.SECOND
    row = viewers.table[impression.viewer]
    fade_viewer(viewers.table, impression.viewer, now_s)
    row[col.V_VIEWS] += 1.0
    row[col.V_ALL_VIEWS] += 1.0
    viewers.note_shown(impression.viewer, impression.ad, now_s)
    market.records.unsettled.append(impression.request_id)
    market.records.touches.setdefault(impression.viewer, []).append(impression.request_id)
    if impression.early_click_at:
        take_click(market, impression, impression.early_click_at)


def take_click(market: MarketState, impression: Impression, ts: int) -> None:
    """Count a click."""
    viewers = market.viewers
    group = market.groups.groups[impression.group]
    impression.clicked_at, impression.is_new = max(ts, 1), True
    impression.click_until = impression.clicked_at + (group.line.click_window_s or 0) * col.SECOND
    group.clicks += 1
    market.note(col.CLICK, impression)
    now_s = market.now / col.SECOND
    fade_viewer(viewers.table, impression.viewer, now_s)
    row = viewers.table[impression.viewer]
    row[col.V_CLICKS] += 1.0
    recent = viewers.recent[impression.viewer].tolist()
    if impression.ad in recent:
        place = recent.index(impression.ad)
        viewers.shown[impression.viewer, place] = -abs(viewers.shown[impression.viewer, place])
    waited_s = (impression.clicked_at - impression.viewed_at) / col.SECOND
    if waited_s > market.click_wait / 2:
        market.click_wait = min(max(market.click_wait, 2.0 * waited_s), 6 * 3600.0)
    if impression.is_settled:
        if impression.place >= 0:
            market.snapshots.stands_for[impression.place] = 1.0
        _add_farm_evidence(market, impression, col.CLICK, is_positive=True)
        market.calibration.came[impression.group, col.CLICK] += 1.0
    market.talks.at_edge[0].append((market.now, impression.request_id))


def find_attributed_touch(market: MarketState, viewer: int, advertiser: int, ts: int) -> Impression | None:
    """Return the attributed touch of a conversion: the latest click in its window, else the latest view."""
    best_view: Impression | None = None
    best_click: Impression | None = None
    groups = market.groups
    for name in reversed(market.records.touches.get(viewer, ())):
        impression = market.records.shown.get(name)
        if impression is None or groups.table[impression.group, col.G_ADVERTISER] != advertiser:
            continue
        if impression.clicked_at and impression.clicked_at <= ts <= impression.click_until:
            if best_click is None or impression.clicked_at > best_click.clicked_at:
                best_click = impression
        elif best_view is None and impression.viewed_at <= ts <= impression.view_until:
            best_view = impression
    return best_click or best_view


def _flag(market: MarketState, viewer: int, advertiser: int, flag: int) -> None:
    """Flag a viewer's contact with an advertiser; in a full row it replaces the first one."""
    contacts = market.viewers.known[viewer].tolist()
    key = advertiser if advertiser in contacts else -1
    place = contacts.index(key) if key in contacts else 0
    if contacts[place] != advertiser:
        market.viewers.flags[viewer, place] = 0
    market.viewers.known[viewer, place] = advertiser
    market.viewers.flags[viewer, place] |= flag


def take_conversation(market: MarketState, line: ConversationLine, viewer: int, advertiser: int) -> None:
    """Count a conversation of a viewer with an advertiser."""
    impression = find_attributed_touch(market, viewer, advertiser, line.ts)
    fade_viewer(market.viewers.table, viewer, market.now / col.SECOND)
    market.viewers.table[viewer, col.V_CONVERSATIONS] += 1.0
    _flag(market, viewer, advertiser, col.TALKED)
    if impression is None:
        return
    market.groups.groups[impression.group].conversations += 1
    begin_talk(market, impression)
    market.talk_of[viewer, advertiser] = impression.request_id


def begin_talk(market: MarketState, impression: Impression) -> None:
    """Count the conversation of a click, and begin to wait for its labels of lead and spam."""
    if impression.talked_at or not impression.clicked_at:
        return
    impression.talked_at, impression.is_new = max(market.now, 1), True
    market.note(col.CONVERSATION, impression)
    market.calibration.came[impression.group, col.CONVERSATION] += 1.0
    _count_expected(market, impression, col.CONVERSATION, impression.waited_talk, 1.0)
    market.leads.at_edge[0].append((market.now, impression.request_id))
    market.spam.at_edge[0].append((market.now, impression.request_id))


def _chat_without_lead(market: MarketState, viewer: int, advertiser: int, ts: int) -> Impression | None:
    """Return the latest conversation without a lead, since a late lead may belong to an earlier one."""
    for name in reversed(market.records.touches.get(viewer, ())):
        impression = market.records.shown.get(name)
        if impression is None or market.groups.table[impression.group, col.G_ADVERTISER] != advertiser:
            continue
        if (
            impression.talked_at
            and not impression.lead_at
            and not impression.spam_at
            and ts <= impression.click_until
        ):
            return impression
    return None


def take_lead(market: MarketState, line: LeadLine, viewer: int, advertiser: int) -> None:
    """Count a lead: once per viewer and advertiser, and again for a later conversation.

    Without repeated labels the learner would infer that existing leads have no value.
    """
    talk = market.records.shown.get(market.talk_of.get((viewer, advertiser), ""))
    if (viewer, advertiser) in market.lead_of and (talk is None or talk.lead_at):
        talk = (
            None
            if line.source is LineLeadSource.MARKED
            else _chat_without_lead(market, viewer, advertiser, line.ts)
        )
        if talk is None:
            return
    impression = find_attributed_touch(market, viewer, advertiser, line.ts)
    fade_viewer(market.viewers.table, viewer, market.now / col.SECOND)
    if talk is None or not talk.spam_at:
        market.viewers.table[viewer, col.V_LEADS] += 1.0
    _flag(market, viewer, advertiser, col.IS_LEAD)
    market.lead_of[viewer, advertiser] = "" if impression is None else impression.request_id
    if impression is None:
        return
    market.groups.groups[impression.group].leads += 1
    if (impression.lead_at or not impression.talked_at) and talk is not None and not talk.lead_at:
        impression = talk
    begin_talk(market, impression)
    if not impression.talked_at or impression.lead_at:
        return
    impression.lead_at, impression.is_new = max(market.now, 1), True
    market.lead_of[viewer, advertiser] = impression.request_id
    if not impression.spam_at:
        _add_farm_evidence(market, impression, col.LEAD, is_positive=True)
    market.note(col.LEAD, impression)
    market.calibration.came[impression.group, col.LEAD] += 1.0
    _count_expected(market, impression, col.LEAD, impression.waited_lead, 1.0)


def take_spam(market: MarketState, viewer: int, advertiser: int) -> None:
    """Count spam in the last conversation of a viewer with an advertiser."""
    fade_viewer(market.viewers.table, viewer, market.now / col.SECOND)
    market.viewers.table[viewer, col.V_SPAM] += 1.0
    impression = market.records.shown.get(market.talk_of.get((viewer, advertiser), ""))
    if impression is None or impression.spam_at:
        return
    market.groups.groups[impression.group].spam += 1
    impression.spam_at, impression.is_new = max(market.now, 1), True
    if not impression.talked_at:
        return
    market.note(col.SPAM, impression)
    _add_farm_evidence(market, impression, col.SPAM, is_positive=True)
    market.calibration.came[impression.group, col.SPAM] += 1.0
    _count_expected(market, impression, col.SPAM, impression.waited_spam, 1.0)
    if impression.lead_at:
        row = market.viewers.table[viewer]
        row[col.V_LEADS] = max(row[col.V_LEADS] - 1.0, 0.0)
    elif impression.waited_lead < 1.0:
        # A spam conversation brings no good lead, so its label is negative at once. Contacts from spam are
        # still expected and counted as leads, so that predictions match reports; they are not learned.
        _count_expected(market, impression, col.LEAD, impression.waited_lead, 1.0)
        impression.waited_lead = 1.0
        _add_farm_evidence(market, impression, col.LEAD, is_positive=False)


def learn_due(market: MarketState) -> None:
    """Learn negative labels: views without a click, and labels still missing at an age."""
    records, calibration = market.records, market.calibration
    limit = market.now - int(market.click_wait * col.SECOND)
    unsettled = records.unsettled
    while unsettled:
        impression = records.shown.get(unsettled[0])
        if impression is not None and impression.viewed_at > limit:
            break
        unsettled.popleft()
        if impression is not None and not impression.is_settled:
            _count_expected(market, impression, col.CLICK, 0.0, 1.0)
            impression.is_settled = impression.is_new = True
            _add_farm_evidence(market, impression, col.CLICK, is_positive=bool(impression.clicked_at))
            if impression.clicked_at:
                calibration.came[impression.group, col.CLICK] += 1.0
            else:  # a random sample of the views without a click is stored for batch training
                clicks, views = (
                    counts[:, col.CLICK].sum() for counts in (calibration.came, calibration.tried)
                )
                size = max(BESIDE_A_CLICK * float(clicks + 1.0), ENOUGH_BESIDE)
                share = min(size / float(views + FEW_VIEWS), 1.0)
                if hash_once("kept", impression.request_id) >= share * 2.0**64:
                    market.snapshots.give_back(impression)
                elif impression.place >= 0:
                    market.snapshots.stands_for[impression.place] = 1.0 / share
    _learn_waits(market, market.talks, col.CONVERSATION, "talked_at", "waited_talk")
    _learn_waits(market, market.leads, col.LEAD, "lead_at", "waited_lead")
    _learn_waits(market, market.spam, col.SPAM, "spam_at", "waited_spam")


def _learn_waits(market: MarketState, waiting: LabelDelays, head: int, arrived: str, waited: str) -> None:
    """Learn missing labels at their next age; ``arrived`` and ``waited`` name fields of `Impression`."""
    for edge, started_at, name in waiting.next_due(market.now):
        impression = market.records.shown.get(name)
        if impression is None:
            continue
        arrived_at: int = getattr(impression, arrived)
        if arrived_at:
            waiting.count_arrival(impression.group, edge, (arrived_at - started_at) / col.SECOND)
            continue
        waiting.count_wait(impression.group, edge)
        window_s = market.groups.groups[impression.group].line.click_window_s or 0
        before, after = getattr(impression, waited), waiting.share_by(impression.group, edge, window_s)
        if after - before > 0.02 or (after == 1.0 and before < 1.0):
            _count_expected(market, impression, head, before, after)
            setattr(impression, waited, after)
            if head in (col.SPAM, col.LEAD) and after == 1.0:
                _add_farm_evidence(market, impression, head, is_positive=False)


STEP_S: Final = 300
"""Interval of pacing steps."""
LEAST_KEPT_S: Final = 2 * int(col.DAY_S)
"""Minimal retention of a request."""
REMEMBERED_S: Final = 30 * int(col.DAY_S)
ENOUGH: Final = 20.0
"""Weight of the prior rates, in labels."""
RATE_S: Final = 1_200.0
"""Time constant of the request rate."""
_DONE: Final = object()
HALF_LIVES_S: Final = {
    col.CLICK: col.DAY_S,
    col.CONVERSATION: 2 * col.DAY_S,
    col.LEAD: 3 * col.DAY_S,
    col.SPAM: 2 * col.DAY_S,
}


def step_market(market: MarketState) -> None:
    """Advance the market in time: reservations, censored labels, decay, training and multipliers."""
    passed_s = (market.now - market.stepped_at) / col.SECOND if market.stepped_at else float(STEP_S)
    market.stepped_at = market.now
    requests = market.groups.table[:, col.G_REQUESTS]
    before, rates = np.zeros(len(requests)), np.zeros(len(requests))
    before[: len(market.asked_before)] = market.asked_before
    rates[: len(market.rates)] = market.rates
    newest: NDArray[np.float64] = np.maximum(requests - before, 0.0)
    rate = newest / max(passed_s, 1.0)
    share = 1.0 - math.exp(-passed_s / RATE_S)
    market.rates = np.where(rates > 0.0, rates + share * (rate - rates), rate)
    check_spend(market.groups, newest, passed_s)
    decay = 0.5 ** (newest / HALF_LIFE)
    market.groups.prices *= decay[:, None]
    market.groups.counts *= decay[:, None]
    market.groups.table[:, col.G_REQUESTS] *= decay
    market.asked_before = market.groups.table[:, col.G_REQUESTS].copy()
    end_promises(market)
    learn_due(market)
    drop_records(market)
    shares = np.ones(col.HEADS)
    for head, half_life_s in HALF_LIVES_S.items():
        shares[head] = 0.5 ** (passed_s / half_life_s)
    calibration = market.calibration
    for counts in (calibration.came, calibration.expected, calibration.tried):
        counts *= shares
    actual, tried = calibration.came.sum(axis=0), calibration.tried.sum(axis=0)
    fade = 0.5 ** (passed_s / col.DAY_S)
    market.clicks *= fade
    market.farm_clicks *= fade
    market.numbers[col.S_FARM_PRIOR] = learner.prior_of(market.farm_clicks, market.clicks)
    market.usual = (actual + ENOUGH * np.array(FIRST_USUAL)) / (tried + ENOUGH)
    classes = market.classes
    if market.work is None and classes.noted >= max(classes.fitted_at * 3 // 2, FIRST_FIT):
        market.work = classes.refit_in_slices(market.seed)
    if market.now - market.daily_at >= col.DAY_S * col.SECOND // 4:
        days = min((market.now - market.daily_at) / col.SECOND / col.DAY_S, 1.0) if market.daily_at else 0.25
        market.daily_at = market.now
        for delays in (market.talks, market.leads, market.spam):
            delays.refit(0.5 ** (days / 7.0))
    if market.work is None and is_time_to_relearn(market):
        market.work = relearn_in_slices(market)
    steer_market(market)


def do_work(market: MarketState) -> None:
    """Do the next slice of training between requests."""
    if market.work is not None and next(market.work, _DONE) is _DONE:
        market.work = None


def finish_work(market: MarketState) -> None:
    """Finish training, before a snapshot."""
    while market.work is not None:
        do_work(market)


def steer_market(market: MarketState) -> None:
    """Update calibration factors, and pacing multipliers by plan, cost target and bid landscape."""
    groups, traffic, now = market.groups, market.traffic, market.now
    count = len(groups.groups)
    groups.table[:count, col.G_CALIBRATION : col.G_CALIBRATION + col.HEADS] = market.calibration.factors()[
        :count
    ]
    rates = market.rates
    if not rates.any():
        elapsed_s = max((now - market.first_asked) / col.SECOND, 60.0)
        rates = groups.table[:, col.G_REQUESTS] / elapsed_s
    if len(rates) < len(groups.table):
        rates = np.pad(rates, (0, len(groups.table) - len(rates)))
    groups.results_per_score = {goal: results_per_score(groups, goal) for goal in LineGoal}
    opened = sum(1 for group in groups.groups if groups.table[group.number, col.G_OPEN])
    shares = pace_campaigns(groups, traffic, rates, now)
    for group in groups.groups:
        rate, share = float(rates[group.number]), shares.get(group.number)
        multiplier = _multiplier(groups, group, traffic, rate, now, opened if share is None else share)
        groups.table[group.number, col.G_MULTIPLIER] = multiplier


def end_promises(market: MarketState) -> None:
    """Release reservations of views that did not arrive."""
    promised = market.records.promised
    limit = market.now - int(market.promise_wait * col.SECOND)
    while promised:
        impression = market.records.shown.get(promised[0])
        if impression is not None and impression.asked_at > limit:
            break
        promised.popleft()
        if impression is not None and impression.is_promised:
            group = market.groups.groups[impression.group]
            impression.is_promised = False
            group.promised -= impression.price
            market.groups.refresh(group)
            market.snapshots.give_back(impression)
            market.views_lost += 1.0
    total = market.views_seen + market.views_lost
    market.groups.view_rate = (market.views_seen + 1.0) / (total + 1.0)
    if total > 20_000.0:
        market.views_seen *= 0.5
        market.views_lost *= 0.5


def drop_records(market: MarketState) -> None:
    """Delete requests after their attribution windows."""
    records = market.records
    lines = [group.line for group in market.groups.groups]
    view_s = max([LEAST_KEPT_S, *((line.view_window_s or 0) + 3_600 for line in lines)])
    click_s = max([view_s, *((line.click_window_s or 0) + int(col.DAY_S) for line in lines)])
    recent, limit = records.kept, market.now - view_s * col.SECOND
    while recent and recent[0][0] < limit:
        asked_at, name = recent.popleft()
        impression = records.shown.get(name)
        if impression is not None and (impression.clicked_at or impression.place >= 0):
            records.long_kept.append((asked_at, name))
        else:
            forget_record(market, name)
    long_kept, limit = records.long_kept, market.now - click_s * col.SECOND
    while long_kept and long_kept[0][0] < limit:
        forget_record(market, long_kept.popleft()[1])
    order, limit = market.seen_order, market.now - REMEMBERED_S * col.SECOND
    while order and order[0][0] < limit:
        market.seen.discard(order.popleft()[1])


def forget_record(market: MarketState, name: str) -> None:
    impression = market.records.shown.pop(name, None)
    if impression is None:
        return
    market.snapshots.give_back(impression)
    touches = market.records.touches.get(impression.viewer)
    if touches and name in touches:
        touches.remove(name)
        if not touches:
            del market.records.touches[impression.viewer]
