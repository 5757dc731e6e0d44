"""Batches of views, taps and conversions.

Views and taps that arrive during a transaction go into the next one together. One statement selects the new
conversions that may have a winner, because most persons who write have tapped no ad of ours.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Select, bindparam, select, union_all

from contatto.kit.db.database import Database
from contatto.kit.db.prepared import PreparedQuery
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import within
from contatto.kit.db.write_queue import WorkBatcher
from contatto.kit.ids import new_id
from contatto.measurement import store
from contatto.measurement.model import (
    Attribution,
    ChangedDay,
    Conversion,
    CountedEvent,
    Impression,
    MeasuredAd,
    Tap,
    Touch,
)
from contatto.measurement.ports import ChargePort
from contatto.measurement.rules import is_eligible, is_late, natural_number
from contatto.measurement.store import (
    IS_CLICK,
    IS_VIEW,
    WEEK,
    WEEK_US,
    append_changed_day,
    append_links,
    conversions,
    measured_ads,
    touches,
    viewer_links,
)


@dataclass(frozen=True, slots=True)
class _Person:
    person_id: str


def _touched(*which: ColumnElement[bool]) -> Select[tuple[str]]:
    conditions = touches.c.business_id == bindparam("of"), within(touches.c.person_id, "persons")
    return select(touches.c.person_id).where(*conditions, *which)


_LINKED: Final = select(viewer_links.c.person_id).where(
    viewer_links.c.business_id == bindparam("of"), within(viewer_links.c.person_id, "persons")
)
_TOUCHED: Final = PreparedQuery(
    _Person,
    select(
        union_all(_touched(IS_CLICK), _touched(IS_VIEW, within(WEEK, "weeks")), _LINKED).subquery()
    ).distinct(),
)


_CONVERTED: Final = PreparedQuery(
    Conversion,
    select(conversions)
    .where(
        conversions.c.business_id == bindparam("of"),
        within(conversions.c.person_id, "persons"),
        conversions.c.ts >= bindparam("since"),
    )
    .order_by(conversions.c.ts, conversions.c.conversion_id),
)


_CLICKS: Final = PreparedQuery(
    Touch,
    select(touches)
    .where(touches.c.business_id == bindparam("of"), within(touches.c.person_id, "persons"), IS_CLICK)
    .order_by(touches.c.ts, touches.c.touch_id),
)


def list_last_taps(
    tx: Tx, business_id: str, person_ids: Collection[str]
) -> dict[str, tuple[Touch, MeasuredAd]]:
    """Return the latest click of each person who has one, with its ad."""
    clicks = _CLICKS.list(tx, {"of": business_id, "persons": sorted(person_ids)})
    last = {touch.person_id: touch for touch in clicks}
    if not last:
        return {}
    ads = store.list_measured_ads(tx, business_id, {touch.ad_id for touch in last.values()})
    return {person: (touch, ads[touch.ad_id]) for person, touch in last.items() if touch.ad_id in ads}


def list_winnable(tx: Tx, new: Sequence[Conversion], kept_since: int) -> list[Conversion]:
    """Return the new conversions that a touch may have won, in their order; their persons are locked.

    From ``kept_since`` (microseconds) on all views that may win are in the database; older conversions may be
    won by a view in a file.
    """
    lines: dict[str, list[Conversion]] = defaultdict(list)
    for conversion in new:
        lines[conversion.business_id].append(conversion)
    taken_persons = {
        (business_id, person.person_id)
        for business_id, line in lines.items()
        for person in _TOUCHED.list(tx, _touched_values(business_id, line))
    }
    return [
        conversion
        for conversion in new
        if conversion.ts <= kept_since or (conversion.business_id, conversion.person_id) in taken_persons
    ]


def _touched_values(business_id: str, line: Sequence[Conversion]) -> dict[str, object]:
    weeks = {conversion.ts // WEEK_US for conversion in line}
    persons = sorted({conversion.person_id for conversion in line})
    return {"of": business_id, "persons": persons, "weeks": sorted(weeks | {week - 1 for week in weeks})}


_CREDITED: Final = PreparedQuery(
    Attribution,
    select(conversions).where(
        conversions.c.business_id == bindparam("of"),
        within(conversions.c.subject_id, "subjects"),
        conversions.c.ad_id.is_not(None),
    ),
)


def list_credited(tx: Tx, business_id: str, subject_ids: Collection[str]) -> dict[str, Attribution]:
    """Return attributions with a winner by the id of their lead or conversation."""
    attributions = _CREDITED.list(tx, {"of": business_id, "subjects": subject_ids})
    return {attribution.subject_id: attribution for attribution in attributions}


class GatheredTouches:
    """Batches of views and taps with their charges, and lookups of their ads.

    Args:
        record_taps: appends taps, and settles the winners of their conversions.
    """

    def __init__(self, db: Database, record_taps: Callable[[Tx, Sequence[Tap]], object]) -> None:
        self.ads: Final = WorkBatcher(db.read, find_measured_ads)
        self.views: Final = WorkBatcher(db.write, _without_results(record_views))
        self.taps: Final = WorkBatcher(db.write, _without_results(record_taps))


_ADS: Final = PreparedQuery(
    MeasuredAd,
    select(measured_ads).where(
        within(measured_ads.c.business_id, "businesses"), within(measured_ads.c.ad_id, "ads")
    ),
)


def find_measured_ads(tx: Tx, keys: Sequence[tuple[str, str]]) -> Sequence[MeasuredAd | None]:
    """Return the ads of pairs of business and ad; None for an unknown one."""
    businesses, ids = {business_id for business_id, _ in keys}, {ad_id for _, ad_id in keys}
    ads = _ADS.list(tx, {"businesses": sorted(businesses), "ads": sorted(ids)})
    ads_by_id = {(ad.business_id, ad.ad_id): ad for ad in ads}
    return [ads_by_id.get(key) for key in keys]


def _without_results[T](
    record: Callable[[Tx, Sequence[T]], object],
) -> Callable[[Tx, Sequence[T]], Sequence[None]]:
    def recorded(tx: Tx, batch: Sequence[T]) -> Sequence[None]:
        record(tx, batch)
        return [None] * len(batch)

    return recorded


def record_views(tx: Tx, views: Sequence[Impression]) -> None:
    """Append views, each once, with their charges."""
    charged = tx.ports[ChargePort].charge(tx, views)
    store.append_touches(tx, [store.touch_row(touch) for touch in charged])
    _mark_late(tx, charged)


def append_taps(tx: Tx, taps: Sequence[Tap]) -> tuple[Collection[int], list[Conversion]]:
    """Append taps, each once, with their charges.

    Returns:
        The new ones, and the conversions that these or the views of their viewers may win.
    """
    impressions = [tap.impression for tap in taps]
    priced = iter(
        tx.ports[ChargePort].charge(tx, [impression for impression in impressions if impression.nonce])
    )
    charged = [next(priced) if impression.nonce else impression.touch for impression in impressions]
    lines: dict[str, list[tuple[Tap, Touch]]] = defaultdict(list)
    for tap, touch in zip(taps, charged, strict=True):
        lines[touch.business_id].append((tap, touch))
    viewers = {(tap.impression.touch.business_id, tap.viewer_id) for tap in taps if tap.viewer_id}
    hold_persons(tx, {(touch.business_id, touch.person_id) for touch in charged} | viewers)
    new: set[int] = set()
    may_win: list[Conversion] = []
    for business_id, line in sorted(lines.items()):
        known_touches = store.list_known_touches(tx, business_id, {touch.touch_id for _, touch in line})
        fresh = {
            touch.touch_id: (tap, touch)
            for tap, touch in reversed(line)
            if touch.touch_id not in known_touches
        }
        if fresh:
            new |= set(fresh)
            may_win += _append_new_taps(tx, business_id, list(reversed(fresh.values())))
    return new, may_win


def hold_persons(tx: Tx, persons: set[tuple[str, str]]) -> None:
    """Lock persons and viewers, so that simultaneous touches and conversions see each other."""
    if tx.locks_rows:
        tx.advisory_locks({natural_number("person", *person) for person in persons})


def _append_new_taps(tx: Tx, business_id: str, fresh: Sequence[tuple[Tap, Touch]]) -> list[Conversion]:
    store.append_touches(tx, [store.touch_row(touch) for _, touch in fresh])
    for tap, touch in fresh:
        if not tap.impression.nonce:
            tx.ports[ChargePort].note_click(tx, touch)
    _mark_late(tx, [touch for _, touch in fresh])
    named = {(tap.viewer_id, touch.person_id) for tap, touch in fresh if tap.viewer_id}
    # Earlier views of a linked viewer may have earned earlier conversions of the person.
    is_linked = bool(named) and append_links(tx, business_id, named) > 0
    linked = {person_id for _, person_id in named} if is_linked else set()
    since = 0 if linked else min(touch.ts for _, touch in fresh)
    persons = sorted({touch.person_id for _, touch in fresh})
    converted = _CONVERTED.list(tx, {"of": business_id, "persons": persons, "since": since})
    return [
        conversion
        for conversion in converted
        if conversion.person_id in linked or any(is_eligible(touch, conversion) for _, touch in fresh)
    ]


def _mark_late(tx: Tx, appended: Sequence[Touch]) -> None:
    """Mark the days of late touches, which reports may have counted already."""
    late = [touch for touch in appended if is_late(touch.ts, tx.now)]
    for changed in {(touch.business_id, touch.ad_account_id, touch.day) for touch in late}:
        append_changed_day(tx, ChangedDay(new_id(), *changed, CountedEvent.TOUCH))
