"""What a model would have chosen at decisions of the log, with what chance, and what it expects of that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from contatto.delivery.model.log import Record
from contatto.delivery.predict.alone import viewer_as_held
from contatto.delivery.predict.replica import Replica, answer, restore_viewer
from contatto.delivery.rules.columns import CLICK, CONVERSATION, LEAD, S_EXPLORE, S_TEMPERATURE
from contatto.delivery.rules.evaluating import choice_chances

STAGES: Final = ("click", "conversation", "lead")
"""What a choice may bring, the later ones by way of the earlier."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """A decision of the log as another model sees it.

    ``weight`` is the chance that it makes this choice, over the chance when it was made. ``chosen`` is what
    it expects of that choice, and ``expected`` of its own way to choose, by stage.
    """

    weight: float
    chosen: tuple[float, ...]
    expected: tuple[float, ...]


def weigh_record(replica: Replica, record: Record) -> Weighed:
    """See how likely a model is to make a choice of the log, with budgets and multipliers as they were.

    An ad that the model has never heard of cannot be chosen by it.
    """
    market = replica.market
    replica.set_live(record.added)
    offers: dict[int, float] = {}
    worths: dict[int, tuple[float, ...]] = {}
    ads = [ad for ad in record.ads if str(ad) in market.groups.ad_by_id]
    _answer(replica, record, ads)
    with viewer_as_held(market):
        for ad in ads:
            alone = _answer(replica, record, [ad])
            offers[ad] = float(alone.offer_micros if alone.ad else 0)
            worths[ad] = _worths(alone.p)
    numbers = market.numbers
    chances = choice_chances(
        offers, float(record.floor_micros), float(numbers[S_TEMPERATURE]), float(numbers[S_EXPLORE])
    )
    nothing = (0.0,) * len(STAGES)
    return Weighed(
        chances.get(record.ad, 0.0) / record.propensity,
        worths.get(record.ad, nothing),
        _mean_worths(chances, worths),
    )


def _answer(replica: Replica, record: Record, ads: list[int]) -> Record:
    """The decision made again by some ads; one that stands alone tells its own offer."""
    market = replica.market
    market.now = record.ts
    restore_viewer(market, replica.row_of(record.viewer), record.known)
    known = [group for group in record.groups if str(group.number) in market.groups.by_id]
    bare = msgspec.structs.replace(
        record, ads=ads, groups=known, floor_micros=1, ad=0, ad_group=0, offer_micros=0, price_micros=0,
        propensity=1.0, p=(), raw=(), shown=None,
    )  # fmt: skip
    answer(market, bare)
    return bare


def _worths(p: tuple[float, ...]) -> tuple[float, ...]:
    if not p:
        return (0.0,) * len(STAGES)
    return (p[CLICK], p[CLICK] * p[CONVERSATION], p[CLICK] * p[CONVERSATION] * p[LEAD])


def _mean_worths(chances: Mapping[int, float], worths: Mapping[int, tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(
        sum(chance * worths[ad][stage] for ad, chance in chances.items() if ad in worths)
        for stage in range(len(STAGES))
    )
