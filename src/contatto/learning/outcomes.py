"""Outcomes of impressions, from views to lead quality, and periodic updates of the market."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contatto.learning.batch_learning import is_time_to_relearn, relearn_in_slices
from contatto.learning.calibration import LabelDelays
from contatto.learning.columns import (
    A_FEATURES,
    BAD,
    CLICK,
    CONVERSATION,
    DAY_S,
    F_VIEWER,
    G_ADVERTISER,
    G_CALIBRATION,
    G_REQUESTS,
    HEADS,
    IS_LEAD,
    LEAD,
    O_RAW,
    O_SCORE,
    S_FARM_PRIOR,
    S_FLOOR_VARIANCE,
    SECOND,
    SPAM,
    TALKED,
    V_ALL_VIEWS,
    V_CLICKS,
    V_CONVERSATIONS,
    V_LEADS,
    V_SPAM,
    V_VIEWS,
)
from contatto.learning.features import fade_viewer, hash_once, list_features, list_stacked
from contatto.learning.impressions import Impression
from contatto.learning.learner import (
    FIRST_PRIOR,
    SUSPECT,
    add_evidence,
    evidence_of,
    learn_one,
    prior_of,
    trust_in,
)
from contatto.learning.lines import ConversationLine, LeadLine, LineGoal, LineLeadSource, Quality, QualityLine
from contatto.learning.market import FIRST_USUAL, VIEW, MarketState
from contatto.learning.pacing import check_spend, steer_groups

NO, YES, NOT_YET, CAME_LATE, TAKEN_BACK, WRONG_NO = range(6)
"""Kinds of labels, see `learner.evidence`."""
BESIDE_A_CLICK: Final = 4.0
"""Stored views without a click per click; all of them would add a fifth more information."""
ENOUGH_BESIDE: Final = 30_000.0
"""Minimum of stored views without a click, while clicks are few."""
FEW_VIEWS: Final = 20.0
"""Prior of the number of views in the sampling rate."""
_SCORE: Final = O_SCORE - O_RAW
"""Place of the score in an impression's raw predictions."""


def teach(
    market: MarketState, impression: Impression, head: int, kind: int, before: float = 0.0, after: float = 0.0
) -> float:
    """Learn one label of a head with the feature snapshot of the decision.

    Returns:
        The present prediction before learning; the one of the decision without a snapshot.
    """
    if impression.place < 0:
        return impression.raw[head]
    learned, viewers, groups, snapshots = market.learned, market.viewers, market.groups, market.snapshots
    place, ad = impression.place, impression.ad
    count = list_features(
        snapshots.hashes[place], snapshots.values[place], snapshots.kinds[place],
        int(snapshots.counts[place]), ad, groups.ad_hashes[ad], groups.ad_features[ad],
        groups.ad_values[ad], int(groups.ads[ad, A_FEATURES]), groups.feature_hashes, groups.crosses,
        snapshots.between[place], learned.shift, learned.slots, learned.weights, learned.families,
    )  # fmt: skip
    count = list_stacked(
        snapshots.stacks[place], head, count, learned.shift, learned.slots, learned.weights, learned.families
    )
    share = float(trust_in(viewers.table, impression.viewer, float(market.numbers[S_FARM_PRIOR])))
    snapshots.shares[place] = share
    estimated: float = learn_one(
        learned.table, learned.family_of, learned.slots, learned.weights, learned.families, count, head,
        learned.spread, float(market.numbers[S_FLOOR_VARIANCE]), viewers.table, impression.viewer,
        learned.spread[F_VIEWER], kind, before, after, share,
    )  # fmt: skip
    return estimated


def _count_expected(
    market: MarketState, impression: Impression, head: int, estimated: float, before: float, after: float
) -> None:
    """Count the expected outcomes of a label between two shares of arrived labels.

    The present prediction measures the remaining error of the learner. The prediction of the decision would
    count errors that the learner has since corrected, so calibration would correct them twice. Once the
    label itself was partly learned, only the old prediction is independent of it.
    """
    p = impression.raw[head] if before > 0.0 else estimated
    market.calibration.expect(impression.group, head, (after - before) * p, after - before)


def _add_farm_evidence(market: MarketState, impression: Impression, head: int, *, is_positive: bool) -> None:
    """Add evidence of a click farm from an outcome or its absence, except for viewers without consent."""
    if impression.viewer:
        usual = float(market.usual[head])
        table = market.viewers.table
        add_evidence(
            table[impression.viewer], evidence_of(head, impression.p[head], usual, is_positive=is_positive)
        )
        if head == CLICK and is_positive:
            market.clicks += 1.0
            market.farm_clicks += trust_in(table, impression.viewer, FIRST_PRIOR) < SUSPECT


def take_view(market: MarketState, impression: Impression, ts: int) -> None:
    """Charge a view, and count it for its viewer."""
    groups, viewers = market.groups, market.viewers
    group = groups.groups[impression.group]
    impression.viewed_at = max(ts, 1)
    impression.view_until = impression.viewed_at + (group.line.view_window_s or 0) * SECOND
    market.views_seen += 1.0
    market.note(VIEW, impression)
    waited_s = (market.now - impression.asked_at) / SECOND
    market.promise_wait = min(max(market.promise_wait, 2.0 * waited_s), DAY_S)
    if impression.is_promised:
        impression.is_promised = False
        group.promised -= impression.price
    group.charge(impression.price)
    groups.refresh(group)
    group.views += 1
    p = impression.p
    group.predicted += p[CLICK] * p[CONVERSATION] * p[LEAD]
    expected = p[CLICK] * p[CONVERSATION] * (p[LEAD] if group.line.goal is LineGoal.LEAD else 1.0 - p[SPAM])
    group.expected += expected
    group.scored += impression.raw[_SCORE] if len(impression.raw) > _SCORE else expected
    now_s = market.now / SECOND
    row = viewers.table[impression.viewer]
    fade_viewer(viewers.table, impression.viewer, now_s)
    row[V_VIEWS] += 1.0
    row[V_ALL_VIEWS] += 1.0
    viewers.note_shown(impression.viewer, impression.ad, now_s)
    market.records.unsettled.append(impression.request_id)
    market.records.touches.setdefault(impression.viewer, []).append(impression.request_id)
    if impression.early_click_at:
        take_click(market, impression, impression.early_click_at)


def take_click(market: MarketState, impression: Impression, ts: int) -> None:
    """Learn and count a click."""
    viewers = market.viewers
    group = market.groups.groups[impression.group]
    impression.clicked_at = max(ts, 1)
    impression.click_until = impression.clicked_at + (group.line.click_window_s or 0) * SECOND
    group.clicks += 1
    market.note(CLICK, impression)
    now_s = market.now / SECOND
    fade_viewer(viewers.table, impression.viewer, now_s)
    row = viewers.table[impression.viewer]
    row[V_CLICKS] += 1.0
    recent = viewers.recent[impression.viewer].tolist()
    if impression.ad in recent:
        place = recent.index(impression.ad)
        viewers.shown[impression.viewer, place] = -abs(viewers.shown[impression.viewer, place])
    waited_s = (impression.clicked_at - impression.viewed_at) / SECOND
    if waited_s > market.click_wait / 2:
        market.click_wait = min(max(market.click_wait, 2.0 * waited_s), 6 * 3600.0)
    if impression.is_settled:
        if impression.place >= 0:
            market.snapshots.stands_for[impression.place] = 1.0
        teach(market, impression, CLICK, WRONG_NO)
        _add_farm_evidence(market, impression, CLICK, is_positive=True)
        market.calibration.count(impression.group, CLICK)
    market.talks.add(market.now, impression.request_id)


def find_attributed_touch(market: MarketState, viewer: int, advertiser: int, ts: int) -> Impression | None:
    """Return the attributed touch of a conversion: the latest click in its window, else the latest view."""
    best_view: Impression | None = None
    best_click: Impression | None = None
    groups = market.groups
    for name in reversed(market.records.touches.get(viewer, ())):
        impression = market.records.shown.get(name)
        if impression is None or groups.table[impression.group, G_ADVERTISER] != advertiser:
            continue
        if impression.clicked_at and impression.clicked_at <= ts <= impression.click_until:
            if best_click is None or impression.clicked_at > best_click.clicked_at:
                best_click = impression
        elif best_view is None and impression.viewed_at <= ts <= impression.view_until:
            best_view = impression
    return best_click or best_view


def _flag(market: MarketState, viewer: int, advertiser: int, flag: int) -> None:
    contacts = market.viewers.known[viewer].tolist()
    key = advertiser if advertiser in contacts else -1
    place = contacts.index(key) if key in contacts else 0
    if contacts[place] != advertiser:
        market.viewers.flags[viewer, place] = 0
    market.viewers.known[viewer, place] = advertiser
    market.viewers.flags[viewer, place] |= flag


def take_conversation(market: MarketState, line: ConversationLine, viewer: int, advertiser: int) -> None:
    """Learn and count a conversation of a viewer with an advertiser."""
    impression = find_attributed_touch(market, viewer, advertiser, line.ts)
    fade_viewer(market.viewers.table, viewer, market.now / SECOND)
    market.viewers.table[viewer, V_CONVERSATIONS] += 1.0
    _flag(market, viewer, advertiser, TALKED)
    if impression is None:
        return
    market.groups.groups[impression.group].conversations += 1
    begin_talk(market, impression)
    market.talk_of[viewer, advertiser] = impression.request_id


def begin_talk(market: MarketState, impression: Impression) -> None:
    """Learn the conversation of a click; its labels of lead and spam are now censored."""
    if impression.talked_at or not impression.clicked_at:
        return
    impression.talked_at = max(market.now, 1)
    market.note(CONVERSATION, impression)
    estimated = teach(market, impression, CONVERSATION, CAME_LATE, impression.waited_talk)
    market.calibration.count(impression.group, CONVERSATION)
    _count_expected(market, impression, CONVERSATION, estimated, impression.waited_talk, 1.0)
    market.leads.add(market.now, impression.request_id)
    market.spam.add(market.now, impression.request_id)


def _chat_without_lead(market: MarketState, viewer: int, advertiser: int, ts: int) -> Impression | None:
    """Return the latest conversation without a lead, since a late lead may belong to an earlier one."""
    for name in reversed(market.records.touches.get(viewer, ())):
        impression = market.records.shown.get(name)
        if impression is None or market.groups.table[impression.group, G_ADVERTISER] != advertiser:
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
    """Learn and count a lead: once per viewer and advertiser, and again for a later conversation.

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
    fade_viewer(market.viewers.table, viewer, market.now / SECOND)
    if talk is None or not talk.spam_at:
        market.viewers.table[viewer, V_LEADS] += 1.0
    _flag(market, viewer, advertiser, IS_LEAD)
    market.lead_of[viewer, advertiser] = "" if impression is None else impression.request_id
    if impression is None:
        return
    market.groups.groups[impression.group].leads += 1
    if (impression.lead_at or not impression.talked_at) and talk is not None and not talk.lead_at:
        impression = talk
    begin_talk(market, impression)
    if not impression.talked_at or impression.lead_at:
        return
    impression.lead_at = max(market.now, 1)
    market.lead_of[viewer, advertiser] = impression.request_id
    estimated = impression.raw[LEAD]
    if impression.spam_at:
        teach(market, impression, BAD, YES)
    else:
        _add_farm_evidence(market, impression, LEAD, is_positive=True)
        estimated = teach(market, impression, LEAD, CAME_LATE, impression.waited_lead)
    market.note(LEAD, impression)
    market.calibration.count(impression.group, LEAD)
    _count_expected(market, impression, LEAD, estimated, impression.waited_lead, 1.0)


def take_spam(market: MarketState, viewer: int, advertiser: int) -> None:
    """Learn and count spam in the last conversation of a viewer with an advertiser."""
    fade_viewer(market.viewers.table, viewer, market.now / SECOND)
    market.viewers.table[viewer, V_SPAM] += 1.0
    impression = market.records.shown.get(market.talk_of.get((viewer, advertiser), ""))
    if impression is None or impression.spam_at:
        return
    market.groups.groups[impression.group].spam += 1
    impression.spam_at = max(market.now, 1)
    if not impression.talked_at:
        return
    market.note(SPAM, impression)
    _add_farm_evidence(market, impression, SPAM, is_positive=True)
    estimated = teach(market, impression, SPAM, CAME_LATE, impression.waited_spam)
    market.calibration.count(impression.group, SPAM)
    _count_expected(market, impression, SPAM, estimated, impression.waited_spam, 1.0)
    if impression.lead_at:
        teach(market, impression, BAD, YES)
        teach(market, impression, LEAD, TAKEN_BACK)
        row = market.viewers.table[viewer]
        row[V_LEADS] = max(row[V_LEADS] - 1.0, 0.0)
    elif impression.waited_lead < 1.0:
        # A spam conversation brings no good lead, so its label is negative at once. Contacts from spam are
        # still expected and counted as leads, so that predictions match reports; they are not learned.
        estimated = teach(market, impression, LEAD, NOT_YET, impression.waited_lead, 1.0)
        _count_expected(market, impression, LEAD, estimated, impression.waited_lead, 1.0)
        impression.waited_lead = 1.0
        _add_farm_evidence(market, impression, LEAD, is_positive=False)


def take_quality(market: MarketState, line: QualityLine, viewer: int, advertiser: int) -> None:
    """Learn the quality of a lead."""
    impression = market.records.shown.get(market.lead_of.get((viewer, advertiser), ""))
    if impression is not None:
        teach(market, impression, BAD, YES if line.status is Quality.UNQUALIFIED else NO)


def learn_due(market: MarketState) -> None:
    """Learn negative labels: views without a click, and labels still missing at an age."""
    records, calibration = market.records, market.calibration
    limit = market.now - int(market.click_wait * SECOND)
    unsettled = records.unsettled
    while unsettled:
        impression = records.shown.get(unsettled[0])
        if impression is not None and impression.viewed_at > limit:
            break
        unsettled.popleft()
        if impression is not None and not impression.is_settled:
            estimated = teach(market, impression, CLICK, YES if impression.clicked_at else NO)
            _count_expected(market, impression, CLICK, estimated, 0.0, 1.0)
            impression.is_settled = True
            _add_farm_evidence(market, impression, CLICK, is_positive=bool(impression.clicked_at))
            if impression.clicked_at:
                calibration.count(impression.group, CLICK)
            else:  # a random sample of the views without a click is stored for batch training
                clicks, views = (counts[:, CLICK].sum() for counts in (calibration.came, calibration.tried))
                size = max(BESIDE_A_CLICK * float(clicks + 1.0), ENOUGH_BESIDE)
                share = min(size / float(views + FEW_VIEWS), 1.0)
                if hash_once("kept", impression.request_id) >= share * 2.0**64:
                    market.snapshots.give_back(impression)
                elif impression.place >= 0:
                    market.snapshots.stands_for[impression.place] = 1.0 / share
    _learn_waits(market, market.talks, CONVERSATION, "talked_at", "waited_talk")
    _learn_waits(market, market.leads, LEAD, "lead_at", "waited_lead")
    _learn_waits(market, market.spam, SPAM, "spam_at", "waited_spam")


def _learn_waits(market: MarketState, waiting: LabelDelays, head: int, arrived: str, waited: str) -> None:
    for edge, started_at, name in waiting.next_due(market.now):
        impression = market.records.shown.get(name)
        if impression is None:
            continue
        arrived_at: int = getattr(impression, arrived)
        if arrived_at:
            waiting.count_arrival(impression.group, edge, (arrived_at - started_at) / SECOND)
            continue
        waiting.count_wait(impression.group, edge)
        window_s = market.groups.groups[impression.group].line.click_window_s or 0
        before, after = getattr(impression, waited), waiting.share_by(impression.group, edge, window_s)
        if after - before > 0.02 or (after == 1.0 and before < 1.0):
            estimated = teach(market, impression, head, NOT_YET, before, after)
            _count_expected(market, impression, head, estimated, before, after)
            setattr(impression, waited, after)
            if head in (SPAM, LEAD) and after == 1.0:
                _add_farm_evidence(market, impression, head, is_positive=False)


STEP_S: Final = 300
"""Interval of pacing steps."""
LEAST_KEPT_S: Final = 2 * int(DAY_S)
"""Minimal retention of a request."""
REMEMBERED_S: Final = 30 * int(DAY_S)
ENOUGH: Final = 20.0
"""Weight of the prior rates, in labels."""
RATE_S: Final = 1_200.0
"""Time constant of the request rate."""
_DONE: Final = object()
HALF_LIVES_S: Final = {CLICK: DAY_S, CONVERSATION: 2 * DAY_S, LEAD: 3 * DAY_S, SPAM: 2 * DAY_S}


def step_market(market: MarketState) -> None:
    """Advance the market in time: reservations, censored labels, decay, training and multipliers."""
    passed_s = (market.now - market.stepped_at) / SECOND if market.stepped_at else float(STEP_S)
    market.stepped_at = market.now
    newest = measure_rates(market, passed_s)
    check_spend(market.groups, newest, passed_s)
    market.groups.fade(newest)
    market.asked_before = market.groups.table[:, G_REQUESTS].copy()
    end_promises(market)
    learn_due(market)
    drop_records(market)
    shares = np.ones(HEADS)
    for head, half_life_s in HALF_LIVES_S.items():
        shares[head] = 0.5 ** (passed_s / half_life_s)
    market.calibration.fade(shares)
    actual, tried = market.calibration.came.sum(axis=0), market.calibration.tried.sum(axis=0)
    fade = 0.5 ** (passed_s / DAY_S)
    market.clicks *= fade
    market.farm_clicks *= fade
    market.numbers[S_FARM_PRIOR] = prior_of(market.farm_clicks, market.clicks)
    market.usual = (actual + ENOUGH * np.array(FIRST_USUAL)) / (tried + ENOUGH)
    if market.work is None and market.classes.is_time_to_fit():
        market.work = market.classes.refit_in_slices(market.seed)
    if market.now - market.daily_at >= DAY_S * SECOND // 4:
        days = min((market.now - market.daily_at) / SECOND / DAY_S, 1.0) if market.daily_at else 0.25
        market.daily_at = market.now
        market.learned.forget(market.settings["forget"] * days)
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


def measure_rates(market: MarketState, passed_s: float) -> NDArray[np.float64]:
    """Update the rate of eligible requests per ad group; return the number of new requests."""
    requests = market.groups.table[:, G_REQUESTS]
    before = np.zeros(len(requests))
    before[: len(market.asked_before)] = market.asked_before
    newest: NDArray[np.float64] = np.maximum(requests - before, 0.0)
    rate = newest / max(passed_s, 1.0)
    rates = np.zeros(len(requests))
    rates[: len(market.rates)] = market.rates
    share = 1.0 - math.exp(-passed_s / RATE_S)
    market.rates = np.where(rates > 0.0, rates + share * (rate - rates), rate)
    return newest


def steer_market(market: MarketState) -> None:
    """Update calibration factors and pacing multipliers."""
    groups = market.groups
    count = len(groups.groups)
    groups.table[:count, G_CALIBRATION : G_CALIBRATION + HEADS] = market.calibration.factors()[:count]
    rates = market.rates
    if not rates.any():
        elapsed_s = max((market.now - market.first_asked) / SECOND, 60.0)
        rates = groups.table[:, G_REQUESTS] / elapsed_s
    if len(rates) < len(groups.table):
        rates = np.pad(rates, (0, len(groups.table) - len(rates)))
    steer_groups(groups, market.traffic, rates, market.now)


def end_promises(market: MarketState) -> None:
    """Release reservations of views that did not arrive."""
    promised = market.records.promised
    limit = market.now - int(market.promise_wait * SECOND)
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
    click_s = max([view_s, *((line.click_window_s or 0) + int(DAY_S) for line in lines)])
    recent, limit = records.kept, market.now - view_s * SECOND
    while recent and recent[0][0] < limit:
        asked_at, name = recent.popleft()
        impression = records.shown.get(name)
        if impression is not None and (impression.clicked_at or impression.place >= 0):
            records.long_kept.append((asked_at, name))
        else:
            forget_record(market, name)
    long_kept, limit = records.long_kept, market.now - click_s * SECOND
    while long_kept and long_kept[0][0] < limit:
        forget_record(market, long_kept.popleft()[1])
    order, limit = market.seen_order, market.now - REMEMBERED_S * SECOND
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
