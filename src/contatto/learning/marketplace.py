"""Marketplace of one tenant, and read replicas of its model."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from contatto.learning import columns as col
from contatto.learning import outcomes
from contatto.learning.auction import hold_auction
from contatto.learning.batch_learning import NO, YES
from contatto.learning.features import (
    BESIDE_CLASSES,
    BUSY,
    HOURS,
    HOURS_S,
    LISTED,
    MOST_FIELDS,
    OF_HOURS,
    STRENGTH,
    FeatureFields,
    FieldValues,
    Hashed,
    add_classes,
    chance,
    describe_viewer,
    fade_viewer,
    hash_once,
    list_features,
    name_hash,
)
from contatto.learning.impressions import Impression
from contatto.learning.learner import score_features, sloped
from contatto.learning.market import UNITS, VIEWER_ARRAYS, AuctionGroup, MarketState, find_quantile
from contatto.learning.model import (
    NOBODY,
    AdGroupLine,
    AdLine,
    AnswerLine,
    AnyLine,
    ClickLine,
    ConversationLine,
    Decision,
    Features,
    GroupReport,
    GroupSnapshot,
    GroupState,
    LeadLine,
    LineBidType,
    LineBudgetMode,
    LineGoal,
    Phase,
    Quality,
    QualityLine,
    Ranking,
    RankLine,
    Reason,
    Record,
    Reporting,
    ReportLine,
    RequestLine,
    SpamLine,
    ViewLine,
)
from contatto.learning.storage import restore_market, save_market

MOST_ASKED: Final = 52
"""Largest number of hashed features of a request."""
FEW_REQUESTS: Final = 20.0
"""Decayed number of requests below which an ad group has little traffic."""
ENOUGH: Final = 30
"""Conversions after which an ad group has learned."""
LIMITED_S: Final = 7 * col.DAY_S
"""An ad group that has not learned after this time is limited."""
MOST_ASKS: Final = 64
"""Stored answers to reports and rankings, for repeated queries."""
BACK_S: Final = 60
AHEAD_S: Final = 366 * col.DAY_S
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

        Raises UnusableLine with the reason; only the time may have changed.
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
        if isinstance(line, AdGroupLine):
            self._take_group(line)
        elif isinstance(line, AdLine):
            groups = self.market.groups
            if line.adgroup_id not in groups.by_id:
                raise UnusableLine("its ad group is not known")
            row = groups.ad_by_id.get(line.ad_id)
            if row is not None and groups.ad_lines[row].adgroup_id != line.adgroup_id:
                raise UnusableLine("an ad stays in its ad group")
            hashed = self.market.ad_fields.hash_features(
                line.features or {}, col.MOST_AD_FEATURES, self.complain
            )
            groups.set_ad(line, hashed)
        else:
            self._take_outcome(line)
        self.market.seen.add(digest)
        self.market.seen_order.append((self.market.now, digest))
        return None

    def _pass_time(self, ts: int) -> None:
        market = self.market
        if ts > market.now:
            if market.requests and ts - market.now > AHEAD_S * col.SECOND:
                raise UnusableLine("its time is more than a year ahead of the line before")
            market.now = ts
            if ts - market.stepped_at >= outcomes.STEP_S * col.SECOND:
                outcomes.step_market(market)
                market.caps.drop_old(ts, int(market.promise_wait * col.SECOND))
            for group in market.groups.groups:
                if ts >= group.day_until:
                    market.groups.turn_days(ts)
                    outcomes.steer_market(market)
                    break
        elif market.now - ts > BACK_S * col.SECOND:
            raise UnusableLine("its time is more than a minute before that of an earlier line")

    def _take_request(self, line: RequestLine) -> AnswerLine:
        market = self.market
        shown = market.records.shown
        if line.request_id not in shown:
            self._pass_time(line.ts)
            outcomes.do_work(market)
            impression = shown[line.request_id] = decide_request(market, line, self.complain)
            market.records.kept.append((market.now, line.request_id))
            if impression is not None:
                reserve_impression(market, impression)
                market.caps.note_decision(impression)
            if market.requests < 4096 and market.requests & (market.requests - 1) == 0:
                outcomes.steer_market(market)
        groups, impression = market.groups, shown[line.request_id]
        if impression is None:
            return Decision(line.request_id, None, None, 0, 0, 0.0, 0.0, 0.0, 0.0, 1.0)
        p = impression.p
        return Decision(
            line.request_id, groups.ad_ids[impression.ad],
            groups.groups[impression.group].line.adgroup_id, impression.offer, impression.price,
            p[col.CLICK], p[col.CONVERSATION], p[col.SPAM], p[col.LEAD], impression.propensity,
        )  # fmt: skip

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
            outcomes.take_view(market, impression, line.ts)
            market.caps.note_view(impression)
        elif impression.viewed_at:
            outcomes.take_click(market, impression, line.ts)
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
            outcomes.steer_market(market)

    def _take_outcome(self, line: ConversationLine | SpamLine | LeadLine | QualityLine) -> None:
        market = self.market
        viewer = market.viewers.by_id.get(line.viewer_id)
        advertiser = market.groups.advertisers.get(line.advertiser_id)
        if advertiser is None:
            raise UnusableLine("its advertiser has no ad group")
        if viewer is None:
            raise UnusableLine("its viewer was never asked for")
        if isinstance(line, ConversationLine):
            outcomes.take_conversation(market, line, viewer, advertiser)
        elif isinstance(line, LeadLine):
            outcomes.take_lead(market, line, viewer, advertiser)
        elif isinstance(line, SpamLine):
            outcomes.take_spam(market, viewer, advertiser)
        else:
            impression = market.records.shown.get(market.lead_of.get((viewer, advertiser), ""))
            if impression is not None:
                impression.bad = YES if line.status is Quality.UNQUALIFIED else NO
                impression.is_new = True

    def _answer_query(self, line: ReportLine | RankLine) -> AnswerLine:
        """Answer a report or ranking; repeat the answer to a repeated query."""
        market = self.market
        if line.ask_id in market.asked:
            kind, encoded = market.asked[line.ask_id]
            shape: type[Reporting | Ranking] = Reporting if kind == "report" else Ranking
            return msgspec.msgpack.decode(encoded, type=shape)
        self._pass_time(line.ts)
        answer: AnswerLine
        if isinstance(line, ReportLine):
            kind, groups = "report", market.groups.groups
            answer = Reporting(line.ask_id, [report_group(market, group) for group in groups])
        else:
            kind, answer = "rank", rank_candidates(market, line, self.complain)
        market.asked[line.ask_id] = (kind, msgspec.msgpack.encode(answer))
        if len(market.asked) > MOST_ASKS:
            market.asked.pop(next(iter(market.asked)))
        return answer

    def save(self) -> bytes:
        """Return a snapshot for `restore`, after finishing training in slices."""
        outcomes.finish_work(self.market)
        return save_market(self.market)

    @property
    def is_busy(self) -> bool:
        """Report whether training runs in slices now; a snapshot would finish it early."""
        return self.market.work is not None

    def restore(self, raw: bytes) -> None:
        restore_market(self.market, raw)


def decide_request(market: MarketState, line: RequestLine, complain: Any) -> Impression | None:
    """Choose the ad of a request, with its feature snapshot but without a reservation; None for no ad."""
    groups, viewers, learned = market.groups, market.viewers, market.learned
    now_s = market.now / col.SECOND
    country_name = line.country.upper()
    country = groups.country_of(country_name)
    market.traffic.count(country, int(now_s))
    row = viewers.row_of(line.viewer_id, now_s)
    count = describe_request(market, row, country_name, line.features, now_s, complain)
    market.requests += 1
    market.first_asked = market.first_asked or market.now
    reached = market.caps.list_reached(row, market.now, int(market.promise_wait * col.SECOND))
    capped = [number for number in reached if groups.table[number, col.G_OPEN]]
    if capped:
        groups.table[capped, col.G_OPEN] = 0.0
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
        groups.table[capped, col.G_OPEN] = 1.0
    viewers.table[row, col.V_REQUESTED_AT] = now_s
    out = market.outcome.tolist()
    ad = int(out[col.O_AD])
    if ad < 0:
        return None
    snapshots = market.snapshots
    place = snapshots.take()
    for kept, present in (
        (snapshots.hashes, market.hashes),
        (snapshots.values, market.values),
        (snapshots.kinds, market.kinds),
    ):
        kept[place, :count] = present[:count]
    snapshots.between[place], snapshots.counts[place] = market.chosen, count
    return Impression(
        line.request_id, ad, int(groups.ads[ad, col.A_GROUP]), row, market.now, int(out[col.O_OFFER]),
        int(out[col.O_PRICE]), out[col.O_PROPENSITY], tuple(out[col.O_P : col.O_P + col.HEADS]),
        tuple(out[col.O_RAW : col.O_SCORE + 1]), place,
    )  # fmt: skip


def describe_request(
    market: MarketState, row: int, country: str, features: dict[str, Any] | None, now_s: float, complain: Any
) -> int:
    """Fill the market's arrays with the features of a request; return their number."""
    viewers = market.viewers
    words: dict[int, int] = {}
    names, values = market.asked_fields.hash_features(features or {}, MOST_ASKED, complain, words)
    place = market.asked_fields.values_of("\0country")
    if place is not None:
        names.append(place.hash_of(country))
        values.append(1.0)
        words[names[-1]] = place.rare
    hours = market.asked_fields.values_of(HOURS)
    if hours is not None:
        names.append(hours.hash_of(f"{country} {int(now_s % col.DAY_S // HOURS_S)}"))
        values.append(OF_HOURS)
    count = len(names)
    market.hashes[:count] = names
    market.values[:count] = values
    market.kinds[:count] = col.CONTEXT
    classes = market.classes
    if row:
        classes.note(row, words, is_new=bool(viewers.table[row, col.V_REQUESTED_AT] < 0.0))
    if classes.read(words):
        market.values[:count] *= BESIDE_CLASSES
        count = add_classes(
            classes.chances, classes.named, LISTED, STRENGTH, market.hashes, market.values, market.kinds,
            count,
        )  # fmt: skip
    fade_viewer(viewers.table, row, now_s)
    count = describe_viewer(
        viewers.table, row, now_s, market.learned.spread[col.F_VIEWER], market.hashes, market.values,
        market.kinds, count,
    )  # fmt: skip
    return int(count)


def reserve_impression(market: MarketState, impression: Impression) -> None:
    """Record an impression with its feature snapshot, and reserve its price until the view."""
    market.snapshots.holders[impression.place] = impression
    market.records.shown[impression.request_id] = impression
    market.records.promised.append(impression.request_id)
    group = market.groups.groups[impression.group]
    group.promised += impression.price
    market.groups.refresh(group)


def state_of(market: MarketState, group: AuctionGroup) -> GroupState:
    """Return the figures of an ad group with its learning phase, and why it has not learned yet."""
    report = report_group(market, group)
    phase = Phase(report.phase)
    reasons = [] if phase is Phase.LEARNED else reasons_of(market, group, phase)
    return GroupState(
        int(group.line.adgroup_id), report.bid_multiplier, phase, reasons, group.earned(), ENOUGH,
        report.views, report.clicks, report.conversations, report.spam, report.leads, report.predicted_leads,
        report.spend_micros,
    )  # fmt: skip


def reasons_of(market: MarketState, group: AuctionGroup, phase: Phase) -> list[Reason]:
    """List the reasons that keep an ad group from learning."""
    is_low = outcomes.is_target_too_low(group, market.now)
    if phase is Phase.LEARNING:
        return [Reason.FEW_CONVERSIONS, *([Reason.LOW_BID] if is_low else [])]
    line = group.line
    few = Reason.TOO_FEW_LEADS if line.goal is LineGoal.LEAD else Reason.TOO_FEW_CONVERSATIONS
    reasons = [few]
    if float(market.groups.table[group.number, col.G_REQUESTS]) < FEW_REQUESTS:
        reasons.append(Reason.LITTLE_TRAFFIC)
    elif is_low or (line.bid_type is LineBidType.CUSTOM and group.views < FEW_REQUESTS):
        reasons.append(Reason.LOW_BID)
    cost = group.spent_ever / 1_000 / max(group.earned(), 1)
    budget = line.budget_micros if line.budget_mode is LineBudgetMode.DAY else None
    if budget and 7 * budget < ENOUGH * cost:
        reasons.append(Reason.LITTLE_BUDGET)
    return reasons


def report_group(market: MarketState, group: AuctionGroup) -> GroupReport:
    multiplier = float(market.groups.table[group.number, col.G_MULTIPLIER])
    phase = Phase.LIMITED if market.now - group.began_at > LIMITED_S * col.SECOND else Phase.LEARNING
    if group.earned() >= ENOUGH:
        phase = Phase.LEARNED
    return GroupReport(
        group.line.adgroup_id, group.spent_ever // UNITS, group.views, group.clicks, group.conversations,
        group.spam, group.leads, round(group.predicted, 6), phase.value,
        multiplier if np.isfinite(multiplier) else 0.0,
    )  # fmt: skip


def rank_candidates(market: MarketState, line: RankLine, complain: Any) -> Ranking:
    """Return the predicted lead rate of each candidate for an ad group; 0 outside of its countries.

    The best active ad of the group counts.
    """
    groups, viewers, learned = market.groups, market.viewers, market.learned
    number = groups.by_id.get(line.adgroup_id)
    ads = []
    if number is not None:
        ads = np.flatnonzero((groups.ads[:, col.A_GROUP] == number) & (groups.ads[:, col.A_ON] != 0)).tolist()
    scores: list[float] = []
    now_s = market.now / col.SECOND
    for candidate in line.candidates:
        country_name = candidate.country.upper()
        country = groups.country_of(country_name)
        if number is None or (country_name and not groups.allowed[number, country]):
            scores.append(0.0)
            continue
        row = viewers.by_id.get(candidate.viewer_id, 0)
        count = describe_request(market, row, country_name, candidate.features, now_s, complain)
        effects = viewers.table[row, col.V_EFFECT : col.V_EFFECT + col.HEADS]
        best = 0.0
        for ad in ads:
            total = list_features(
                market.hashes, market.values, market.kinds, count, ad, groups.ad_hashes[ad],
                groups.ad_features[ad], groups.ad_values[ad], int(groups.ads[ad, col.A_FEATURES]),
                groups.feature_hashes, groups.crosses, learned.names[:, 0].copy(), learned.shift,
                learned.slots, learned.weights, learned.families,
            )  # fmt: skip
            p = []
            for head in range(col.HEADS):
                score = score_features(learned.table, learned.slots, learned.weights, total, head)
                p.append(sloped(score + effects[head], head, market.numbers))
            leads = float(p[col.CLICK] * p[col.CONVERSATION] * p[col.LEAD] * (1.0 - p[col.SPAM]))
            best = max(best, leads)
        scores.append(best)
    return Ranking(line.ask_id, [float(f"{score:.9g}") for score in scores])


TABLE_BITS: Final = 18.0
"""Bits of the weight table of a business: 262,144 weights; unused pages take no memory."""
STRANGER: Final = 0
"""Row of viewers without consent."""


@dataclass(frozen=True, slots=True)
class AuctionRequest:
    """Ad request with its eligible ads; numbers are the API's, money is micros."""

    nonce: int
    ts: int
    viewer: str
    country: str
    features: dict[str, Any]
    floor_micros: int
    ads: Sequence[int]
    available_micros: dict[int, float]
    """Remaining budget by ad group."""
    left_out: dict[int, str] = field(default_factory=dict)
    """Hurdles by excluded ad group, for the record only."""
    trial: int = 0
    """The viewer's group in the experiment; below 0 for the random arm."""


def new_marketplace(business_seed: int, saved: bytes | None = None) -> Marketplace:
    """Return the marketplace of a business: untrained, or restored from a snapshot (see `restore_market`)."""
    marketplace = Marketplace(business_seed, settings={"table_bits": TABLE_BITS})
    if saved is not None:
        marketplace.restore(saved)
    return marketplace


class Replica:
    """Read replica of a model version, restored as by `new_marketplace`."""

    def __init__(self, business_seed: int, version: int = 0, saved: bytes | None = None) -> None:
        self.version = version
        self._business_seed = business_seed
        self.market: MarketState = new_marketplace(business_seed, saved).market
        self.market.asked_fields = _FixedFields(self.market.asked_fields)
        self._added: dict[str, AdGroupLine | AdLine] = {}
        self._added_lines: tuple[list[AdGroupLine | AdLine], int] = ([], 0)
        """Added lines of the records, with their digest from 1 to 2⁶³ - 1; 0 for none."""
        self._multipliers: dict[int, float] = {}

    def set_live(self, lines: Iterable[AdGroupLine | AdLine]) -> None:
        """Set the present ad groups and ads, each ad after its ad group; records carry the differences."""
        market, groups = self.market, self.market.groups
        for line in lines:
            if groups.has_line(line):
                continue
            if isinstance(line, AdGroupLine):
                name = f"group {line.adgroup_id}"
                row = groups.by_id.get(line.adgroup_id)
                multiplier = 0.0 if row is None else float(groups.table[row, col.G_MULTIPLIER])
                group = groups.set_group(line, market.now or line.ts)
                groups.table[group.number, col.G_MULTIPLIER] = multiplier
                market.calibration.grow(len(groups.groups))
            else:
                name = f"ad {line.ad_id}"
                hashed = market.ad_fields.hash_features(
                    line.features or {}, col.MOST_AD_FEATURES, lambda _fault: None
                )
                groups.set_ad(line, hashed)
            self._added[name] = line
            self._added_lines = ([], 0)
        if self._added and not self._added_lines[1]:
            lines = list(self._added.values())
            digest = blake2b(msgspec.msgpack.encode(lines), digest_size=8).digest()
            self._added_lines = (lines, (int.from_bytes(digest, "little") >> 1) or 1)

    def set_multipliers(self, multipliers: dict[int, float]) -> None:
        """Set the learner's last pacing multipliers, by ad group number."""
        groups = self.market.groups
        self._multipliers = multipliers
        for number, multiplier in multipliers.items():
            place = groups.by_id.get(str(number))
            if place is not None:
                groups.table[place, col.G_MULTIPLIER] = multiplier

    def decide(self, request: AuctionRequest) -> Record:
        """Choose the ad of a request, and count its view."""
        record = self.propose(request)
        self.note_shown(record)
        return record

    def propose(self, request: AuctionRequest) -> Record:
        """Choose the ad of a request; the caller reports its view to ``note_shown``.

        Ad groups that the learner has not paced get their first multipliers.
        """
        record = self._decide(request)
        market, groups = self.market, self.market.groups
        fresh = [
            groups.by_number[group.number]
            for group in record.groups
            if group.multiplier == 0.0 and group.number not in self._multipliers
        ]
        fresh = [place for place in fresh if groups.table[place, col.G_REQUESTS] > 0.0]
        if not fresh:
            return record
        before = groups.table[:, col.G_MULTIPLIER].copy()
        market.groups.turn_days(market.now)
        outcomes.steer_market(market)
        for place in fresh:
            first = find_quantile(groups.counts[place], 1.0)
            target = outcomes.target_of(groups.groups[place])
            before[place] = max(groups.table[place, col.G_MULTIPLIER], min(first, target or first))
        groups.table[:, col.G_MULTIPLIER] = before
        return self._decide(request) if before[fresh].any() and not record.ad else record

    def note_shown(self, record: Record) -> None:
        """Count the view of a record's ad, except for viewers without consent."""
        if record.ad and record.viewer != NOBODY:
            groups = self.market.groups
            row = self.row_of(record.viewer)
            self.market.viewers.note_shown(row, groups.ad_by_id[str(record.ad)], record.ts / col.SECOND)

    def take_back(self, record: Record) -> None:
        """Undo the request of a record, before its decision is repeated."""
        if record.viewer != NOBODY:
            before = np.frombuffer(record.history["table"])[col.V_REQUESTED_AT]
            self.market.viewers.table[self.row_of(record.viewer), col.V_REQUESTED_AT] = before

    def _decide(self, request: AuctionRequest) -> Record:
        market = self.market
        market.now = max(market.now, request.ts)
        rows = market.groups.by_number.rows_of(request.available_micros)
        available = [min(micros * UNITS, 1e18) for micros in request.available_micros.values()]
        table = market.groups.table
        table[rows, col.G_AVAILABLE] = available
        row = self.row_of(request.viewer)
        multipliers, offsets = table[rows, col.G_MULTIPLIER].tolist(), table[rows, col.G_OFFSET].tolist()
        groups = list(map(GroupSnapshot, request.available_micros, available, multipliers, offsets))
        number = market.requests + 1
        # The random draw depends on the nonce alone, not on the number of the request (see `chance`).
        seed = ((request.nonce ^ self._business_seed) - number) * 0x9E3779B97F4A7C15 % (1 << 64)
        history = {name: getattr(market.viewers, name)[row].tobytes() for name in VIEWER_ARRAYS}
        added, digest = self._added_lines
        record = Record(
            request.nonce, self.version, seed, number, market.now, request.viewer, request.country,
            request.floor_micros, request.features, list(request.ads), groups, added, request.left_out,
            history, trial=request.trial, lines=digest,
        )  # fmt: skip
        _decide_record(market, record)
        return record

    def row_of(self, viewer: str) -> int:
        """Return the row of a viewer; reset that of viewers without consent."""
        viewers, now_s = self.market.viewers, self.market.now / col.SECOND
        if viewer != NOBODY:
            return viewers.row_of(viewer, now_s)
        forget_stranger(self.market)
        return STRANGER

    def shown_lately(self, viewer: str, ad_group: int) -> float:
        """Return a viewer's views of an ad group with a half-life of a day."""
        market = self.market
        row = market.viewers.by_id.get(viewer)
        place = market.groups.by_id.get(str(ad_group))
        if row is None or place is None or viewer == NOBODY:
            return 0.0
        now_s, count = market.now / col.SECOND, 0.0
        for slot, ad in enumerate(market.viewers.recent[row].tolist()):
            if ad >= 0 and market.groups.ads[ad, col.A_GROUP] == place:
                age_s = now_s - float(market.viewers.shown_at[row, slot])
                count += abs(float(market.viewers.shown[row, slot])) * 0.5 ** (age_s / col.DAY_S)
        return count


class _FixedValues(FieldValues):
    """Values of a field in a read replica, which never learns new ones."""

    __slots__ = ("size",)

    def __init__(self, name: str, learned: FieldValues | None = None) -> None:
        super().__init__(name)
        if learned is not None:
            self.hashes, self.counts = dict(learned.hashes), learned.counts
            self.numbers, self.knots, self.usual = learned.numbers, learned.knots, learned.usual
        self.size = len(self.hashes)

    def hash_of(self, value: str) -> int:
        if (hashed := self.hashes.get(value)) is not None:
            return hashed
        return name_hash("is", self.name, value) if self.size < BUSY else self.rare

    def place_number(self, number: float) -> Hashed:
        """Place a number without adding knots, as only the learner adds them."""
        numbers, self.numbers = self.numbers, []
        placed = super().place_number(number)
        self.numbers = numbers
        return placed


class _FixedFields(FeatureFields):
    """Request fields of a read replica; values of unknown fields are cached."""

    def __init__(self, learned: FeatureFields) -> None:
        super().__init__(learned.origin)
        self.by_name = {name: _FixedValues(values.name, values) for name, values in learned.by_name.items()}
        self._unknown = lru_cache(MOST_FIELDS)(_FixedValues)

    def values_of(self, name: str) -> FieldValues | None:
        if name in self.by_name or len(self.by_name) >= MOST_FIELDS:
            return self.by_name.get(name)
        return self._unknown(f"{self.origin}\0{name}")


def repeat_decision(replica: Replica, record: Record) -> Record:
    """Repeat the auction of a record with its inputs, without a reservation."""
    market, groups = replica.market, replica.market.groups
    market.now = record.ts
    restore_viewer(market, replica.row_of(record.viewer), record.history)
    repeated = msgspec.structs.replace(
        record, ad=0, ad_group=0, offer_micros=0, price_micros=0, propensity=1.0, p=(), raw=(), shown=None
    )
    rows = groups.by_number.rows_of(group.number for group in record.groups)
    groups.table[rows, col.G_AVAILABLE] = [group.available for group in record.groups]
    groups.table[rows, col.G_MULTIPLIER] = [group.multiplier for group in record.groups]
    groups.table[rows, col.G_OFFSET] = [group.offset_s for group in record.groups]
    _decide_record(market, repeated)
    return repeated


def _decide_record(market: MarketState, record: Record) -> None:
    """Hold the auction of a record with the present table of ad groups; the random arm picks again."""
    market.groups.able[:] = -1
    best = _run_auction(market, record, record.ads, record.floor_micros)
    impression, random_ad = best, None
    if best is not None and record.trial < 0:
        market.snapshots.give_back(best)
        random_ad = pick_random_ad(market, record, best.offer)
        restore_viewer(market, market.viewers.by_id[record.viewer], record.history)
        impression = None if random_ad is None else _run_auction(market, record, [random_ad[0]], 1)
    if best is None or impression is None:
        return
    groups = market.groups
    record.ad = int(groups.ad_ids[impression.ad])
    record.ad_group = int(groups.groups[impression.group].line.adgroup_id)
    record.offer_micros, record.price_micros = best.offer, best.price
    record.propensity = best.propensity if random_ad is None else random_ad[1]
    record.p, record.raw = impression.p, impression.raw
    snapshots, place = market.snapshots, impression.place
    count = int(snapshots.counts[place])
    record.shown = Features(
        snapshots.hashes[place, :count].tobytes(), snapshots.values[place, :count].tobytes(),
        snapshots.kinds[place, :count].tobytes(), snapshots.between[place].tobytes(),
    )  # fmt: skip
    market.snapshots.give_back(impression)
    if record.placement:
        settle_record(record)


def _run_auction(market: MarketState, record: Record, ads: Sequence[int], floor: int) -> Impression | None:
    """Hold an auction for a record."""
    market.seed, market.requests = record.seed, record.number - 1
    groups = market.groups
    groups.ads[:, col.A_ON] = 0
    groups.ads[groups.ad_by_number.rows_of(ads), col.A_ON] = 1
    name = str(record.nonce)
    line = RequestLine(record.ts, name, record.viewer, record.country, record.features, floor)
    return decide_request(market, line, lambda _fault: None)  # the reference tells publishers


def pick_random_ad(market: MarketState, record: Record, offer: int) -> tuple[int, float] | None:
    """Return a random eligible ad and its propensity; None if no ad group can pay the price ``offer``.

    The arrays of the market hold the eligible ads of the last auction. The propensity of an ad group is
    proportional to its views, so it has the same share of the random arm as of the learned arm. Its ads are
    equally likely.
    """
    groups = market.groups
    can_pay = {
        groups.by_number[group.number]
        for group in record.groups
        if group.available >= offer and group.multiplier > 0.0
    }
    by_group: dict[int, list[int]] = {}
    for ad in groups.able.tolist():
        if ad < 0:
            break
        row = int(groups.ads[ad, col.A_GROUP])
        if row in can_pay:
            by_group.setdefault(row, []).append(ad)
    weights = {row: groups.groups[row].views + 1 for row in by_group}
    total = sum(weights.values())
    remaining = chance(np.uint64(record.seed), np.uint64(record.number)) * total
    for row, ads in by_group.items():
        if remaining < weights[row]:
            ad = ads[min(int(remaining / weights[row] * len(ads)), len(ads) - 1)]
            return int(groups.ad_ids[ad]), weights[row] / total / len(ads)
        remaining -= weights[row]
    return None


def settle_record(record: Record) -> None:
    """Compare the bid of a record with those of other businesses: set its price, or clear its ad."""
    if record.ad and record.offer_micros >= record.to_beat_micros:
        record.price_micros = max(record.floor_micros, record.to_beat_micros)
        return
    record.ad = record.ad_group = record.offer_micros = record.price_micros = 0
    record.propensity, record.p, record.raw, record.shown = 1.0, (), (), None


def forget_stranger(market: MarketState) -> None:
    """Reset the history of viewers without consent."""
    viewers = market.viewers
    for name in VIEWER_ARRAYS:
        getattr(viewers, name)[STRANGER] = -1 if name in ("recent", "known") else 0
    viewers.table[STRANGER, col.V_REQUESTED_AT] = -1e9
    viewers.table[STRANGER, col.V_DECAYED_AT] = market.now / col.SECOND


def restore_viewer(market: MarketState, row: int, history: dict[str, bytes]) -> None:
    """Restore a viewer's history at a decision."""
    for name in VIEWER_ARRAYS:
        array = getattr(market.viewers, name)
        array[row] = np.frombuffer(history[name], array.dtype)


def take_record(marketplace: Marketplace, record: Record) -> None:
    """Record the impression that a replica decided, so that later outcomes train the model.

    The learner also holds its own auction, to count requests and to update the price landscape.
    """
    market = marketplace.market
    for line in record.added:
        take_line(marketplace, line, record.ts)
    groups, records = market.groups, market.records
    name = str(record.nonce)
    if name in records.shown:
        return
    if record.viewer == NOBODY:
        forget_stranger(market)
    places = [groups.ad_by_id[str(ad)] for ad in record.ads if str(ad) in groups.ad_by_id]
    groups.ads[:, col.A_ON] = 0
    groups.ads[places, col.A_ON] = 1
    least = max(record.floor_micros, record.to_beat_micros)
    request = RequestLine(record.ts, name, record.viewer, record.country, record.features, least)
    marketplace.take(request)
    groups.ads[: len(groups.ad_ids), col.A_ON] = 1
    own = records.shown[name]
    if own is not None:
        records.promised.pop()
        group = groups.groups[own.group]
        group.promised -= own.price
        groups.refresh(group)
        market.snapshots.give_back(own)
        records.shown[name] = None
    ad, features = groups.ad_by_id.get(str(record.ad)), record.shown
    if features is None or ad is None:
        return
    snapshots, place = market.snapshots, market.snapshots.take()
    hashes = np.frombuffer(features.hashes, np.uint64)
    count = len(hashes)
    snapshots.hashes[place, :count] = hashes
    snapshots.values[place, :count] = np.frombuffer(features.values, np.float32)
    snapshots.kinds[place, :count] = np.frombuffer(features.kinds, np.uint8)
    snapshots.between[place] = np.frombuffer(features.between, np.uint64)
    snapshots.counts[place] = count
    row = market.viewers.by_id.get(record.viewer, STRANGER)
    impression = Impression(
        name, ad, int(groups.ads[ad, col.A_GROUP]), row, market.now, record.offer_micros, record.price_micros,
        record.propensity, tuple(record.p), tuple(record.raw), place,
    )  # fmt: skip
    reserve_impression(market, impression)


def take_line(marketplace: Marketplace, line: AdGroupLine | AdLine, ts: int) -> None:
    """Apply an ad group or ad that is new or changed."""
    if not marketplace.market.groups.has_line(line):
        marketplace.take(msgspec.structs.replace(line, ts=ts))


def name_stranger(market: MarketState, request: str) -> None:
    """Give a viewer without consent an own row after a click, so that a conversation can be attributed."""
    impression = market.records.shown.get(request)
    if impression is None or impression.viewer != STRANGER or not impression.viewed_at:
        return
    row = market.viewers.row_of(f"stranger {request}", market.now / col.SECOND)
    touches = market.records.touches
    if request in touches.get(STRANGER, ()):
        touches[STRANGER].remove(request)
    touches[row] = [request]
    impression.viewer = row
