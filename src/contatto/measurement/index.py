"""Batches of views, taps and conversions.

Views and taps wait for their transaction: what comes while one is on its way goes into the next together.
Of new conversions one statement says which may have a winner: most persons who write have tapped no ad of
ours.
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
    """The latest click of each of some persons, with its ad; those who have none are left out."""
    clicks = _CLICKS.list(tx, {"of": business_id, "persons": sorted(person_ids)})
    last = {touch.person_id: touch for touch in clicks}
    if not last:
        return {}
    ads = store.list_measured_ads(tx, business_id, {touch.ad_id for touch in last.values()})
    return {person: (touch, ads[touch.ad_id]) for person, touch in last.items() if touch.ad_id in ads}


def list_winnable(tx: Tx, new: Sequence[Conversion], kept_since: int) -> list[Conversion]:
    """Those of new conversions that a touch may have won, in their order; their persons are held.

    ``kept_since`` is the microsecond since when all views that may win are in the database: what happened
    earlier may be won by one that only the files hold.
    """
    lines: dict[str, list[Conversion]] = defaultdict(list)
    for conversion in new:
        lines[conversion.business_id].append(conversion)
    taken_persons = {
        (business_id, person.person_id)
        for business_id, line in lines.items()
        for person in _TOUCHED.list(tx, _asked(business_id, line))
    }
    return [
        conversion
        for conversion in new
        if conversion.ts <= kept_since or (conversion.business_id, conversion.person_id) in taken_persons
    ]


def _asked(business_id: str, line: Sequence[Conversion]) -> dict[str, object]:
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
    """Those attributions that a touch won, by the id of their lead or conversation: most have none."""
    found = _CREDITED.list(tx, {"of": business_id, "subjects": subject_ids})
    return {credit.subject_id: credit for credit in found}


class GatheredTouches:
    """Views and taps, with what is charged for them, many in one transaction; and the ads that they are of.

    Args:
        db: where they are kept.
        record_taps: appends taps, and settles what they may have won.
    """

    def __init__(self, db: Database, record_taps: Callable[[Tx, Sequence[Tap]], object]) -> None:
        self.ads: Final = WorkBatcher(db.read, _list_ads)
        self.views: Final = WorkBatcher(db.write, _of_each(record_views))
        self.taps: Final = WorkBatcher(db.write, _of_each(record_taps))


_ADS: Final = PreparedQuery(
    MeasuredAd,
    select(measured_ads).where(
        within(measured_ads.c.business_id, "businesses"), within(measured_ads.c.ad_id, "ads")
    ),
)


def _list_ads(tx: Tx, places: Sequence[tuple[str, str]]) -> Sequence[MeasuredAd | None]:
    """The ads of businesses and ids; None for one that is not there."""
    businesses, ids = ({place[which] for place in places} for which in (0, 1))
    ads = _ADS.list(tx, {"businesses": sorted(businesses), "ads": sorted(ids)})
    ads_by_id = {(ad.business_id, ad.ad_id): ad for ad in ads}
    return [ads_by_id.get(place) for place in places]


def _of_each[T](record: Callable[[Tx, Sequence[T]], object]) -> Callable[[Tx, Sequence[T]], Sequence[None]]:
    """Nothing is to be said of a touch but that it is kept."""

    def recorded(tx: Tx, some: Sequence[T]) -> Sequence[None]:
        record(tx, some)
        return [None] * len(some)

    return recorded


def record_views(tx: Tx, views: Sequence[Impression]) -> None:
    """Append views, each once, with what is charged for them."""
    charged = tx.ports[ChargePort].charge(tx, views)
    store.append_touches(tx, [store.touch_row(touch) for touch in charged])
    _mark_late(tx, charged)


def append_taps(tx: Tx, taps: Sequence[Tap]) -> tuple[Collection[int], list[Conversion]]:
    """Append taps, each once, with what is charged for them.

    Returns:
        Which of them are new, and the conversions that these may win, or that the views of their viewers may.
    """
    impressions = [tap.impression for tap in taps]
    priced = iter(
        tx.ports[ChargePort].charge(tx, [impression for impression in impressions if impression.nonce])
    )
    charged = [next(priced) if impression.nonce else impression.touch for impression in impressions]
    lines: dict[str, list[tuple[Tap, Touch]]] = defaultdict(list)
    for tap, touch in zip(taps, charged, strict=True):
        lines[touch.business_id].append((tap, touch))
    hold_persons(tx, {(touch.business_id, touch.person_id) for touch in charged} | _viewers_of(taps))
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
    """A touch and a conversion that come in at the same time must see each other: a viewer is held too."""
    if tx.locks_rows:
        tx.advisory_locks({natural_number("person", *person) for person in persons})


def _viewers_of(taps: Sequence[Tap]) -> set[tuple[str, str]]:
    return {(tap.impression.touch.business_id, tap.viewer_id) for tap in taps if tap.viewer_id}


def _append_new_taps(tx: Tx, business_id: str, fresh: Sequence[tuple[Tap, Touch]]) -> list[Conversion]:
    store.append_touches(tx, [store.touch_row(touch) for _, touch in fresh])
    for tap, touch in fresh:
        if not tap.impression.nonce:
            tx.ports[ChargePort].note_click(tx, touch)
    _mark_late(tx, [touch for _, touch in fresh])
    named = {(tap.viewer_id, touch.person_id) for tap, touch in fresh if tap.viewer_id}
    # What a viewer saw before may have earned what the person did before.
    is_linked = bool(named) and append_links(tx, business_id, named) > 0
    linked = {person_id for _, person_id in named} if is_linked else set()
    since = 0 if linked else min(touch.ts for _, touch in fresh)
    persons = sorted({touch.person_id for _, touch in fresh})
    converted = _CONVERTED.list(tx, {"of": business_id, "persons": persons, "since": since})
    return [
        conversion
        for conversion in converted
        if conversion.person_id in linked or _is_within(conversion, fresh)
    ]


def _is_within(conversion: Conversion, fresh: Sequence[tuple[Tap, Touch]]) -> bool:
    return any(is_eligible(touch, conversion) for _, touch in fresh)


def _mark_late(tx: Tx, appended: Sequence[Touch]) -> None:
    """Have the days counted anew that reports may have counted without these."""
    late = [touch for touch in appended if is_late(touch.ts, tx.now)]
    for changed in {(touch.business_id, touch.ad_account_id, touch.day) for touch in late}:
        append_changed_day(tx, ChangedDay(new_id(), *changed, CountedEvent.TOUCH))
