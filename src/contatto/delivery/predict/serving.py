"""Answering a request: its features, the auction, and the promise that is kept for the view."""

from typing import Any, Final

import numpy as np

from contatto.delivery.model.lines import Decision, RequestLine
from contatto.delivery.predict.classes import LISTED, STRENGTH
from contatto.delivery.predict.market import Market
from contatto.delivery.predict.records import Shown
from contatto.delivery.rules.budgets import SECOND
from contatto.delivery.rules.columns import (
    A_GROUP,
    ASKED,
    CLICK,
    CONVERSATION,
    F_VIEWER,
    G_OPEN,
    HEADS,
    LEAD,
    O_AD,
    O_OFFER,
    O_P,
    O_PRICE,
    O_PROPENSITY,
    O_RAW,
    O_VIEWER,
    SPAM,
    TIMED,
    V_ASKED_AT,
)
from contatto.delivery.rules.deciding import hold_auction, keep_snapshot
from contatto.delivery.rules.describing import describe_viewer, fade_viewer, said_by
from contatto.delivery.rules.hashing import name_hash
from contatto.delivery.rules.latent import add_classes

MOST_ASKED: Final = 40
"""Hashed features that one request may bring."""


def nothing(request_id: str) -> Decision:
    """The answer when no ad is shown."""
    return Decision(request_id, None, None, 0, 0, 0.0, 0.0, 0.0, 0.0, 1.0)


def decide_request(market: Market, line: RequestLine, complain: Any) -> Decision:
    """Choose the ad of a request."""
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
    viewers.table[row, V_ASKED_AT] = now_s
    out = market.outcome.tolist()
    ad = int(out[O_AD])
    if ad < 0:
        market.records.shown[line.request_id] = None
        market.records.kept.append((market.now, line.request_id))
        return nothing(line.request_id)
    return _promise(market, line, row, count, out)


def describe_request(
    market: Market, row: int, country: str, features: dict[str, Any] | None, now_s: float, complain: Any
) -> int:
    """Fill the context of the market with the features of a request; how many there are comes back."""
    viewers = market.viewers
    names: list[int] = []
    values: list[float] = []
    said: list[int] = []
    if features:
        names, values = market.asked_fields.hash_features(features, MOST_ASKED, complain, said)
    place = market.asked_fields.values_of("\0country")
    if place is not None:
        names.append(place.hash_of(country))
        values.append(1.0)
        said.append(names[-1])
    count = len(names)
    kinds = [ASKED] * count
    hour = int(now_s) // 3600 % 24
    names.append(_hour_hash(country, hour))
    values.append(1.0)
    kinds.append(TIMED)
    count += 1
    market.hashes[:count] = names
    market.values[:count] = values
    market.kinds[:count] = kinds
    classes = market.classes
    if row:
        classes.note(row, said, is_new=bool(viewers.table[row, V_ASKED_AT] < 0.0))
    if classes.read(said):
        count = add_classes(
            classes.chances,
            classes.named,
            LISTED,
            STRENGTH,
            market.hashes,
            market.values,
            market.kinds,
            count,
        )
    fade_viewer(viewers.table, row, now_s)
    return int(
        describe_viewer(
            viewers.table, row, now_s, market.learned.spread[F_VIEWER], market.hashes, market.values,
            market.kinds, count,
        )
    )  # fmt: skip


_hours: dict[tuple[str, int], int] = {}


def _hour_hash(country: str, hour: int) -> int:
    key = (country, hour)
    known = _hours.get(key)
    if known is None:
        known = _hours[key] = name_hash("hour", country, str(hour))
    return known


def _promise(market: Market, line: RequestLine, row: int, count: int, out: list[float]) -> Decision:
    groups, records, snapshots = market.groups, market.records, market.snapshots
    ad, price = int(out[O_AD]), int(out[O_PRICE])
    number = int(groups.ads[ad, A_GROUP])
    place = snapshots.take()
    keep_snapshot(
        count, market.hashes, market.values, market.kinds, market.chosen, place,
        snapshots.hashes, snapshots.values, snapshots.kinds, snapshots.between,
    )  # fmt: skip
    snapshots.counts[place] = count
    p, raw = out[O_P : O_P + HEADS], out[O_RAW : O_VIEWER + 1]
    shown = Shown(
        line.request_id, ad, number, row, market.now, int(out[O_OFFER]), price, out[O_PROPENSITY],
        tuple(p), tuple(raw), place,
    )  # fmt: skip
    snapshots.holders[place] = shown
    snapshots.stacks[place] = said_by(shown.raw)
    records.shown[line.request_id] = shown
    records.promised.append(line.request_id)
    market.caps.note_decision(shown)
    records.kept.append((market.now, line.request_id))
    group = groups.groups[number]
    group.promised += price
    groups.refresh(group)
    return tell_shown(market, shown)


def tell_shown(market: Market, shown: Shown) -> Decision:
    """The answer that was given when this ad was chosen."""
    groups, p = market.groups, shown.p
    return Decision(
        shown.request_id,
        groups.ad_ids[shown.ad],
        groups.groups[shown.group].line.adgroup_id,
        shown.offer,
        shown.price,
        p[CLICK],
        p[CONVERSATION],
        p[SPAM],
        p[LEAD],
        shown.propensity,
    )
