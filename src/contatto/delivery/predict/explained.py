"""Why an ad was shown, and why another was not: decisions made again, with parts of them left out."""

from dataclasses import dataclass

import msgspec

from contatto.delivery.model.log import Record
from contatto.delivery.predict.alone import viewer_as_held
from contatto.delivery.predict.replica import Replica, answer, restore_viewer
from contatto.delivery.rules.columns import CLICK, CONVERSATION, LEAD


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision made again.

    ``is_same`` tells that it came out the same, bit for bit. ``offers`` are micros for a thousand views, by
    ad. ``features`` tell by what each feature of the request multiplied the chance of a lead through the ad.
    """

    is_same: bool
    offers: dict[int, int]
    features: dict[str, float]


def explain_record(business_seed: int, saved: bytes | None, record: Record) -> Explained:
    """Make a decision again; then let each ad stand alone, and leave out each feature in turn."""
    replica = Replica(business_seed, record.version, saved)
    replica.set_live(record.added)
    again = _answer(replica, record)
    offers = {}
    with viewer_as_held(replica.market):
        for ad in record.ads:
            alone = _answer(replica, msgspec.structs.replace(record, ads=[ad], floor_micros=1, placement=""))
            offers[ad] = alone.offer_micros if alone.ad else 0
    features: dict[str, float] = {}
    if record.ad and record.trial >= 0:  # drawn by lot: nothing of the viewer took part
        whole = msgspec.structs.replace(record, ads=[record.ad], floor_micros=1, placement="")
        worth = _worth(_answer(replica, whole))
        for name in record.features:
            rest = {key: value for key, value in record.features.items() if key != name}
            without = _worth(_answer(replica, msgspec.structs.replace(whole, features=rest)))
            features[name] = worth / without if without > 0.0 else 1.0
    same = msgspec.msgpack.encode(again) == msgspec.msgpack.encode(record)
    return Explained(same, offers, features)


def _answer(replica: Replica, record: Record) -> Record:
    market = replica.market
    market.now = record.ts
    restore_viewer(market, replica.row_of(record.viewer), record.known)
    bare = msgspec.structs.replace(
        record, ad=0, ad_group=0, offer_micros=0, price_micros=0, propensity=1.0, p=(), raw=(), shown=None
    )
    answer(market, bare)
    return bare


def _worth(record: Record) -> float:
    return record.p[CLICK] * record.p[CONVERSATION] * record.p[LEAD] if record.p else 0.0
