"""Read replica of a model version, and training from logged decisions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np

from contatto.learning.columns import (
    A_GROUP,
    A_ON,
    DAY_S,
    G_AVAILABLE,
    G_MULTIPLIER,
    G_OFFSET,
    G_REQUESTS,
    MOST_AD_FEATURES,
    SECOND,
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
)
from contatto.learning.impressions import Impression
from contatto.learning.lines import AdGroupLine, AdLine, RequestLine
from contatto.learning.market import UNITS, VIEWER_ARRAYS, MarketState, find_quantile
from contatto.learning.marketplace import Marketplace, decide_request, reserve_impression
from contatto.learning.model import NOBODY, Features, GroupSnapshot, Record
from contatto.learning.outcomes import steer_market
from contatto.learning.pacing import target_of

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
    trial: int = 0
    """The viewer's group in the experiment; below 0 for the random arm."""


def new_marketplace(business_seed: int, saved: bytes | None = None) -> Marketplace:
    """Return the marketplace of a business: untrained, or restored from a snapshot.

    Raises:
        Damaged: the bytes are incomplete.
        Different: the snapshot has other settings.
    """
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
        """Added lines of the records, with their digest."""
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
                multiplier = 0.0 if row is None else float(groups.table[row, G_MULTIPLIER])
                group = groups.set_group(line, market.now or line.ts)
                groups.table[group.number, G_MULTIPLIER] = multiplier
                market.calibration.grow(len(groups.groups))
            else:
                name = f"ad {line.ad_id}"
                hashed = market.ad_fields.hash_features(line.features or {}, MOST_AD_FEATURES, _ignore)
                groups.set_ad(line, hashed)
            self._added[name] = line
            self._added_lines = ([], 0)
        if self._added and not self._added_lines[1]:
            lines = list(self._added.values())
            self._added_lines = (lines, digest_lines(lines))

    def set_multipliers(self, multipliers: dict[int, float]) -> None:
        """Set the learner's last pacing multipliers, by ad group number."""
        groups = self.market.groups
        self._multipliers = multipliers
        for number, multiplier in multipliers.items():
            place = groups.by_id.get(str(number))
            if place is not None:
                groups.table[place, G_MULTIPLIER] = multiplier

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
        fresh = [place for place in fresh if groups.table[place, G_REQUESTS] > 0.0]
        if not fresh:
            return record
        before = groups.table[:, G_MULTIPLIER].copy()
        market.groups.turn_days(market.now)
        steer_market(market)
        for place in fresh:
            first = find_quantile(groups.counts[place], 1.0)
            target = target_of(groups.groups[place])
            before[place] = max(groups.table[place, G_MULTIPLIER], min(first, target or first))
        groups.table[:, G_MULTIPLIER] = before
        return self._decide(request) if before[fresh].any() and not record.ad else record

    def note_shown(self, record: Record) -> None:
        """Count the view of a record's ad, except for viewers without consent."""
        if record.ad and record.viewer != NOBODY:
            groups = self.market.groups
            row = self.row_of(record.viewer)
            self.market.viewers.note_shown(row, groups.ad_by_id[str(record.ad)], record.ts / SECOND)

    def take_back(self, record: Record) -> None:
        """Undo the request of a record, before its decision is repeated."""
        if record.viewer != NOBODY:
            before = np.frombuffer(record.history["table"])[V_REQUESTED_AT]
            self.market.viewers.table[self.row_of(record.viewer), V_REQUESTED_AT] = before

    def _decide(self, request: AuctionRequest) -> Record:
        market = self.market
        market.now = max(market.now, request.ts)
        rows = market.groups.by_number.rows_of(request.available_micros)
        available = [min(micros * UNITS, 1e18) for micros in request.available_micros.values()]
        table = market.groups.table
        table[rows, G_AVAILABLE] = available
        row = self.row_of(request.viewer)
        multipliers, offsets = table[rows, G_MULTIPLIER].tolist(), table[rows, G_OFFSET].tolist()
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
        _hold(market, record)
        return record

    def row_of(self, viewer: str) -> int:
        """Return the row of a viewer; reset that of viewers without consent."""
        viewers, now_s = self.market.viewers, self.market.now / SECOND
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
        now_s, count = market.now / SECOND, 0.0
        for slot, ad in enumerate(market.viewers.recent[row].tolist()):
            if ad >= 0 and market.groups.ads[ad, A_GROUP] == place:
                age_s = now_s - float(market.viewers.shown_at[row, slot])
                count += abs(float(market.viewers.shown[row, slot])) * 0.5 ** (age_s / DAY_S)
        return count


class _FixedValues(FieldValues):
    """Values of a field in a read replica, which never learns new ones."""

    __slots__ = ("size",)

    def __init__(self, field: str, learned: FieldValues | None = None) -> None:
        super().__init__(field)
        if learned is not None:
            self.hashes, self.counts = dict(learned.hashes), learned.counts
            self.numbers, self.knots = learned.numbers, learned.knots
        self.size = len(self.hashes)

    def hash_of(self, value: str) -> int:
        if (hashed := self.hashes.get(value)) is not None:
            return hashed
        return name_hash("is", self.field, value) if self.size < BUSY else self.rare

    def place_number(self, number: float) -> Hashed:
        if self.knots:
            return super().place_number(number)
        numbers, self.numbers = self.numbers, []
        placed = super().place_number(number)
        self.numbers = numbers
        return placed

    def note_outside(self, number: float) -> None:
        """Ignore the number: only the learner adds knots."""


class _FixedFields(FeatureFields):
    """Request fields of a read replica."""

    def __init__(self, learned: FeatureFields) -> None:
        super().__init__(learned.origin)
        self.by_name = {name: _FixedValues(values.field, values) for name, values in learned.by_name.items()}
        self._learned = lru_cache(MOST_FIELDS)(_FixedValues)

    def values_of(self, field: str) -> FieldValues | None:
        if field in self.by_name or len(self.by_name) >= MOST_FIELDS:
            return self.by_name.get(field)
        return self._learned(f"{self.origin}\0{field}")


def repeat_decision(replica: Replica, record: Record) -> Record:
    """Repeat the auction of a record with its inputs, without a reservation."""
    market, groups = replica.market, replica.market.groups
    market.now = record.ts
    restore_viewer(market, replica.row_of(record.viewer), record.history)
    repeated = msgspec.structs.replace(
        record, ad=0, ad_group=0, offer_micros=0, price_micros=0, propensity=1.0, p=(), raw=(), shown=None
    )
    rows = groups.by_number.rows_of(group.number for group in record.groups)
    groups.table[rows, G_AVAILABLE] = [group.available for group in record.groups]
    groups.table[rows, G_MULTIPLIER] = [group.multiplier for group in record.groups]
    groups.table[rows, G_OFFSET] = [group.offset_s for group in record.groups]
    _hold(market, repeated)
    return repeated


def _hold(market: MarketState, record: Record) -> None:
    """Hold the auction of a record with the present table of ad groups; the random arm picks again."""
    market.groups.able[:] = -1
    best = _hold_for(market, record, record.ads, record.floor_micros)
    impression, lot = best, None
    if best is not None and record.trial < 0:
        market.snapshots.give_back(best)
        lot = pick_random_ad(market, record, best.offer)
        restore_viewer(market, market.viewers.by_id[record.viewer], record.history)
        impression = None if lot is None else _hold_for(market, record, [lot.ad], 1)
    if best is None or impression is None:
        return
    groups = market.groups
    record.ad = int(groups.ad_ids[impression.ad])
    record.ad_group = int(groups.groups[impression.group].line.adgroup_id)
    record.offer_micros, record.price_micros = best.offer, best.price
    record.propensity = best.propensity if lot is None else lot.propensity
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


def _hold_for(market: MarketState, record: Record, ads: Sequence[int], floor: int) -> Impression | None:
    """Hold an auction for a record."""
    market.seed, market.requests = record.seed, record.number - 1
    groups = market.groups
    groups.ads[:, A_ON] = 0
    groups.ads[groups.ad_by_number.rows_of(ads), A_ON] = 1
    name = str(record.nonce)
    line = RequestLine(record.ts, name, record.viewer, record.country, record.features, floor)
    return decide_request(market, line, _ignore)


@dataclass(frozen=True, slots=True)
class RandomArmAd:
    """Ad of the random arm, by the API's number, with its propensity."""

    ad: int
    propensity: float


def pick_random_ad(market: MarketState, record: Record, offer: int) -> RandomArmAd | None:
    """Pick a random eligible ad of a record; None if no ad group can pay the price ``offer``.

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
        row = int(groups.ads[ad, A_GROUP])
        if row in can_pay:
            by_group.setdefault(row, []).append(ad)
    weights = {row: groups.groups[row].views + 1 for row in by_group}
    total = sum(weights.values())
    remaining = chance(np.uint64(record.seed), np.uint64(record.number)) * total
    for row, ads in by_group.items():
        if remaining < weights[row]:
            ad = ads[min(int(remaining / weights[row] * len(ads)), len(ads) - 1)]
            return RandomArmAd(int(groups.ad_ids[ad]), weights[row] / total / len(ads))
        remaining -= weights[row]
    return None


def settle_record(record: Record) -> None:
    """Compare the bid of a record with those of other businesses, and set its price."""
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
    viewers.table[STRANGER, V_REQUESTED_AT] = -1e9
    viewers.table[STRANGER, V_DECAYED_AT] = market.now / SECOND


def restore_viewer(market: MarketState, row: int, history: dict[str, bytes]) -> None:
    """Restore a viewer's history at a decision."""
    for name in VIEWER_ARRAYS:
        array = getattr(market.viewers, name)
        array[row] = np.frombuffer(history[name], array.dtype)


def take_record(marketplace: Marketplace, record: Record) -> None:
    """Train on a decision of a replica, with its feature snapshot.

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
    ad, features = groups.ad_by_id.get(str(record.ad)), record.shown
    if features is None or ad is None:
        return
    snapshots = market.snapshots
    place = snapshots.take()
    hashes = np.frombuffer(features.hashes, np.uint64)
    count = len(hashes)
    snapshots.hashes[place, :count] = hashes
    snapshots.values[place, :count] = np.frombuffer(features.values, np.float32)
    snapshots.kinds[place, :count] = np.frombuffer(features.kinds, np.uint8)
    snapshots.between[place] = np.frombuffer(features.between, np.uint64)
    snapshots.counts[place] = count
    row = market.viewers.by_id.get(record.viewer, STRANGER)
    impression = Impression(
        name, ad, int(groups.ads[ad, A_GROUP]), row, market.now, record.offer_micros, record.price_micros,
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
    row = market.viewers.row_of(f"stranger {request}", market.now / SECOND)
    touches = market.records.touches
    if request in touches.get(STRANGER, ()):
        touches[STRANGER].remove(request)
    touches[row] = [request]
    impression.viewer = row


def _ignore(_fault: str) -> None:
    """Drop reports of unusable features; the reference documents them for publishers."""
