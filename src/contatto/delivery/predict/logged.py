"""Teaching a marketplace decisions that were made elsewhere, as the log tells of them."""

import msgspec
import numpy as np

from contatto.delivery.model.lines import AdGroupLine, AdLine, RequestLine
from contatto.delivery.model.log import NOBODY, Features, Record
from contatto.delivery.predict.market import Market
from contatto.delivery.predict.marketplace import Marketplace
from contatto.delivery.predict.records import Shown
from contatto.delivery.predict.replica import STRANGER, forget_stranger, is_same
from contatto.delivery.rules.budgets import SECOND
from contatto.delivery.rules.columns import A_GROUP, A_ON
from contatto.delivery.rules.describing import said_by


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


def name_stranger(market: Market, request: str) -> None:
    """Who taps without consent is somebody of their own from here on: only so a chat can be credited."""
    shown = market.records.shown.get(request)
    if shown is None or shown.viewer != STRANGER or not shown.viewed_at:
        return
    row = market.viewers.row_of(f"stranger {request}", market.now / SECOND)
    touches = market.records.touches
    if request in touches.get(STRANGER, ()):
        touches[STRANGER].remove(request)
    touches[row] = [request]
    shown.viewer = row


def _promise(market: Market, record: Record, features: Features) -> None:
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
    shown = records.shown[name] = Shown(
        name, ad, group.number, row, market.now, record.offer_micros, record.price_micros,
        record.propensity, tuple(record.p), tuple(record.raw), place,
    )  # fmt: skip
    kept.holders[place] = shown
    kept.stacks[place] = said_by(record.raw)
    records.promised.append(name)
    group.promised += record.price_micros
    groups.refresh(group)
