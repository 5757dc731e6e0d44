"""Counting of report days ahead, and again after changes."""

from collections import defaultdict
from collections.abc import Callable, Sequence
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
from contatto.reports import engines
from contatto.reports.engines import CountedRows, CountingProgress, EventFilter, list_raw_facts
from contatto.reports.model import STORED, DayRange, Grain, TimeStep, sum_counts

SETTLED: Final = LATE + timedelta(minutes=1)
"""Age at which events are counted: later ones mark their day, and no open transaction holds an older one."""
PAUSE: Final = timedelta(minutes=5)
"""Pause between two counts of an account, unless this many touches are waiting:"""
WORTH: Final = 100
MOST_DAYS: Final = 10
"""Days that are counted in one transaction while no other writer waits."""

UP_TO_DATE: Final = timedelta(days=1)
"""Lag below which an account is not behind."""

type Save = Callable[[Tx], None]

_COUNTING: Final = natural_number("counting days of reports")
"""Advisory lock, so that two workers do not write the same day."""


class DayCounter:
    """Counter of one day at a time: new events, then marked days.

    It reads a day without a lock, and saves the counts unless another worker counted meanwhile. It serves ad
    accounts in turn, so that one with a long history delays no other.
    """

    def __init__(self) -> None:
        self._last_account = ""
        self._broken: set[tuple[str, str, CountedEvent]] = set()

    def start_over(self) -> None:
        """Retry damaged files; call it before each run."""
        self._broken.clear()

    def read_next(self, tx: Tx) -> Save | None:
        """Read the next day to count, and return a function that saves it; None if all is counted."""
        if (save := self._read_marked(tx)) is not None:
            return save
        until = micros(tx.now - SETTLED)
        accounts = set(engines.list_accounts_behind(tx, until - PAUSE // timedelta(microseconds=1)))
        accounts |= set(engines.list_busy_accounts(tx, until, WORTH))
        for business_id, ad_account_id, timezone in _in_turn(list(accounts), self._last_account):
            self._last_account = ad_account_id
            return _count_on(tx, (business_id, ad_account_id), timezone, until)
        return None

    def _read_marked(self, tx: Tx) -> Save | None:
        for account in _in_turn(list_changed_accounts(tx), self._last_account):
            progress = engines.find_progress(tx, *account)
            marks: dict[tuple[str, CountedEvent], list[str]] = defaultdict(list)
            for mark in list_changed_days(tx, *account):
                if (account[1], mark.day, mark.source) not in self._broken:
                    marks[mark.day, mark.source].append(mark.id)
            for (day, source), mark_ids in sorted(marks.items()):
                self._last_account = account[1]
                try:
                    return _recount(tx, account, progress, (day, source, mark_ids))
                except BrokenFile as error:  # the mark stays until the file is whole
                    logger().error("reports.file_broken", says=str(error))
                    self._broken.add((account[1], day, source))
        return None


def count_days_ahead(tx: Tx) -> int:
    """Count some days in this transaction and return their number; call it again until it is 0."""
    counter = DayCounter()
    for count in range(MOST_DAYS):
        save = counter.read_next(tx)
        if save is None:
            return count
        save(tx)
    return MOST_DAYS


def _in_turn[T: tuple[str, ...]](accounts: Sequence[T], last: str) -> list[T]:
    """Sort accounts by their ids, from the one after the last that was served."""
    accounts = sorted(accounts, key=itemgetter(1))
    return [account for account in accounts if account[1] > last] + [
        account for account in accounts if account[1] <= last
    ]


def counted_until(tx: Tx) -> str | None:
    """Return the first day that some account has not counted in full; None if all are up to date."""
    settled = micros(tx.now - UP_TO_DATE)
    days: list[str] = []
    for business_id, ad_account_id, _ in engines.list_accounts_behind(tx, settled):
        progress = engines.find_progress(tx, business_id, ad_account_id)
        day = progress.day if progress else engines.find_first_day(tx, business_id, ad_account_id)
        days += [day] if day else []
    return min(days, default=None)


def note_lead(tx: Tx, event: LeadStatusChanged | LeadsMerged) -> None:
    """Mark the day of a lead's conversion, to count it again."""
    for lead_id in (event.lead_id, getattr(event, "merged_id", event.lead_id)):
        measurement.mark_conversion(tx, event.business_id, lead_id, ConversionKind.LEAD)


def _recount(
    tx: Tx,
    account: tuple[str, str],
    progress: CountingProgress | None,
    marked: tuple[str, CountedEvent, list[str]],
) -> Save:
    day, source, mark_ids = marked
    # a day that is not counted yet needs no new count
    is_counted = progress is not None and day <= progress.day
    events = EventFilter(*account, DayRange(day, day), until_ts=progress.counted_until if progress else None)
    counted = _count_events(tx, events, source) if is_counted else None

    def save(tx: Tx) -> None:
        tx.advisory_lock(_COUNTING)
        is_same = engines.find_progress(tx, *account) == progress
        if is_same and measurement.take_marks(tx, account[0], mark_ids) and counted is not None:
            engines.save_day(tx, counted, day)

    return save


def _count_on(tx: Tx, account: tuple[str, str], timezone: str, until: int) -> Save:
    """Count new events of an account, up to a moment or to the end of the day."""
    progress = engines.find_progress(tx, *account)
    last = local_day(until, timezone)
    day = (progress.day if progress else engines.find_first_day(tx, *account)) or last
    reached = CountingProgress(*account, until, last)
    if day < last:
        next_day = date.fromisoformat(day) + timedelta(days=1)
        midnight = datetime(next_day.year, next_day.month, next_day.day, tzinfo=ZoneInfo(timezone))
        reached = CountingProgress(*account, micros(midnight), next_day.isoformat())
    since = progress.counted_until if progress else None
    events = EventFilter(*account, DayRange(), since_ts=since, until_ts=reached.counted_until)
    events_of_day = replace(events, span=DayRange(day, day), days=frozenset({day}))
    touches = _count_events(tx, events_of_day, CountedEvent.TOUCH)
    conversions = _count_events(tx, events, CountedEvent.CONVERSION)

    def save(tx: Tx) -> None:
        tx.advisory_lock(_COUNTING)
        if engines.find_progress(tx, *account) == progress:
            engines.save_more(tx, touches)
            engines.save_more(tx, conversions)
            engines.save_progress(tx, reached)

    return save


def _count_events(tx: Tx, events: EventFilter, source: CountedEvent) -> CountedRows:
    """Add up events by ad, country and hour into the rows of all grains."""
    facts = list_raw_facts(tx, events, source, TimeStep.HOUR)
    ads = list_measured_ads(tx, events.business_id, {fact.ad_id for fact in facts}) if facts else {}
    groups = {ad.ad_id: ad.ad_group_id for ad in ads.values()}
    by_hour = sum_counts(((fact.ad_id, fact.country, fact.day), fact.counts) for fact in facts)
    sums = sum_counts(
        (place, counts)
        for (ad_id, country, day_and_hour), counts in by_hour.items()
        for day, hour in (day_and_hour.split(),)
        for place in (
            (Grain.AD_DAY, day, "", ad_id, ""),
            (Grain.AD_COUNTRY_DAY, day, "", ad_id, country),
            (Grain.GROUP_COUNTRY_DAY, day, "", groups[ad_id], country),
            (Grain.GROUP_HOUR, day, hour, groups[ad_id], ""),
            (Grain.ACCOUNT_HOUR, day, hour, events.ad_account_id, ""),
        )
    )
    account = {"business_id": events.business_id, "ad_account_id": events.ad_account_id, "source": source}
    rows: list[dict[str, Any]] = []
    for (grain, day, hour, place_id, country), counts in sums.items():
        key = {"grain": grain, "day": day, "hour": hour, "place_id": place_id, "country": country}
        rows.append(account | key | {name: getattr(counts, name) for name in STORED})
    return CountedRows(*events.account, source, rows)
