"""Counting the days of reports ahead, and again where something changed after the fact."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from operator import itemgetter
from typing import Any, Final
from zoneinfo import ZoneInfo

from contatto.kit.db.tx import Tx
from contatto.kit.log import logger
from contatto.kit.timestamps import micros
from contatto.leads.model import LeadsMerged, LeadStatusChanged
from contatto.measurement import actions as measurement
from contatto.measurement.engines.sealing import BrokenFile
from contatto.measurement.model import ConversionKind, CountedEvent
from contatto.measurement.rules import LATE, local_day, natural_number
from contatto.measurement.store import list_changed_accounts, list_changed_days, list_measured_ads
from contatto.reports.engines import counts as store
from contatto.reports.engines.cold import Part
from contatto.reports.engines.counts import Counted, CountingProgress
from contatto.reports.engines.database import list_raw_facts
from contatto.reports.model import STORED, Fact, Grain, Span, TimeStep, add_up

SETTLED: Final = LATE + timedelta(minutes=1)
"""How old something must be to be counted ahead: what is older when it is kept marks its day, and no
transaction that kept something younger is still open."""
PAUSE: Final = timedelta(minutes=5)
"""How long an account waits until it is counted on, and it waits no longer than for so many touches:"""
WORTH: Final = 100
MOST_DAYS: Final = 10
"""Days that are counted at once, where nobody else waits."""

UP_TO_DATE: Final = timedelta(days=1)
"""An account that is counted so far is not behind."""

type Record = Callable[[Tx], None]

_COUNTING: Final = natural_number("counting days of reports")
"""Held while counting: two workers must not write the same day."""


class DayCounter:
    """Counts day after day: what has settled since the last time, and marked days again.

    A day is read without holding up who writes; what was read is kept if nothing was counted meanwhile. Ad
    accounts are served in turn, so that one with a long history holds up no other.
    """

    def __init__(self) -> None:
        self._last = ""
        self._broken: set[tuple[str, str, CountedEvent]] = set()

    def start_over(self) -> None:
        """Try again what could not be read; before each run."""
        self._broken.clear()

    def read_next(self, tx: Tx) -> Record | None:
        """Read one day that is to be counted, and give what keeps it; None when all is counted."""
        return self._read_marked(tx) or self._read_behind(tx)

    def _read_marked(self, tx: Tx) -> Record | None:
        for mine in _in_turn(list_changed_accounts(tx), self._last):
            progress = store.find_progress(tx, *mine)
            marks: dict[tuple[str, CountedEvent], list[str]] = defaultdict(list)
            for mark in list_changed_days(tx, *mine):
                if (mine[1], mark.day, mark.source) not in self._broken:
                    marks[mark.day, mark.source].append(mark.id)
            for (day, source), ids in sorted(marks.items()):
                self._last = mine[1]
                try:
                    return self._recount(tx, mine, progress, (day, source, ids))
                except BrokenFile as error:  # the mark stays until the file is whole
                    logger().error("reports.file_broken", says=str(error))
                    self._broken.add((mine[1], day, source))
        return None

    def _recount(
        self,
        tx: Tx,
        mine: tuple[str, str],
        progress: CountingProgress | None,
        marked: tuple[str, CountedEvent, list[str]],
    ) -> Record:
        day, source, ids = marked
        # of what is not counted yet, the change is seen when it is
        is_counted = progress is not None and day <= progress.day
        part = Part(*mine, Span(day, day), until_ts=progress.counted_until if progress else None)
        counted = _read(tx, part, source) if is_counted else None

        def record(tx: Tx) -> None:
            tx.advisory_lock(_COUNTING)
            is_same = store.find_progress(tx, *mine) == progress
            if is_same and measurement.take_marks(tx, mine[0], ids) and counted is not None:
                store.save_day(tx, counted, day)

        return record

    def _read_behind(self, tx: Tx) -> Record | None:
        until = micros(tx.now - SETTLED)
        behind = set(store.list_accounts_behind(tx, until - PAUSE // timedelta(microseconds=1)))
        behind |= set(store.list_busy_accounts(tx, until, WORTH))
        for business_id, ad_account_id, timezone in _in_turn(list(behind), self._last):
            self._last = ad_account_id
            return _count_on(tx, (business_id, ad_account_id), timezone, until)
        return None


def count_days_ahead(tx: Tx) -> int:
    """Count some days in this transaction; say how many, so call again until it is 0."""
    counter = DayCounter()
    for done in range(MOST_DAYS):
        record = counter.read_next(tx)
        if record is None:
            return done
        record(tx)
    return MOST_DAYS


def _in_turn[T: tuple[str, ...]](accounts: Sequence[T], last: str) -> list[T]:
    """Accounts by their ids, from the one after the last that was served."""
    ordered = sorted(accounts, key=itemgetter(1))
    return [each for each in ordered if each[1] > last] + [each for each in ordered if each[1] <= last]


def counted_until(tx: Tx) -> str | None:
    """The first day that some account has not counted in full; None where all are up to date."""
    settled = micros(tx.now - UP_TO_DATE)
    days: list[str] = []
    for business_id, ad_account_id, _ in store.list_accounts_behind(tx, settled):
        progress = store.find_progress(tx, business_id, ad_account_id)
        day = progress.day if progress else store.find_first_day(tx, business_id, ad_account_id)
        days += [day] if day else []
    return min(days, default=None)


def note_lead(tx: Tx, event: LeadStatusChanged | LeadsMerged) -> None:
    """A lead moved on or became one with another: the day that earned it is counted again."""
    for lead_id in (event.lead_id, getattr(event, "merged_id", event.lead_id)):
        measurement.mark_conversion(tx, event.business_id, lead_id, ConversionKind.LEAD)


def _count_on(tx: Tx, mine: tuple[str, str], timezone: str, until: int) -> Record:
    """Count on from where an account stands, up to a moment or to the end of the day."""
    progress = store.find_progress(tx, *mine)
    last = local_day(until, timezone)
    day = (progress.day if progress else store.find_first_day(tx, *mine)) or last
    reached = CountingProgress(*mine, until, last)
    if day < last:
        after = date.fromisoformat(day) + timedelta(days=1)
        midnight = datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(timezone))
        reached = CountingProgress(*mine, micros(midnight), after.isoformat())
    since = progress.counted_until if progress else None
    part = Part(*mine, Span(), since_ts=since, until_ts=reached.counted_until)
    of_day = replace(part, span=Span(day, day), days=frozenset({day}))
    more = [_read(tx, of_day, CountedEvent.TOUCH), _read(tx, part, CountedEvent.CONVERSION)]

    def record(tx: Tx) -> None:
        tx.advisory_lock(_COUNTING)
        if store.find_progress(tx, *mine) != progress:
            return
        for counted in more:
            store.save_more(tx, counted)
        store.save_progress(tx, reached)

    return record


def _read(tx: Tx, part: Part, source: CountedEvent) -> Counted:
    whose = (part.business_id, part.ad_account_id)
    facts = list_raw_facts(tx, part, source, TimeStep.HOUR)
    known = list_measured_ads(tx, part.business_id, {fact.ad_id for fact in facts}) if facts else {}
    groups = {ad.ad_id: ad.ad_group_id for ad in known.values()}
    return Counted(*whose, source, list(_rows(facts, groups, part.ad_account_id)))


type _Place = tuple[Grain, str, str, str, str]
"""Grain, day, hour, place and country of a row."""


def _rows(facts: list[Fact], groups: Mapping[str, str], ad_account_id: str) -> Iterator[dict[str, Any]]:
    """Facts by ad, country and hour as the rows of all grains."""
    by_hour = add_up(((fact.ad_id, fact.country, fact.day), fact.counts) for fact in facts)
    sums = add_up(
        (place, counts)
        for (ad_id, country, hour), counts in by_hour.items()
        for place in _places((ad_id, groups[ad_id], ad_account_id), country, hour)
    )
    for (grain, day, hour, place_id, country), counts in sums.items():
        key = {"grain": grain, "day": day, "hour": hour, "place_id": place_id, "country": country}
        yield key | {name: getattr(counts, name) for name in STORED}


def _places(of: tuple[str, str, str], country: str, hour: str) -> tuple[_Place, ...]:
    """Where something of an ad, its ad group and its account is counted; the hour is ``YYYY-MM-DD HH``."""
    (ad_id, group_id, ad_account_id), day = of, hour[:10]
    return (
        (Grain.AD_DAY, day, "", ad_id, ""),
        (Grain.AD_COUNTRY_DAY, day, "", ad_id, country),
        (Grain.GROUP_COUNTRY_DAY, day, "", group_id, country),
        (Grain.GROUP_HOUR, day, hour[11:], group_id, ""),
        (Grain.ACCOUNT_HOUR, day, hour[11:], ad_account_id, ""),
    )
