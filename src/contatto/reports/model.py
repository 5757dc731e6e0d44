"""Facts, figures, metrics and rows of a report."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from operator import add, attrgetter
from typing import Final

from contatto.measurement.model import Goal


class Level(StrEnum):
    """Level of the rows of a report; a page is the instant form of ads."""

    AD_ACCOUNT = "ad_account"
    PAGE = "page"
    GOAL = "goal"
    CAMPAIGN = "campaign"
    AD_GROUP = "ad_group"
    AD = "ad"


class Grain(StrEnum):
    """Granularity of the counts made ahead: each serves another query with few rows."""

    AD_DAY = "ad_day"
    AD_COUNTRY_DAY = "ad_country_day"
    GROUP_COUNTRY_DAY = "group_country_day"
    GROUP_HOUR = "group_hour"
    ACCOUNT_HOUR = "account_hour"


class TimeStep(StrEnum):
    """Time step of a report: one row for the whole span, or one per day or hour."""

    WHOLE = "whole"
    DAY = "day"
    HOUR = "hour"


@dataclass(frozen=True, slots=True)
class DayRange:
    """Days in the ad account's zone, ``YYYY-MM-DD``, both included; None for no limit."""

    first: str | None = None
    last: str | None = None

    def holds(self, day: str) -> bool:
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts that can be added up.

    The ``rt_`` ("real-time") counts fall on the day of the conversion, all others on the day of the touch.
    ``_by_view`` are those that a view won, for want of a click. ``form_leads`` come from the instant form,
    ``manual_leads`` from a member's mark, the others from chat. ``qualified`` leads are qualified or
    converted now. ``app_conversations`` are the conversations that began in another messaging app.
    """

    spend_micros: int = 0
    impressions: int = 0
    clicks: int = 0
    conversations: int = 0
    leads: int = 0
    rt_conversations: int = 0
    rt_leads: int = 0
    conversations_by_view: int = 0
    leads_by_view: int = 0
    form_leads: int = 0
    manual_leads: int = 0
    qualified: int = 0
    converted: int = 0
    app_conversations: int = 0

    def __add__(self, counts: "Counts") -> "Counts":
        return Counts(*map(add, values_of(self), values_of(counts)))


COUNTED: Final = tuple(Counts.__dataclass_fields__)
"""The names of all counts, in their order."""
STORED: Final = tuple(name for name in COUNTED if name != "app_conversations")
"""The counts read from events; the app of a conversation is known from its ad."""
values_of: Final = attrgetter(*COUNTED)


def sum_counts[K](keyed_counts: Iterable[tuple[K, Counts]]) -> dict[K, Counts]:
    """Add up counts by their keys, several times as fast as one after another."""
    grouped: defaultdict[K, list[tuple[int, ...]]] = defaultdict(list)
    for key, counts in keyed_counts:
        grouped[key].append(values_of(counts))
    return {key: Counts(*map(sum, zip(*values, strict=True))) for key, values in grouped.items()}


@dataclass(frozen=True, slots=True)
class Fact:
    """Counts of one ad by day or hour, country and placement.

    ``day`` is empty, ``YYYY-MM-DD`` or ``YYYY-MM-DD HH``, depending on the step of the report. ``country`` is
    empty where it is unknown or not part of the query. In facts of placements ``ad_id`` is an ad group's id.
    """

    ad_id: str
    day: str
    counts: Counts
    country: str = ""
    placement: str = ""


@dataclass(frozen=True, slots=True)
class ReachQuery:
    """Rows of a report to count persons for; ``ad_ids`` is None for all ads."""

    level: Level
    step: TimeStep = TimeStep.WHOLE
    by_country: bool = False
    ad_ids: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ReachCounts:
    """Persons who saw ads, by subject, day or hour, and country; and in total."""

    rows: dict[tuple[str, str, str], int]
    total: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts with the goals of their ad groups.

    ``reach`` is the number of persons who saw the ads; None if not counted. It does not add up,
    because the same person may be in several rows.
    """

    counts: Counts
    goals: frozenset[Goal]
    reach: int | None = None

    @property
    def mixed_goals(self) -> bool:
        """Report whether conversions of both kinds are included, which must not be added up."""
        return len(self.goals) > 1

    @property
    def goal(self) -> Goal | None:
        """The only goal; None for both or none."""
        return next(iter(self.goals)) if len(self.goals) == 1 else None

    @property
    def conversions(self) -> int | None:
        """Return what the goal counts; None over mixed goals."""
        return self._by_goal(self.counts.leads, self.counts.conversations)

    @property
    def conversions_by_view(self) -> int | None:
        return self._by_goal(self.counts.leads_by_view, self.counts.conversations_by_view)

    @property
    def conversions_by_click(self) -> int | None:
        by_view = self.conversions_by_view
        return None if self.conversions is None or by_view is None else self.conversions - by_view

    @property
    def rt_conversions(self) -> int | None:
        return self._by_goal(self.counts.rt_leads, self.counts.rt_conversations)

    def _by_goal(self, leads: int, conversations: int) -> int | None:
        if self.mixed_goals:
            return None
        return leads if Goal.LEAD in self.goals else conversations


class Unit(StrEnum):
    """Unit of a metric: a number, micros of money, a share from 0 to 1, or a ratio."""

    COUNT = "count"
    MICROS = "micros"
    SHARE = "share"
    RATIO = "ratio"


type Value = int | Decimal | None


@dataclass(frozen=True, slots=True)
class Metric:
    """Metric as data: its name in the API, title, unit, description and formula."""

    name: str
    title: str
    unit: Unit
    description: str
    value: Callable[[Figures], Value]


@dataclass(frozen=True, slots=True)
class Subject:
    """Subject of a row, such as a campaign; numbers are the API's ids, 0 if unset."""

    key: str
    level: Level
    name: str
    goals: frozenset[Goal]
    deleted: bool = False
    campaign_number: int = 0
    campaign_name: str = ""
    ad_group_number: int = 0
    ad_group_name: str = ""
    ad_number: int = 0

    @property
    def number(self) -> str:
        """The API's id of the subject; empty for an account, a page or a goal."""
        return str(self.ad_number or self.ad_group_number or self.campaign_number or "")

    @property
    def parent(self) -> str:
        """The names of the campaign and the ad group above the subject."""
        parents = {
            Level.AD_GROUP: self.campaign_name,
            Level.AD: f"{self.campaign_name} › {self.ad_group_name}",
        }
        return parents.get(self.level, "")


@dataclass(frozen=True, slots=True)
class ReportRow:
    """Row of a report; ``day`` is a day or an hour, None for the whole span."""

    subject: Subject
    day: str | None
    figures: Figures
    country: str = ""
    placement: str = ""

    @property
    def sort_key(self) -> tuple[str, int, int, int, str, str, str]:
        subject = self.subject
        key = subject.key if subject.level in (Level.PAGE, Level.GOAL) else ""
        numbers = (subject.campaign_number, subject.ad_group_number, subject.ad_number)
        return (self.day or "", *numbers, key, self.country, self.placement)


@dataclass(frozen=True, slots=True)
class Report:
    """Rows of a report with their total."""

    rows: tuple[ReportRow, ...]
    total: Figures


@dataclass(frozen=True, slots=True)
class SavedReport:
    """Query of the report page that a member saved; all members see a shared one."""

    id: str
    business_id: str
    member_id: str
    name: str
    query: str
    is_shared: bool
    created_at: datetime
