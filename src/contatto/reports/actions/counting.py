"""Counting the days of reports ahead, and again where something changed after the fact."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from contatto.kit.db.tx import Tx
from contatto.kit.log import logger
from contatto.kit.moments import micros
from contatto.leads.model.events import LeadsMerged, LeadStatusChanged
from contatto.measurement import actions as measurement
from contatto.measurement.engines.changed_days import list_changed_accounts
from contatto.measurement.engines.sealing import BrokenFile
from contatto.measurement.model import ConversionKind, Source
from contatto.measurement.rules import local_day, natural_number
from contatto.measurement.store import list_measured_ads
from contatto.reports.engines import counts as store
from contatto.reports.engines.cold import Part
from contatto.reports.engines.counts import Progress
from contatto.reports.engines.database import list_raw_facts
from contatto.reports.model import STORED, Counts, Fact, Grain, Span, Step

SETTLED: Final = 2 * measurement.LATE
"""How old a touch must be to be counted ahead; a later one than that marks its day."""
PAUSE: Final = timedelta(minutes=5)
MOST_ACCOUNTS: Final = 20
MOST_DAYS: Final = 10
"""Days that are counted in one transaction, so that no writer waits long."""

UP_TO_DATE: Final = timedelta(days=1)
"""An account that is counted so far is not behind."""

_COUNTING: Final = natural_number("counting days of reports")
"""Held while counting: two workers must not write the same day."""


def count_days_ahead(tx: Tx) -> int:
    """Count what has settled since the last time, and marked days again; say how many days that were."""
    tx.hold(_COUNTING)
    done = 0
    for business_id, ad_account_id in list_changed_accounts(tx)[:MOST_ACCOUNTS]:
        done += _count_changed(tx, business_id, ad_account_id)
    until = micros(tx.now - SETTLED)
    behind = store.list_accounts_behind(tx, until - PAUSE // timedelta(microseconds=1), MOST_ACCOUNTS)
    for business_id, ad_account_id, timezone in behind:
        done += _count_on(tx, (business_id, ad_account_id), timezone, until)
    return done


def counted_until(tx: Tx) -> str | None:
    """The first day that some account has not counted in full; None where all are up to date."""
    settled = micros(tx.now - UP_TO_DATE)
    days: list[str] = []
    for business_id, ad_account_id, _ in store.list_accounts_behind(tx, settled, None):
        progress = store.find_progress(tx, business_id, ad_account_id)
        day = progress.day if progress else store.find_first_day(tx, business_id, ad_account_id)
        days += [day] if day else []
    return min(days, default=None)


def note_lead(tx: Tx, event: LeadStatusChanged | LeadsMerged) -> None:
    """A lead moved on or became one with another: the day that earned it is counted again."""
    for lead_id in (event.lead_id, getattr(event, "merged_id", event.lead_id)):
        measurement.mark_conversion(tx, event.business_id, lead_id, ConversionKind.LEAD)


def _count_on(tx: Tx, mine: tuple[str, str], timezone: str, until: int) -> int:
    """Count days from where the account stands up to a moment, but not too many at once."""
    progress = store.find_progress(tx, *mine)
    first = progress.day if progress else store.find_first_day(tx, *mine)
    if first is None:
        return 0
    last = local_day(until, timezone)
    days = list(_days(first, last))
    reached = Progress(*mine, until, last)
    if len(days) > MOST_DAYS:
        days = days[:MOST_DAYS]
        after = date.fromisoformat(days[-1]) + timedelta(days=1)
        midnight = datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(timezone))
        reached = Progress(*mine, micros(midnight), after.isoformat())
    for day in days:
        _count_day(tx, mine, day, Source.TOUCH, reached.counted_until)
        if day < reached.day:
            _count_day(tx, mine, day, Source.CONVERSION, reached.counted_until)
    store.save_progress(tx, reached)
    return len(days)


def _count_changed(tx: Tx, business_id: str, ad_account_id: str) -> int:
    mine = (business_id, ad_account_id)
    changed = {(mark.day, mark.source) for mark in measurement.take_changed_days(tx, *mine)}
    progress = store.find_progress(tx, *mine)
    if progress is None:
        return 0  # nothing is counted yet, and what will be sees the change
    within = [(day, source) for day, source in changed if day <= progress.day]
    for day, source in within:
        if source is Source.TOUCH or day < progress.day:
            _count_again(tx, mine, day, source, progress.counted_until)
    return len(within)


def _count_again(tx: Tx, mine: tuple[str, str], day: str, source: Source, until: int) -> None:
    """Count a marked day; where its views are in a file that is damaged, the mark stays until it is whole."""
    try:
        _count_day(tx, mine, day, source, until)
    except BrokenFile as error:
        logger().error("reports.file_broken", says=str(error))
        measurement.mark_day(tx, *mine, day, source)


def _count_day(tx: Tx, mine: tuple[str, str], day: str, source: Source, until: int) -> None:
    part = Part(*mine, Span(day, day), until_ts=until)
    by_day = list_raw_facts(tx, part, source, Step.DAY)
    known = list_measured_ads(tx, mine[0], {fact.ad_id for fact in by_day})
    groups = {ad.ad_id: ad.ad_group_id for ad in known.values()}
    by_hour = list_raw_facts(tx, part, source, Step.HOUR, ("ad_id",))
    store.save_day(tx, part, day, source, _rows(by_day, by_hour, groups, mine[1]))


def _rows(
    by_day: list[Fact], by_hour: list[Fact], groups: dict[str, str], ad_account_id: str
) -> Iterator[dict[str, Any]]:
    sums: defaultdict[tuple[Grain, str, str, str], Counts] = defaultdict(Counts)
    for fact in by_day:
        sums[Grain.AD_DAY, "", fact.ad_id, ""] += fact.counts
        sums[Grain.AD_COUNTRY_DAY, "", fact.ad_id, fact.country] += fact.counts
    for fact in by_hour:
        hour = fact.day[11:]
        sums[Grain.GROUP_HOUR, hour, groups[fact.ad_id], ""] += fact.counts
        sums[Grain.ACCOUNT_HOUR, hour, ad_account_id, ""] += fact.counts
    for (grain, hour, place_id, country), counts in sums.items():
        key = {"grain": grain, "hour": hour, "place_id": place_id, "country": country}
        yield key | {name: getattr(counts, name) for name in STORED}


def _days(first: str, last: str) -> Iterator[str]:
    day, end = date.fromisoformat(first), date.fromisoformat(last)
    while day <= end:
        yield day.isoformat()
        day += timedelta(days=1)
