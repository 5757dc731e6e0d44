"""Marketplace of one tenant: takes lines in order of time and answers ad requests."""

import math
from collections.abc import Callable
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from contatto.learning.auction import hold_auction, keep_snapshot
from contatto.learning.calibration import LEAST_WORTH, boldness
from contatto.learning.columns import (
    A_FEATURES,
    A_GROUP,
    A_ON,
    CLICK,
    CONTEXT,
    CONVERSATION,
    DAY_S,
    F_VIEWER,
    G_MULTIPLIER,
    G_OPEN,
    G_REQUESTS,
    HEADS,
    LEAD,
    MOST_AD_FEATURES,
    O_AD,
    O_OFFER,
    O_P,
    O_PRICE,
    O_PROPENSITY,
    O_RAW,
    O_SCORE,
    S_VIEWER_MEAN,
    S_VIEWER_SLOPE,
    SECOND,
    SPAM,
    TIME,
    V_EFFECT,
    V_REQUESTED_AT,
)
from contatto.learning.features import (
    describe_viewer,
    fade_viewer,
    hash_once,
    list_features,
    name_hash,
    said_by,
)
from contatto.learning.impressions import Impression
from contatto.learning.latent_classes import LISTED, STRENGTH, add_classes
from contatto.learning.learner import logistic, score_features, stack_scores
from contatto.learning.lines import (
    AdGroupLine,
    AdLine,
    AnswerLine,
    AnyLine,
    ClickLine,
    ConversationLine,
    Decision,
    GroupReport,
    LeadLine,
    LineBidType,
    LineBudgetMode,
    LineGoal,
    QualityLine,
    Ranking,
    RankLine,
    Reporting,
    ReportLine,
    RequestLine,
    SpamLine,
    ViewLine,
)
from contatto.learning.market import UNITS, AuctionGroup, MarketState
from contatto.learning.model import GroupState, Phase, Reason
from contatto.learning.outcomes import (
    STEP_S,
    do_work,
    finish_work,
    steer_market,
    step_market,
    take_click,
    take_conversation,
    take_lead,
    take_quality,
    take_spam,
    take_view,
)
from contatto.learning.pacing import is_target_too_low
from contatto.learning.storage import restore_market, save_market

MOST_ASKED: Final = 40
"""Largest number of hashed features of a request."""
_hour_hashes: dict[tuple[str, int], int] = {}
FEW_REQUESTS: Final = 20.0
"""Decayed number of requests below which an ad group has little traffic."""
ENOUGH: Final = 30
"""Conversions after which an ad group has learned."""
LIMITED_S: Final = 7 * DAY_S
"""An ad group that has not learned after this time is limited."""
MOST_ASKS: Final = 64
"""Stored answers to reports and rankings, for repeated queries."""
BACK_S: Final = 60
AHEAD_S: Final = 366 * DAY_S
"""Largest jump of time between lines."""
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


class UnusableLine(Exception):
    """Line that cannot be used, with the reason."""


class Marketplace:
    """Marketplace of one tenant; ``complain`` receives reports of ignored parts of lines."""

    def __init__(
        self, seed: int = 0, *, is_random: bool = False, settings: dict[str, float] | None = None,
        complain: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.market = MarketState(seed, is_random=is_random, settings=settings or {})
        self.complain = complain

    def take(self, line: AnyLine) -> AnswerLine | None:
        """Apply a line; return the answer to a request, ranking or report.

        Raises:
            UnusableLine: with the reason; nothing was changed.
        """
        if isinstance(line, RequestLine):
            return self._take_request(line)
        if isinstance(line, ReportLine | RankLine):
            return self._answer_query(line)
        if isinstance(line, ViewLine | ClickLine):
            self._take_touch(line)
            return None
        digest = hash_once(_ENCODER.encode(line).decode())
        if digest in self.market.seen:
            return None
        self._pass_time(line.ts)
        self.market.seen.add(digest)
        self.market.seen_order.append((self.market.now, digest))
        if isinstance(line, AdGroupLine):
            self._take_group(line)
        elif isinstance(line, AdLine):
            groups = self.market.groups
            if line.adgroup_id not in groups.by_id:
                raise UnusableLine("its ad group is not known")
            row = groups.ad_by_id.get(line.ad_id)
            if row is not None and groups.ad_lines[row].adgroup_id != line.adgroup_id:
                raise UnusableLine("an ad stays in its ad group")
            hashed = self.market.ad_fields.hash_features(line.features or {}, MOST_AD_FEATURES, self.complain)
            groups.set_ad(line, hashed)
        else:
            self._take_outcome(line)
        return None

    def _pass_time(self, ts: int) -> None:
        market = self.market
        if ts > market.now:
            if market.requests and ts - market.now > AHEAD_S * SECOND:
                raise UnusableLine("its time is more than a year ahead of the line before")
            market.now = ts
            if ts - market.stepped_at >= STEP_S * SECOND:
                step_market(market)
                market.caps.drop_old(ts, int(market.promise_wait * SECOND))
            for group in market.groups.groups:
                if ts >= group.day_until:
                    market.groups.turn_days(ts)
                    steer_market(market)
                    break
        elif market.now - ts > BACK_S * SECOND:
            raise UnusableLine("its time is more than a minute before that of an earlier line")

    def _take_request(self, line: RequestLine) -> AnswerLine:
        market = self.market
        shown = market.records.shown
        if line.request_id not in shown:
            self._pass_time(line.ts)
            do_work(market)
            impression = shown[line.request_id] = decide_request(market, line, self.complain)
            market.records.kept.append((market.now, line.request_id))
            if impression is not None:
                reserve_impression(market, impression)
                market.caps.note_decision(impression)
            if market.requests < 4096 and market.requests & (market.requests - 1) == 0:
                steer_market(market)
        return decision_of(market, line.request_id)

    def _take_touch(self, line: ViewLine | ClickLine) -> None:
        market = self.market
        is_click = isinstance(line, ClickLine)
        impression = market.records.shown.get(line.request_id)
        if impression is None:
            raise UnusableLine("no ad was shown for this request, or it was too long ago")
        if (impression.clicked_at or impression.early_click_at) if is_click else impression.viewed_at:
            return
        self._pass_time(line.ts)
        if not is_click:
            take_view(market, impression, line.ts)
            market.caps.note_view(impression)
        elif impression.viewed_at:
            take_click(market, impression, line.ts)
        else:
            impression.early_click_at = max(line.ts, 1)

    def _take_group(self, line: AdGroupLine) -> None:
        try:
            ZoneInfo(line.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise UnusableLine(f"there is no time zone {line.timezone[:40]!r}") from error
        if line.bid_type is LineBidType.CUSTOM and not line.bid_micros:
            self.complain("a custom bid without bid_micros counts as no bid")
        if bool(line.frequency) != bool(line.frequency_schedule):
            self.complain("a frequency cap needs both frequency and frequency_schedule, so there is none")
        market = self.market
        row = market.groups.by_id.get(line.adgroup_id)
        if row is not None and market.groups.groups[row].line.advertiser_id != line.advertiser_id:
            raise UnusableLine("an ad group stays with its advertiser")
        group = market.groups.set_group(line, market.now)
        market.caps.set_cap(line, group.number, market.records)
        for counts in (market.talks, market.leads, market.spam, market.calibration):
            counts.grow(len(market.groups.groups))
        if market.requests:
            steer_market(market)

    def _take_outcome(self, line: ConversationLine | SpamLine | LeadLine | QualityLine) -> None:
        market = self.market
        viewer = market.viewers.by_id.get(line.viewer_id)
        advertiser = market.groups.advertisers.get(line.advertiser_id)
        if advertiser is None:
            raise UnusableLine("its advertiser has no ad group")
        if viewer is None:
            raise UnusableLine("its viewer was never asked for")
        if isinstance(line, ConversationLine):
            take_conversation(market, line, viewer, advertiser)
        elif isinstance(line, LeadLine):
            take_lead(market, line, viewer, advertiser)
        elif isinstance(line, SpamLine):
            take_spam(market, viewer, advertiser)
        else:
            take_quality(market, line, viewer, advertiser)

    def _answer_query(self, line: ReportLine | RankLine) -> AnswerLine:
        """Answer a report or ranking; repeat the answer to a repeated query."""
        market = self.market
        if line.ask_id in market.asked:
            kind, encoded = market.asked[line.ask_id]
            if kind == "report":
                return msgspec.msgpack.decode(encoded, type=Reporting)
            return msgspec.msgpack.decode(encoded, type=Ranking)
        self._pass_time(line.ts)
        answer: AnswerLine
        if isinstance(line, ReportLine):
            answer = Reporting(line.ask_id, [report_group(market, group) for group in market.groups.groups])
        else:
            answer = rank_candidates(market, line, self.complain)
        kind = "report" if isinstance(line, ReportLine) else "rank"
        market.asked[line.ask_id] = (kind, msgspec.msgpack.encode(answer))
        if len(market.asked) > MOST_ASKS:
            market.asked.pop(next(iter(market.asked)))
        return answer

    def save(self) -> bytes:
        """Return a snapshot for `restore`, after finishing training in slices."""
        finish_work(self.market)
        return save_market(self.market)

    @property
    def is_busy(self) -> bool:
        """Report whether training runs in slices now; a snapshot would finish it early."""
        return self.market.work is not None

    def restore(self, raw: bytes) -> None:
        """Restore a snapshot.

        Raises:
            Damaged: the bytes are incomplete.
            Different: the snapshot has another seed, policy or settings.
        """
        restore_market(self.market, raw)


def decide_request(market: MarketState, line: RequestLine, complain: Any) -> Impression | None:
    """Choose the ad of a request, with its feature snapshot but without a reservation; None for no ad."""
    groups, viewers, learned = market.groups, market.viewers, market.learned
    now_s = market.now / SECOND
    country_name = line.country.upper()
    country = groups.country_of(country_name)
    market.traffic.count(country, int(now_s))
    row = viewers.row_of(line.viewer_id, now_s)
    count = describe_request(market, row, country_name, line.features, now_s, complain)
    market.requests += 1
    market.first_asked = market.first_asked or market.now
    reached = market.caps.list_reached(row, market.now, int(market.promise_wait * SECOND))
    capped = [number for number in reached if groups.table[number, G_OPEN]]
    if capped:
        groups.table[capped, G_OPEN] = 0.0
    hold_auction(
        now_s, float(line.floor_micros), country, row, count, market.hashes, market.values, market.kinds,
        learned.table, learned.shift, viewers.table, viewers.recent, viewers.shown, viewers.weekly,
        viewers.shown_at, viewers.known, viewers.flags, groups.ads, groups.ad_hashes, groups.ad_features,
        groups.ad_values, len(groups.ad_ids), groups.table, groups.allowed, groups.feature_hashes,
        groups.crosses, groups.stamps, groups.sums, market.requests, learned.names, market.numbers,
        np.uint64(market.seed), np.uint64(market.requests), groups.prices, groups.counts, groups.able,
        groups.offers, groups.raws, market.base, market.between, groups.best_of, market.chosen,
        market.outcome,
    )  # fmt: skip
    if capped:
        groups.table[capped, G_OPEN] = 1.0
    viewers.table[row, V_REQUESTED_AT] = now_s
    out = market.outcome.tolist()
    ad = int(out[O_AD])
    if ad < 0:
        return None
    snapshots = market.snapshots
    place = snapshots.take()
    keep_snapshot(
        count, market.hashes, market.values, market.kinds, market.chosen, place,
        snapshots.hashes, snapshots.values, snapshots.kinds, snapshots.between,
    )  # fmt: skip
    snapshots.counts[place] = count
    return Impression(
        line.request_id, ad, int(groups.ads[ad, A_GROUP]), row, market.now, int(out[O_OFFER]),
        int(out[O_PRICE]), out[O_PROPENSITY], tuple(out[O_P : O_P + HEADS]), tuple(out[O_RAW : O_SCORE + 1]),
        place,
    )  # fmt: skip


def describe_request(
    market: MarketState, row: int, country: str, features: dict[str, Any] | None, now_s: float, complain: Any
) -> int:
    """Fill the market's arrays with the features of a request; return their number."""
    viewers = market.viewers
    names: list[int] = []
    values: list[float] = []
    words: list[int] = []
    if features:
        names, values = market.asked_fields.hash_features(features, MOST_ASKED, complain, words)
    place = market.asked_fields.values_of("\0country")
    if place is not None:
        names.append(place.hash_of(country))
        values.append(1.0)
        words.append(names[-1])
    count = len(names)
    kinds = [CONTEXT] * count
    hour = country, int(now_s) // 3600 % 24
    if hour not in _hour_hashes:
        _hour_hashes[hour] = name_hash("hour", country, str(hour[1]))
    names.append(_hour_hashes[hour])
    values.append(1.0)
    kinds.append(TIME)
    count += 1
    market.hashes[:count] = names
    market.values[:count] = values
    market.kinds[:count] = kinds
    classes = market.classes
    if row:
        classes.note(row, words, is_new=bool(viewers.table[row, V_REQUESTED_AT] < 0.0))
    if classes.read(words):
        count = add_classes(
            classes.chances, classes.named, LISTED, STRENGTH, market.hashes, market.values, market.kinds,
            count,
        )  # fmt: skip
    fade_viewer(viewers.table, row, now_s)
    return int(
        describe_viewer(
            viewers.table, row, now_s, market.learned.spread[F_VIEWER], market.hashes, market.values,
            market.kinds, count,
        )
    )  # fmt: skip


def reserve_impression(market: MarketState, impression: Impression) -> None:
    """Record an impression with its feature snapshot, and reserve its price until the view."""
    market.snapshots.holders[impression.place] = impression
    market.snapshots.stacks[impression.place] = said_by(impression.raw)
    market.records.shown[impression.request_id] = impression
    market.records.promised.append(impression.request_id)
    group = market.groups.groups[impression.group]
    group.promised += impression.price
    market.groups.refresh(group)


def decision_of(market: MarketState, request_id: str) -> Decision:
    """Return the answer to a request that was decided."""
    groups, impression = market.groups, market.records.shown[request_id]
    if impression is None:
        return Decision(request_id, None, None, 0, 0, 0.0, 0.0, 0.0, 0.0, 1.0)
    p = impression.p
    return Decision(
        request_id,
        groups.ad_ids[impression.ad],
        groups.groups[impression.group].line.adgroup_id,
        impression.offer,
        impression.price,
        p[CLICK],
        p[CONVERSATION],
        p[SPAM],
        p[LEAD],
        impression.propensity,
    )


def state_of(market: MarketState, group: AuctionGroup) -> GroupState:
    """Return the learning state of an ad group."""
    report = report_group(market, group)
    multiplier = float(market.groups.table[group.number, G_MULTIPLIER])
    phase = Phase(report.phase)
    return GroupState(
        int(group.line.adgroup_id),
        multiplier if np.isfinite(multiplier) else 0.0,
        phase,
        [] if phase is Phase.LEARNED else reasons_of(market, group, phase),
        group.earned(),
        ENOUGH,
        report.views,
        report.clicks,
        report.conversations,
        report.spam,
        report.leads,
        report.predicted_leads,
        report.spend_micros,
    )


def reasons_of(market: MarketState, group: AuctionGroup, phase: Phase) -> list[Reason]:
    """List the reasons that keep an ad group from learning."""
    is_low = is_target_too_low(group, market.now)
    if phase is Phase.LEARNING:
        return [Reason.FEW_CONVERSIONS, *([Reason.LOW_BID] if is_low else [])]
    line = group.line
    few = Reason.TOO_FEW_LEADS if line.goal is LineGoal.LEAD else Reason.TOO_FEW_CONVERSATIONS
    reasons = [few]
    if float(market.groups.table[group.number, G_REQUESTS]) < FEW_REQUESTS:
        reasons.append(Reason.LITTLE_TRAFFIC)
    elif is_low or (line.bid_type is LineBidType.CUSTOM and group.views < FEW_REQUESTS):
        reasons.append(Reason.LOW_BID)
    cost = group.spent_ever / 1_000 / max(group.earned(), 1)
    if (
        line.budget_mode is LineBudgetMode.DAY
        and line.budget_micros
        and 7 * line.budget_micros < ENOUGH * cost
    ):
        reasons.append(Reason.LITTLE_BUDGET)
    return reasons


def phase_of(group: AuctionGroup, ts: int) -> str:
    if group.earned() >= ENOUGH:
        return "learned"
    return "limited" if ts - group.began_at > LIMITED_S * SECOND else "learning"


def report_group(market: MarketState, group: AuctionGroup) -> GroupReport:
    multiplier = float(market.groups.table[group.number, G_MULTIPLIER])
    return GroupReport(
        group.line.adgroup_id, group.spent_ever // UNITS, group.views, group.clicks, group.conversations,
        group.spam, group.leads, round(group.predicted, 6), phase_of(group, market.now),
        multiplier if np.isfinite(multiplier) else 0.0,
    )  # fmt: skip


def rank_candidates(market: MarketState, line: RankLine, complain: Any) -> Ranking:
    """Return the predicted lead rate of each candidate for an ad group; 0 outside of its countries.

    Differences between candidates are scaled by the calibration slope of viewers: see `fit_slope`.
    """
    groups, viewers = market.groups, market.viewers
    number = groups.by_id.get(line.adgroup_id)
    ads = [] if number is None else [
        ad for ad in range(len(groups.ad_ids)) if groups.ads[ad, A_GROUP] == number and groups.ads[ad, A_ON]
    ]  # fmt: skip
    scores: list[float] = []
    now_s = market.now / SECOND
    for candidate in line.candidates:
        country_name = candidate.country.upper()
        country = groups.country_of(country_name)
        if number is None or (country_name and not groups.allowed[number, country]):
            scores.append(0.0)
            continue
        row = viewers.by_id.get(candidate.viewer_id, 0)
        count = describe_request(market, row, country_name, candidate.features, now_s, complain)
        scores.append(max((_value(market, ad, row, count) for ad in ads), default=0.0))
    return Ranking(line.ask_id, [float(f"{score:.9g}") for score in scores])


def _value(market: MarketState, ad: int, row: int, count: int) -> float:
    groups, learned = market.groups, market.learned
    between = learned.names[:, 0].copy()
    total = list_features(
        market.hashes, market.values, market.kinds, count, ad, groups.ad_hashes[ad], groups.ad_features[ad],
        groups.ad_values[ad], int(groups.ads[ad, A_FEATURES]), groups.feature_hashes, groups.crosses, between,
        learned.shift, learned.slots, learned.weights, learned.families,
    )  # fmt: skip
    effects = market.viewers.table[row, V_EFFECT : V_EFFECT + HEADS]
    p = [0.0] * HEADS
    for head in range(HEADS):
        count = stack_scores(
            learned.table, learned.slots, learned.weights, learned.families, total, head, effects,
            learned.shift, learned.stack,
        )  # fmt: skip
        score = score_features(learned.table, learned.slots, learned.weights, count, head)
        p[head] = logistic(score + effects[head])
    worth = p[CLICK] * p[CONVERSATION] * p[LEAD]
    slope, mean = market.numbers[S_VIEWER_SLOPE], market.numbers[S_VIEWER_MEAN]
    bold = boldness(math.log(max(worth, LEAST_WORTH)), slope, mean)
    return float(worth * bold * (1.0 - p[SPAM]))
