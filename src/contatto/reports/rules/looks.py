"""What the report page is asked: days, rows, columns; read from an address and written into one."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlencode

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.timestamps import check_year, day_of
from contatto.reports.model import Level, Span


class Period(StrEnum):
    """Days that move with the calendar of the ad account; ``CUSTOM`` ones stand still."""

    TODAY = "today"
    YESTERDAY = "yesterday"
    LAST_7 = "last_7"
    LAST_14 = "last_14"
    LAST_30 = "last_30"
    LAST_90 = "last_90"
    THIS_MONTH = "this_month"
    LAST_MONTH = "last_month"
    CUSTOM = "custom"


class By(StrEnum):
    """What a row of the page's table stands for."""

    CAMPAIGN = "campaign"
    AD_GROUP = "ad_group"
    AD = "ad"
    GOAL = "goal"
    COUNTRY = "country"
    DAY = "day"
    HOUR = "hour"


class Basis(StrEnum):
    """Whether conversions count on the day of the touch that earned them, or on their own."""

    TOUCH = "touch"
    OWN = "own"


LEVELS: Final = {
    By.CAMPAIGN: Level.CAMPAIGN,
    By.AD_GROUP: Level.AD_GROUP,
    By.AD: Level.AD,
    By.GOAL: Level.GOAL,
}
"""Rows that stand for something of the account; all others stand for the whole of it."""
USUAL: Final = (
    "spend",
    "impressions",
    "clicks",
    "ctr",
    "conversations",
    "leads",
    "conversion",
    "cost_per_conversion",
)
"""The columns of a page that nobody changed."""
OWN_DAY: Final = {
    "conversations": "real_time_conversations",
    "leads": "real_time_leads",
    "conversion": "real_time_conversion",
    "cost_per_conversion": "real_time_cost_per_conversion",
    "conversion_rate": "real_time_conversion_rate",
    "conversion_rate_v2": "real_time_conversion_rate_v2",
    "result": "real_time_result",
    "cost_per_result": "real_time_cost_per_result",
    "result_rate": "real_time_result_rate",
}
"""Metrics that have one of their own for the day of the conversion."""
HEATS: Final = ("conversations", "leads", "clicks")
MOST_DAYS: Final = 366
_LAST: Final = {Period.LAST_7: 7, Period.LAST_14: 14, Period.LAST_30: 30, Period.LAST_90: 90}

type Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Look:
    """A question of the report page. ``since`` and ``until`` are there for custom days only."""

    advertiser: str = ""
    period: Period = Period.LAST_7
    since: date | None = None
    until: date | None = None
    by: By = By.AD_GROUP
    basis: Basis = Basis.TOUCH
    compare: bool = False
    campaign: str = ""
    columns: tuple[str, ...] = USUAL
    sort: str = ""
    heat: str = HEATS[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics in the columns, as the basis has them."""
        if self.basis is Basis.TOUCH:
            return self.columns
        return tuple(OWN_DAY.get(name, name) for name in self.columns)

    def pairs(self) -> Pairs:
        """What an address must say to ask this again; what is usual stays away."""
        days = [("since", str(self.since)), ("until", str(self.until))] if self.since and self.until else []
        words = {
            "advertiser_id": self.advertiser,
            "period": "" if days else self.period.value,
            "by": self.by.value,
            "basis": self.basis.value if self.basis is not Basis.TOUCH else "",
            "compare": "yes" if self.compare else "",
            "campaign_id": self.campaign,
            "sort": self.sort,
            "heat": self.heat if self.heat != HEATS[0] else "",
        }
        found = [(name, value) for name, value in words.items() if value] + days
        return found + ([("column", name) for name in self.columns] if self.columns != USUAL else [])

    def href(self, path: str = "/reports") -> str:
        return f"{path}?{urlencode(self.pairs())}"


def read_look(pairs: Iterable[tuple[str, str]], metrics: Iterable[str]) -> Look:
    """Read an address; words that mean nothing here are left out.

    Raises:
        Refused: INVALID, for days that are none, or too many.
    """
    given = list(pairs)
    words = dict(given)
    is_custom = words.get("period", Period.CUSTOM) == Period.CUSTOM
    since, until = (_day(words.get(name)) if is_custom else None for name in ("since", "until"))
    if (since is None) != (until is None):
        since = until = since or until
    if since and until and not since <= until <= since + timedelta(days=MOST_DAYS - 1):
        raise Refused(
            errors.INVALID,
            "until: Choose a period of 1 to %(most)s days. The last day must not be before the first.",
            most=MOST_DAYS,
        )
    known = set(metrics)
    columns = tuple(dict.fromkeys(value for name, value in given if name == "column" and value in known))
    return Look(
        advertiser=words.get("advertiser_id", ""),
        period=Period.CUSTOM if since else _member(Period, words.get("period"), Period.LAST_7),
        since=since,
        until=until,
        by=_member(By, words.get("by") or words.get("level"), By.AD_GROUP),
        basis=_member(Basis, words.get("basis"), Basis.TOUCH),
        compare=words.get("compare") == "yes",
        campaign=words.get("campaign_id", ""),
        columns=columns or USUAL,
        sort=words.get("sort", ""),
        heat=words["heat"] if words.get("heat") in HEATS else HEATS[0],
    )


def days_of(look: Look, today: date) -> tuple[date, date]:
    """The first and the last day that are asked for, in the calendar of the account."""
    if look.since and look.until:
        return look.since, look.until
    if look.period is Period.YESTERDAY:
        return today - timedelta(days=1), today - timedelta(days=1)
    if look.period is Period.THIS_MONTH:
        return today.replace(day=1), today
    if look.period is Period.LAST_MONTH:
        end = today.replace(day=1) - timedelta(days=1)
        return end.replace(day=1), end
    return today - timedelta(days=_LAST.get(look.period, 1) - 1), today


def before(first: date, last: date) -> tuple[date, date]:
    """As many days that go right before."""
    length = last - first
    return first - length - timedelta(days=1), first - timedelta(days=1)


def span_of(days: tuple[date, date]) -> Span:
    return Span(days[0].isoformat(), days[1].isoformat())


def _day(text: str | None) -> date | None:
    if not text:
        return None
    check_year("since", text)
    day = day_of(text)
    if day is None:
        raise Refused(errors.INVALID, "since: Write dates as YYYY-MM-DD.")
    return day


def _member[E: StrEnum](kind: type[E], text: str | None, usual: E) -> E:
    return kind(text) if text in set(kind) else usual
