"""A read-only copy of a published marketplace, and decisions of others taught to a learner."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.learning.budgets import SECOND, UNITS, find_quantile
from contatto.learning.columns import (
    A_GROUP,
    A_ON,
    G_AVAILABLE,
    G_MULTIPLIER,
    G_OFFSET,
    G_REQUESTS,
    MOST_AD_FEATURES,
    V_DECAYED_AT,
    V_REQUESTED_AT,
)
from contatto.learning.features import (
    BUSY,
    MOST_FIELDS,
    FeatureFields,
    FieldValues,
    Hashed,
    chance,
    digest_lines,
    name_hash,
    said_by,
)
from contatto.learning.groups import AuctionGroup
from contatto.learning.impressions import Impression
from contatto.learning.lines import AdGroupLine, AdLine, Decision, RequestLine
from contatto.learning.market import VIEWER_ARRAYS, MarketState
from contatto.learning.marketplace import Marketplace, decide_request
from contatto.learning.model import NOBODY, Features, GroupSnapshot, Record
from contatto.learning.outcomes import steer_market
from contatto.learning.pacing import target_of


@dataclass(frozen=True, slots=True)
class RandomArmAd:
    """The ad that was drawn, by the API's number, and the chance that it had."""

    ad: int
    propensity: float


def pick_random_ad(market: MarketState, record: Record, offer: int) -> RandomArmAd | None:
    """Draw among the ads of a record that may serve; None when none of them can pay for the place.

    The auction as learned was just held: the scratch arrays hold the ads that may serve. An ad group is drawn
    with the chance of its views so far, so that each has the share of these places that it has of all others,
    and its budget pays for as many. Of its ads each is drawn alike.

    Args:
        market: the marketplace.
        record: the decision; it is drawn with its seed.
        offer: what the winner as learned offers for the place: whoever is drawn has this much left.
    """
    groups = market.groups
    can_pay = {
        groups.by_number[each.number]
        for each in record.groups
        if each.available >= offer and each.multiplier > 0.0
    }
    by_group: dict[int, list[int]] = {}
    for ad in groups.able.tolist():
        if ad < 0:
            break
        group = int(groups.ads[ad, A_GROUP])
        if group in can_pay:
            by_group.setdefault(group, []).append(ad)
    weights = {group: groups.groups[group].views + 1 for group in by_group}
    total = sum(weights.values())
    left = chance(np.uint64(record.seed), np.uint64(record.number)) * total
    for group, ads in by_group.items():
        if left < weights[group]:
            ad = ads[min(int(left / weights[group] * len(ads)), len(ads) - 1)]
            return RandomArmAd(int(groups.ad_ids[ad]), weights[group] / total / len(ads))
        left -= weights[group]
    return None


TABLE_BITS: Final = 18.0
"""Weights of one business: 262,144; the pages of those that its few ads do not need stay unused."""
STRANGER: Final = 0
"""The row of nobody."""


@dataclass(frozen=True, slots=True)
class AuctionRequest:
    """A request, with the ads that may serve it; numbers are the API's, money is micros."""

    nonce: int
    ts: int
    viewer: str
    country: str
    features: dict[str, Any]
    floor_micros: int
    ads: Sequence[int]
    available_micros: dict[int, float]
    """What is left of the budget of each ad group of these ads."""
    left_out: dict[int, str] = field(default_factory=dict)
    trial: int = 0
    """The viewer's group in the trial of delivery; below 0 the ad is drawn by lot."""


def new_marketplace(business_seed: int) -> Marketplace:
    """The marketplace of a business, before anything is learned."""
    return Marketplace(business_seed, settings={"table_bits": TABLE_BITS})


class _Learned(FieldValues):
    """The values of a field as the model knows them: asking for one teaches nothing."""

    __slots__ = ("size",)

    def __init__(self, field: str, of: FieldValues | None = None) -> None:
        super().__init__(field)
        if of is not None:
            self.hashes, self.counts = dict(of.hashes), of.counts
            self.numbers, self.knots = of.numbers, of.knots
        self.size = len(self.hashes)

    def hash_of(self, value: str) -> int:
        known = self.hashes.get(value)
        if known is not None:
            return known
        return name_hash("is", self.field, value) if self.size < BUSY else self.rare

    def place_number(self, number: float) -> Hashed:
        if self.knots:
            return super().place_number(number)
        kept, self.numbers = self.numbers, []
        placed = super().place_number(number)
        self.numbers = kept
        return placed

    def note_outside(self, number: float) -> None:
        """The learner does."""


class _LearnedFields(FeatureFields):
    """The fields of requests as the model knows them."""

    def __init__(self, of: FeatureFields) -> None:
        super().__init__(of.origin)
        self.by_name = {name: _Learned(each.field, each) for name, each in of.by_name.items()}
        self._learned = lru_cache(MOST_FIELDS)(_Learned)

    def values_of(self, field: str) -> FieldValues | None:
        if field in self.by_name or len(self.by_name) >= MOST_FIELDS:
            return self.by_name.get(field)
        return self._learned(f"{self.origin}\0{field}")


class Replica:
    """See the module.

    Raises:
        Damaged: the bytes are not whole.
        Different: they are of other settings.
    """

    def __init__(self, business_seed: int, version: int = 0, saved: bytes | None = None) -> None:
        marketplace = new_marketplace(business_seed)
        if saved is not None:
            marketplace.restore(saved)
        self.version = version
        self._business_seed = business_seed
        self._marketplace = marketplace
        self.market: MarketState = marketplace.market
        self.market.asked_fields = _LearnedFields(self.market.asked_fields)
        self._added: dict[str, AdGroupLine | AdLine] = {}
        self._told: tuple[list[AdGroupLine | AdLine], int] = ([], 0)
        """The same as records carry it, with its digest."""
        self._multipliers: dict[int, float] = {}

    def set_live(self, lines: Iterable[AdGroupLine | AdLine]) -> None:
        """Take ad groups and ads as they are now, each ad after its ad group; records carry what differs."""
        groups = self.market.groups
        for line in lines:
            if isinstance(line, AdGroupLine):
                place = groups.by_id.get(line.adgroup_id)
                known: AdGroupLine | AdLine | None = None if place is None else groups.groups[place].line
                name = f"group {line.adgroup_id}"
            else:
                place = groups.ad_by_id.get(line.ad_id)
                known = None if place is None else groups.ad_lines[place]
                name = f"ad {line.ad_id}"
            if known is None or not is_same(known, line):
                self._add(line)
                self._added[name] = line
                self._told = ([], 0)
        if self._added and not self._told[1]:
            told = list(self._added.values())
            self._told = (told, digest_lines(told))

    def _add(self, line: AdGroupLine | AdLine) -> None:
        market = self.market
        if isinstance(line, AdGroupLine):
            had = market.groups.by_id.get(line.adgroup_id)
            multiplier = 0.0 if had is None else float(market.groups.table[had, G_MULTIPLIER])
            group = market.groups.set_group(line, market.now or line.ts)
            market.groups.table[group.number, G_MULTIPLIER] = multiplier
            market.calibration.grow(len(market.groups.groups))
        else:
            hashed = market.ad_fields.hash_features(line.features or {}, MOST_AD_FEATURES, _ignore)
            market.groups.set_ad(line, hashed)

    def set_multipliers(self, multipliers: dict[int, float]) -> None:
        """Take what conversions are worth to ad groups, by their numbers, as the learner set it last."""
        groups = self.market.groups
        self._multipliers = multipliers
        for number, multiplier in multipliers.items():
            place = groups.by_id.get(str(number))
            if place is not None:
                groups.table[place, G_MULTIPLIER] = multiplier

    def decide(self, asked: AuctionRequest) -> Record:
        """Choose the ad of a request."""
        record = self.propose(asked)
        self.note_shown(record)
        return record

    def propose(self, asked: AuctionRequest) -> Record:
        """Choose the ad that would be shown; whoever shows it says so to ``note_shown``."""
        record = self._decide(asked)
        if self._warm(record) and not record.ad:
            record = self._decide(asked)
        return record

    def note_shown(self, record: Record) -> None:
        """Remember of a viewer who is known that the ad of a record is shown."""
        if record.ad and record.viewer != NOBODY:
            groups = self.market.groups
            row = self.row_of(record.viewer)
            self.market.viewers.note_shown(row, groups.ad_by_id[str(record.ad)], record.ts / SECOND)

    def take_back(self, record: Record) -> None:
        """Forget the request of a record, before a decision for it is made again."""
        if record.viewer != NOBODY:
            before = np.frombuffer(record.history["table"])[V_REQUESTED_AT]
            self.market.viewers.table[self.row_of(record.viewer), V_REQUESTED_AT] = before

    def _decide(self, asked: AuctionRequest) -> Record:
        market = self.market
        market.now = max(market.now, asked.ts)
        rows = market.groups.by_number.rows_of(asked.available_micros)
        left = [min(available * UNITS, 1e18) for available in asked.available_micros.values()]
        market.groups.table[rows, G_AVAILABLE] = left
        row = self.row_of(asked.viewer)
        then = self._groups_then(asked.available_micros, rows, left)
        number = market.requests + 1
        record = Record(
            asked.nonce, self.version, self._seed_of(asked.nonce, number), number, market.now, asked.viewer,
            asked.country, asked.floor_micros, asked.features, list(asked.ads), then,
            self._told[0], asked.left_out, _pack_viewer(market, row), trial=asked.trial, lines=self._told[1],
        )  # fmt: skip
        _hold(market, record)
        return record

    def _seed_of(self, nonce: int, number: int) -> int:
        """Return a seed with which a decision is drawn alike, whatever number it has (see `chance`)."""
        return ((nonce ^ self._business_seed) - number) * 0x9E3779B97F4A7C15 % (1 << 64)

    def _groups_then(
        self, numbers: Iterable[int], rows: NDArray[np.int64], left: list[float]
    ) -> list[GroupSnapshot]:
        table = self.market.groups.table
        multipliers, offsets = table[rows, G_MULTIPLIER].tolist(), table[rows, G_OFFSET].tolist()
        return list(map(GroupSnapshot, numbers, left, multipliers, offsets))

    def row_of(self, viewer: str) -> int:
        """The row of a viewer; that of nobody is as if nothing had ever been seen."""
        viewers, now_s = self.market.viewers, self.market.now / SECOND
        if viewer != NOBODY:
            return viewers.row_of(viewer, now_s)
        forget_stranger(self.market)
        return STRANGER

    def shown_lately(self, viewer: str, ad_group: int) -> float:
        """Return how often a viewer saw ads of an ad group; views of a day ago count half."""
        market = self.market
        row = market.viewers.by_id.get(viewer)
        place = market.groups.by_id.get(str(ad_group))
        if row is None or place is None or viewer == NOBODY:
            return 0.0
        now_s, count = market.now / SECOND, 0.0
        for slot, ad in enumerate(market.viewers.recent[row].tolist()):
            if ad >= 0 and market.groups.ads[ad, A_GROUP] == place:
                age_s = now_s - float(market.viewers.shown_at[row, slot])
                count += abs(float(market.viewers.shown[row, slot])) * 0.5 ** (age_s / 86_400.0)
        return count

    def _warm(self, record: Record) -> bool:
        """Set multipliers of ad groups that the learner has not looked at yet; whether any is new."""
        market, groups = self.market, self.market.groups
        fresh = [
            groups.by_number[group.number]
            for group in record.groups
            if group.multiplier == 0.0 and group.number not in self._multipliers
        ]
        fresh = [place for place in fresh if groups.table[place, G_REQUESTS] > 0.0]
        if not fresh:
            return False
        before = groups.table[:, G_MULTIPLIER].copy()
        market.groups.turn_days(market.now)
        steer_market(market)
        for place in fresh:
            first = find_quantile(groups.counts[place], 1.0)
            target = target_of(groups.groups[place])
            before[place] = max(groups.table[place, G_MULTIPLIER], min(first, target or first))
        groups.table[:, G_MULTIPLIER] = before
        return bool(before[fresh].any())


def answer(market: MarketState, record: Record) -> None:
    """Hold the auction of a record as it stands, and write the answer into it; nothing is promised here."""
    groups = market.groups
    rows = _set_available(market, record)
    groups.table[rows, G_MULTIPLIER] = [group.multiplier for group in record.groups]
    groups.table[rows, G_OFFSET] = [each.offset_s for each in record.groups]
    _hold(market, record)


def _set_available(market: MarketState, record: Record) -> NDArray[np.int64]:
    """Set what is left of the budgets of a record, which each auction changes; rows of its ad groups."""
    rows = market.groups.by_number.rows_of(each.number for each in record.groups)
    market.groups.table[rows, G_AVAILABLE] = [group.available for group in record.groups]
    return rows


def _hold(market: MarketState, record: Record) -> None:
    """Hold the auction of a record, whose ad groups stand in their table as the record says."""
    market.groups.able[:] = -1
    decision, impression = _hold_for(market, record, record.ads, record.floor_micros)
    lot = None
    if record.trial < 0 and impression is not None:
        market.snapshots.give_back(impression)
        lot = pick_random_ad(market, record, decision.offer_micros)
        restore_viewer(market, market.viewers.by_id[record.viewer], record.history)
        _set_available(market, record)
        impression = None if lot is None else _hold_for(market, record, [lot.ad], 1)[1]
    if impression is None:
        return
    groups = market.groups
    record.ad, record.ad_group = (
        int(groups.ad_ids[impression.ad]),
        _number_of(groups.groups[impression.group]),
    )
    record.offer_micros, record.price_micros = decision.offer_micros, decision.price_micros
    record.propensity = decision.propensity if lot is None else lot.propensity
    record.p, record.raw = impression.p, impression.raw
    record.shown = _pack_features(market, impression)
    market.snapshots.give_back(impression)
    if record.placement:
        settle_record(record)


def _number_of(group: AuctionGroup) -> int:
    return int(group.line.adgroup_id)


def _hold_for(
    market: MarketState, record: Record, ads: Sequence[int], floor: int
) -> tuple[Decision, Impression | None]:
    """Hold an auction for the place of a record, and promise nothing."""
    market.seed, market.requests = record.seed, record.number - 1
    groups, records, name = market.groups, market.records, str(record.nonce)
    groups.ads[:, A_ON] = 0
    groups.ads[groups.ad_by_number.rows_of(ads), A_ON] = 1
    line = RequestLine(record.ts, name, record.viewer, record.country, record.features, floor)
    decision = decide_request(market, line, _ignore)
    impression = records.shown.pop(name)
    records.kept.pop()
    if impression is not None:
        records.promised.pop()
        groups.groups[impression.group].promised -= impression.price
    return decision, impression


def replay_record(business_seed: int, saved: bytes | None, record: Record) -> Record:
    """Make a decision again from its model and its record: all of it must come out the same."""
    replica = Replica(business_seed, record.version, saved)
    market = replica.market
    replica.set_live(record.added)
    market.now = record.ts
    row = replica.row_of(record.viewer)
    restore_viewer(market, row, record.history)
    bare = Record(*(getattr(record, name) for name in Record.__struct_fields__[:_ASKED_FIELDS]))
    for name in ("placement", "to_beat_micros", "trial", "lines"):
        setattr(bare, name, getattr(record, name))
    answer(market, bare)
    return bare


_ASKED_FIELDS: Final = Record.__struct_fields__.index("ad")


def forget_stranger(market: MarketState) -> None:
    """Nothing is remembered of those who did not consent: the next one is as unknown as the first."""
    viewers = market.viewers
    for name in VIEWER_ARRAYS:
        getattr(viewers, name)[STRANGER] = -1 if name in ("recent", "known") else 0
    viewers.table[STRANGER, V_REQUESTED_AT] = -1e9
    viewers.table[STRANGER, V_DECAYED_AT] = market.now / SECOND


def is_same(known: AdGroupLine | AdLine, line: AdGroupLine | AdLine) -> bool:
    """Return whether two lines say the same, whenever they say it."""
    return msgspec.structs.replace(known, ts=0) == msgspec.structs.replace(line, ts=0)


def _pack_features(market: MarketState, impression: Impression) -> Features:
    kept, place = market.snapshots, impression.place
    count = int(kept.counts[place])
    return Features(
        kept.hashes[place, :count].tobytes(),
        kept.values[place, :count].tobytes(),
        kept.kinds[place, :count].tobytes(),
        kept.between[place].tobytes(),
    )


def _pack_viewer(market: MarketState, row: int) -> dict[str, bytes]:
    return {name: getattr(market.viewers, name)[row].tobytes() for name in VIEWER_ARRAYS}


def restore_viewer(market: MarketState, row: int, known: dict[str, bytes]) -> None:
    """Put back what was remembered of a viewer when a decision was made."""
    for name in VIEWER_ARRAYS:
        array = getattr(market.viewers, name)
        array[row] = np.frombuffer(known[name], array.dtype)


def _ignore(_fault: str) -> None:
    """What cannot be used of a request is left out; the publisher reads of it in the reference."""


def take_record(marketplace: Marketplace, record: Record) -> None:
    """Let the learner know of a decision that was made elsewhere, with its features as they were.

    Its own auction runs too: so it knows what requests come, and at which multiplier they would be won.
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
    groups.ads[:, A_ON] = 0
    groups.ads[places, A_ON] = 1
    least = max(record.floor_micros, record.to_beat_micros)
    request = RequestLine(record.ts, name, record.viewer, record.country, record.features, least)
    marketplace.take(request)
    groups.ads[: len(groups.ad_ids), A_ON] = 1
    own = records.shown[name]
    if own is not None:
        records.promised.pop()
        group = groups.groups[own.group]
        group.promised -= own.price
        groups.refresh(group)
        market.snapshots.give_back(own)
        records.shown[name] = None
    if record.shown is not None and str(record.ad) in groups.ad_by_id:
        _promise(market, record, record.shown)


def take_line(marketplace: Marketplace, line: AdGroupLine | AdLine, ts: int) -> None:
    """Take an ad group or an ad, if it is new or differs from what is known."""
    groups = marketplace.market.groups
    if isinstance(line, AdGroupLine):
        place = groups.by_id.get(line.adgroup_id)
        if place is not None and is_same(groups.groups[place].line, line):
            return
    else:
        place = groups.ad_by_id.get(line.ad_id)
        if place is not None and is_same(groups.ad_lines[place], line):
            return
    marketplace.take(msgspec.structs.replace(line, ts=ts))


def name_stranger(market: MarketState, request: str) -> None:
    """Who taps without consent is somebody of their own from here on: only so a chat can be credited."""
    impression = market.records.shown.get(request)
    if impression is None or impression.viewer != STRANGER or not impression.viewed_at:
        return
    row = market.viewers.row_of(f"stranger {request}", market.now / SECOND)
    touches = market.records.touches
    if request in touches.get(STRANGER, ()):
        touches[STRANGER].remove(request)
    touches[row] = [request]
    impression.viewer = row


def _promise(market: MarketState, record: Record, features: Features) -> None:
    groups, records, kept = market.groups, market.records, market.snapshots
    place = kept.take()
    hashes = np.frombuffer(features.hashes, np.uint64)
    count = len(hashes)
    kept.hashes[place, :count] = hashes
    kept.values[place, :count] = np.frombuffer(features.values, np.float32)
    kept.kinds[place, :count] = np.frombuffer(features.kinds, np.uint8)
    kept.between[place] = np.frombuffer(features.between, np.uint64)
    kept.counts[place] = count
    name, ad = str(record.nonce), groups.ad_by_id[str(record.ad)]
    group = groups.groups[int(groups.ads[ad, A_GROUP])]
    row = market.viewers.by_id.get(record.viewer, STRANGER)
    impression = records.shown[name] = Impression(
        name, ad, group.number, row, market.now, record.offer_micros, record.price_micros,
        record.propensity, tuple(record.p), tuple(record.raw), place,
    )  # fmt: skip
    kept.holders[place] = impression
    kept.stacks[place] = said_by(record.raw)
    records.promised.append(name)
    group.promised += record.price_micros
    groups.refresh(group)


def settle_record(record: Record) -> None:
    """Hold the ad of a record against the offers of other businesses for the same place."""
    if record.ad and record.offer_micros >= record.to_beat_micros:
        record.price_micros = max(record.floor_micros, record.to_beat_micros)
        return
    record.ad = record.ad_group = record.offer_micros = record.price_micros = 0
    record.propensity, record.p, record.raw, record.shown = 1.0, (), (), None
