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
    """What a row of a report stands for; a page is the instant form of ads."""

    AD_ACCOUNT = "ad_account"
    PAGE = "page"
    GOAL = "goal"
    CAMPAIGN = "campaign"
    AD_GROUP = "ad_group"
    AD = "ad"


class Grain(StrEnum):
    """How finely something is counted ahead: each grain answers another question with few rows."""

    AD_DAY = "ad_day"
    AD_COUNTRY_DAY = "ad_country_day"
    GROUP_COUNTRY_DAY = "group_country_day"
    GROUP_HOUR = "group_hour"
    ACCOUNT_HOUR = "account_hour"


class TimeStep(StrEnum):
    """Whether a report has one row for the whole span, or rows of their own for each day or hour."""

    WHOLE = "whole"
    DAY = "day"
    HOUR = "hour"


@dataclass(frozen=True, slots=True)
class Span:
    """Days of the ad account's zone as ``YYYY-MM-DD``, both ends included; None stands for no limit."""

    first: str | None = None
    last: str | None = None

    def holds(self, day: str) -> bool:
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


@dataclass(frozen=True, slots=True)
class Counts:
    """What can be added up.

    The ``rt_`` ("real-time") counts fall on the day of the conversion, all others on the day of the touch.
    ``_by_view`` are those that a view won, for want of a click. ``form_leads`` came by the instant form,
    ``manual_leads`` by a person's mark, the others by chat. ``qualified`` leads are those that are qualified
    or converted now. ``app_conversations`` are the conversations that began in another messaging app.
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

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*map(add, values_of(self), values_of(other)))


COUNTED: Final = tuple(Counts.__dataclass_fields__)
"""The names of all counts, in their order."""
STORED: Final = tuple(name for name in COUNTED if name != "app_conversations")
"""Those that are read from events; in which app a conversation began is known from its ad."""
values_of: Final = attrgetter(*COUNTED)


def add_up[K](counted: Iterable[tuple[K, Counts]]) -> dict[K, Counts]:
    """Counts added up by their keys: of many, several times as fast as one after another."""
    grouped: defaultdict[K, list[tuple[int, ...]]] = defaultdict(list)
    for key, counts in counted:
        grouped[key].append(values_of(counts))
    return {key: Counts(*map(sum, zip(*values, strict=True))) for key, values in grouped.items()}


@dataclass(frozen=True, slots=True)
class Fact:
    """The counts of one ad, on one day or in one hour of the ad account's zone, and in one country.

    ``day`` is empty, ``YYYY-MM-DD`` or ``YYYY-MM-DD HH``, as the step of the report has it; ``country`` is
    empty where it is unknown or was not asked for. Facts of placements are of an ad group, whose id stands
    for that of its ads.
    """

    ad_id: str
    day: str
    counts: Counts
    country: str = ""
    placement: str = ""


@dataclass(frozen=True, slots=True)
class ReachBy:
    """The rows of a report that persons are counted for; ``ad_ids`` are the ads that count, None for all."""

    level: Level
    step: TimeStep = TimeStep.WHOLE
    by_country: bool = False
    ad_ids: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """Persons who saw ads, by subject, day or hour, and country; and in all rows together."""

    rows: dict[tuple[str, str, str], int]
    total: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts together with the goals of the ad groups that they come from.

    ``reach`` is the number of persons who saw the ads; None where nobody counted them. It does not add up,
    because the same person may be in several rows.
    """

    counts: Counts
    goals: frozenset[Goal]
    reach: int | None = None

    @property
    def mixed_goals(self) -> bool:
        """Return whether conversions of unlike kinds meet here, so that they must not be added up."""
        return len(self.goals) > 1

    @property
    def conversions(self) -> int | None:
        """What the goal counts (R53, R55); None over mixed goals."""
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
    """What a metric's value is: a number, micros of money, a share between 0 and 1, or so many for each."""

    COUNT = "count"
    MICROS = "micros"
    SHARE = "share"
    RATIO = "ratio"


type Value = int | Decimal | None


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as data: its name in the API, its title, its unit, what it says, and how it is computed."""

    name: str
    title: str
    unit: Unit
    says: str
    value: Callable[[Figures], Value]


@dataclass(frozen=True, slots=True)
class Subject:
    """An ad account, campaign, ad group or ad that has a row; numbers are the API's ids, 0 where not set."""

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


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One line of a report; ``day`` is the day or the hour, and None for the whole span."""

    subject: Subject
    day: str | None
    figures: Figures
    country: str = ""
    placement: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    rows: tuple[ReportRow, ...]
    total: Figures


class TaskStatus(StrEnum):
    """How far the making of a report's file is; the values are the API's."""

    QUEUING = "QUEUING"
    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


@dataclass(frozen=True, slots=True)
class ReportTask:
    """A report that is made in the background; ``question`` is the API's body as JSON."""

    id: str
    business_id: str
    number: int
    ad_account_id: str
    question: str
    file_name: str
    status: TaskStatus
    message: str
    created_at: datetime
    due_at: datetime
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class SavedReport:
    """A question of the report page that a member keeps under a name; all members see a shared one."""

    id: str
    business_id: str
    member_id: str
    name: str
    query: str
    is_shared: bool
    created_at: datetime
