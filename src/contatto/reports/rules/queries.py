"""Queries of the report pages, read from URL parameters and written into them.

Unknown parameters are ignored, and default values are left out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlencode

from contatto.ads.model import AdGroup
from contatto.ads.rules.tree import PROBLEMS, Delivering, Node, is_showing
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.values import check_year, day_of, read_number
from contatto.leads.model import LeadStatus, Origin
from contatto.measurement.model import ConversionKind, Goal, TouchKind
from contatto.reports.model import METRICS, Counts, DayRange, Figures, Level, Value

type Pairs = list[tuple[str, str]]


class Period(StrEnum):
    """Days relative to today in the calendar of the ad account; ``CUSTOM`` is fixed."""

    TODAY = "today"
    YESTERDAY = "yesterday"
    LAST_7 = "last_7"
    LAST_14 = "last_14"
    LAST_28 = "last_28"
    LAST_30 = "last_30"
    LAST_90 = "last_90"
    THIS_MONTH = "this_month"
    LAST_MONTH = "last_month"
    CUSTOM = "custom"


class GroupBy(StrEnum):
    CAMPAIGN = "campaign"
    AD_GROUP = "ad_group"
    AD = "ad"
    GOAL = "goal"
    COUNTRY = "country"
    DAY = "day"
    HOUR = "hour"


class Basis(StrEnum):
    """Day that conversions count on: that of the credited touch, or their own."""

    TOUCH = "touch"
    OWN = "own"


GROUP_LEVELS: Final = {
    GroupBy.CAMPAIGN: Level.CAMPAIGN,
    GroupBy.AD_GROUP: Level.AD_GROUP,
    GroupBy.AD: Level.AD,
    GroupBy.GOAL: Level.GOAL,
}
"""Levels of these dimensions; a row of any other one belongs to the whole ad account."""
UNKNOWN_COUNTRY: Final = "-"
"""The key of the row whose country is unknown."""
DEFAULT_COLUMNS: Final = (
    "spend", "impressions", "clicks", "ctr", "conversations", "leads", "conversion", "cost_per_conversion",
)  # fmt: skip
OWN_DAY: Final = {name: f"real_time_{name}" for name in (
    "conversations", "leads", "conversion", "cost_per_conversion", "conversion_rate", "conversion_rate_v2",
    "result", "cost_per_result", "result_rate",
)}  # fmt: skip
"""The metric by the day of the conversion for each metric by the day of the touch."""
HEATS: Final = ("conversations", "leads", "clicks")
"""Counts that the heat map of weekdays and hours can show."""
MOST_DAYS: Final = 366
_PERIOD_DAYS: Final = {
    Period.LAST_7: 7, Period.LAST_14: 14, Period.LAST_28: 28, Period.LAST_30: 30, Period.LAST_90: 90,
}  # fmt: skip
_TREE_PERIODS: Final = (Period.TODAY, Period.YESTERDAY, Period.LAST_7, Period.LAST_28)
"""Periods of the Ads Manager."""
_REPORT_PERIODS: Final = tuple(period for period in Period if period is not Period.LAST_28)


@dataclass(frozen=True, slots=True)
class OverviewQuery:
    """Query of the report page; ``since`` and ``until`` are set for custom days only."""

    advertiser: str = ""
    period: Period = Period.LAST_7
    since: date | None = None
    until: date | None = None
    group_by: GroupBy = GroupBy.AD_GROUP
    basis: Basis = Basis.TOUCH
    compare: bool = False
    campaign: str = ""
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    sort: str = ""
    heat: str = HEATS[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics in the columns, on the day of the basis."""
        if self.basis is Basis.TOUCH:
            return self.columns
        return tuple(OWN_DAY.get(name, name) for name in self.columns)

    def pairs(self) -> Pairs:
        days = [("since", str(self.since)), ("until", str(self.until))] if self.since and self.until else []
        parameters = {
            "advertiser_id": self.advertiser,
            "period": "" if days else self.period.value,
            "by": self.group_by.value,
            "basis": self.basis.value if self.basis is not Basis.TOUCH else "",
            "compare": "yes" if self.compare else "",
            "campaign_id": self.campaign,
            "sort": self.sort,
            "heat": self.heat if self.heat != HEATS[0] else "",
        }
        columns = [("column", name) for name in self.columns] if self.columns != DEFAULT_COLUMNS else []
        return [(name, value) for name, value in parameters.items() if value] + days + columns

    def href(self, path: str = "/reports") -> str:
        return f"{path}?{urlencode(self.pairs())}"


def read_overview_query(pairs: Iterable[tuple[str, str]]) -> OverviewQuery:
    """Read the query of the report page. Raises INVALID for days that do not exist, or too many."""
    pairs = list(pairs)
    parameters = dict(pairs)
    is_custom = parameters.get("period", Period.CUSTOM) == Period.CUSTOM
    since = _read_day(parameters.get("since")) if is_custom else None
    until = _read_day(parameters.get("until")) if is_custom else None
    if (since is None) != (until is None):
        since = until = since or until
    if since and until:
        _check_days(since, until)
    columns = dict.fromkeys(value for name, value in pairs if name == "column" and value in METRICS)
    return OverviewQuery(
        advertiser=parameters.get("advertiser_id", ""),
        period=Period.CUSTOM if since else _member(_REPORT_PERIODS, parameters.get("period"), Period.LAST_7),
        since=since,
        until=until,
        group_by=_member(GroupBy, parameters.get("by") or parameters.get("level"), GroupBy.AD_GROUP),
        basis=_member(Basis, parameters.get("basis"), Basis.TOUCH),
        compare=parameters.get("compare") == "yes",
        campaign=parameters.get("campaign_id", ""),
        columns=tuple(columns) or DEFAULT_COLUMNS,
        sort=parameters.get("sort", ""),
        heat=parameters["heat"] if parameters.get("heat") in HEATS else HEATS[0],
    )


def _read_day(text: str | None) -> date | None:
    if not text:
        return None
    check_year("since", text)
    day = day_of(text)
    if day is None:
        raise Refused(errors.INVALID, "since: Write dates as YYYY-MM-DD.")
    return day


def _check_days(first: date, last: date) -> None:
    if not first <= last <= first + timedelta(days=MOST_DAYS - 1):
        raise Refused(
            errors.INVALID,
            "until: Choose a period of 1 to %(most)s days. The last day must not be before the first.",
            most=MOST_DAYS,
        )


def _member[E: StrEnum](choices: Iterable[E], text: str | None, default: E) -> E:
    return next((choice for choice in choices if choice == text), default)


def days_of(query: OverviewQuery, today: date) -> tuple[date, date]:
    """Return the first and the last day of a query in the calendar of the account."""
    if query.since and query.until:
        return query.since, query.until
    return period_days(query.period, today)


def period_days(period: Period, today: date) -> tuple[date, date]:
    if period is Period.YESTERDAY:
        return today - timedelta(days=1), today - timedelta(days=1)
    if period is Period.THIS_MONTH:
        return today.replace(day=1), today
    if period is Period.LAST_MONTH:
        end = today.replace(day=1) - timedelta(days=1)
        return end.replace(day=1), end
    return today - timedelta(days=_PERIOD_DAYS.get(period, 1) - 1), today


def previous_days(first: date, last: date) -> tuple[date, date]:
    """Return the same number of days right before."""
    length = last - first
    return first - length - timedelta(days=1), first - timedelta(days=1)


def span_of(first: date, last: date) -> DayRange:
    return DayRange(first.isoformat(), last.isoformat())


_CHAT, _LEAD = ConversionKind.CONVERSATION, ConversionKind.LEAD
GOAL_KINDS: Final = {Goal.LEAD: _LEAD, Goal.CONVERSATION: _CHAT}


@dataclass(frozen=True, slots=True)
class DrillDown:
    """Conversions that a metric counts; ``kind`` is None if it follows the goal."""

    kind: ConversionKind | None = None
    own_day: bool = False
    via: TouchKind | None = None
    origins: frozenset[Origin] = frozenset()
    statuses: frozenset[LeadStatus] = frozenset()


DRILL_DOWNS: Final[Mapping[str, DrillDown]] = {
    "conversion": DrillDown(),
    "result": DrillDown(),
    "real_time_conversion": DrillDown(own_day=True),
    "real_time_result": DrillDown(own_day=True),
    "cta_conversion": DrillDown(via=TouchKind.CLICK),
    "vta_conversion": DrillDown(via=TouchKind.VIEW),
    "conversations": DrillDown(_CHAT),
    "real_time_conversations": DrillDown(_CHAT, own_day=True),
    "leads": DrillDown(_LEAD),
    "real_time_leads": DrillDown(_LEAD, own_day=True),
    "onsite_form": DrillDown(_LEAD, origins=frozenset({Origin.FORM})),
    "chat_leads": DrillDown(_LEAD, origins=frozenset({Origin.CHAT})),
    "manual_leads": DrillDown(_LEAD, origins=frozenset({Origin.MANUAL})),
    "qualified_leads": DrillDown(_LEAD, statuses=frozenset({LeadStatus.QUALIFIED, LeadStatus.CONVERTED})),
    "converted_leads": DrillDown(_LEAD, statuses=frozenset({LeadStatus.CONVERTED})),
}
"""The metrics that count conversions."""


class AdSource(StrEnum):
    """Platform that shows an ad; ``CONTATTO`` is this installation."""

    CONTATTO = "ours"
    TIKTOK = "tiktok"
    META = "meta"


SOURCE_LEVELS: Final = (Level.AD_ACCOUNT, Level.CAMPAIGN, Level.AD_GROUP, Level.AD)
_SOURCE_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class AdSourceQuery:
    """Query of the page of all ads; ``source`` is None for all platforms."""

    first: date
    last: date
    level: Level = Level.CAMPAIGN
    source: AdSource | None = None

    def href(self, path: str = "/reports/sources") -> str:
        pairs = [("since", str(self.first)), ("until", str(self.last)), ("by", self.level.value)]
        return f"{path}?{urlencode([*pairs, ('source', self.source.value if self.source else '')])}"


def read_source_query(parameters: Mapping[str, str], today: date) -> AdSourceQuery:
    """Read the query of the page of all ads. Raises INVALID for days that do not exist, or too many."""
    for name in ("since", "until"):
        check_year(name, parameters.get(name, ""))
    last = day_of(parameters.get("until", "")) or today
    first = day_of(parameters.get("since", "")) or last - timedelta(days=_SOURCE_DAYS - 1)
    _check_days(first, last)
    level = _member(SOURCE_LEVELS, parameters.get("by"), Level.CAMPAIGN)
    source = next((source for source in AdSource if source == parameters.get("source")), None)
    return AdSourceQuery(first, last, level, source)


TREE_METRICS: Final = (
    "conversion", "cost_per_conversion", "spend", "leads", "qualified_leads", "cost_per_qualified_lead",
    "conversations", "clicks", "ctr", "impressions",
)  # fmt: skip
"""Results and their cost come first, so that a narrow screen shows them without scrolling."""
TREE_COLUMNS: Final = ("status", "budget", "bid", "places", *TREE_METRICS)
"""The columns after the name, in their order; the name is always shown."""
_OPTIONAL_COLUMNS: Final = frozenset({"bid", "places", "ctr", "qualified_leads", "cost_per_qualified_lead"})
DEFAULT_TREE_COLUMNS: Final = tuple(name for name in TREE_COLUMNS if name not in _OPTIONAL_COLUMNS)
TREE_SORTS: Final = ("name", "status", "budget", "bid", *TREE_METRICS)
TEXT_LIMIT: Final = 200
MOST_PAIRS: Final = 400
"""Parameters of a URL that are read; more are ignored."""


class RowState(StrEnum):
    """Filter that combines delivery statuses."""

    SHOWING = "showing"
    NOT_SHOWING = "not_showing"
    IN_REVIEW = "in_review"
    PROBLEM = "problem"


class Fold(StrEnum):
    """State of all rows of the tree; by default rows are open if few match."""

    DEFAULT = ""
    OPEN = "open"
    SHUT = "shut"


@dataclass(frozen=True, slots=True)
class AdsTreeQuery:
    """Query of the Ads Manager; an empty ``sort`` puts the newest first.

    ``tree`` opens or closes all rows, and ``folds`` single ones by their numbers. In a URL the last parameter
    for a row counts, so a button only appends its own.
    """

    advertiser: int = 0
    text: str = ""
    states: tuple[RowState, ...] = ()
    goals: tuple[Goal, ...] = ()
    days: Period = Period.LAST_7
    sort: str = ""
    columns: tuple[str, ...] = DEFAULT_TREE_COLUMNS
    tree: Fold = Fold.DEFAULT
    folds: dict[int, bool] = field(default_factory=dict)

    @property
    def is_narrow(self) -> bool:
        """Report whether a text or a filter hides some rows."""
        return bool(self.text or self.states or self.goals)

    def is_chosen(self, number: int) -> bool:
        """Report whether the query opened or closed a row, or filters the tree."""
        return self.is_narrow or self.tree is not Fold.DEFAULT or number in self.folds

    def fold_pairs(self) -> Pairs:
        tree = [("tree", self.tree.value)] if self.tree is not Fold.DEFAULT else []
        return tree + [("open" if is_open else "shut", str(number)) for number, is_open in self.folds.items()]

    def pairs(self) -> Pairs:
        parameters = {
            "account": str(self.advertiser or ""),
            "q": self.text,
            "days": "" if self.days is Period.LAST_7 else self.days.value,
            "sort": self.sort,
        }
        pairs = [(name, value) for name, value in parameters.items() if value]
        pairs += [("status", state.value) for state in self.states]
        pairs += [("goal", goal.value) for goal in self.goals]
        if self.columns != DEFAULT_TREE_COLUMNS:
            pairs += [("column", name) for name in self.columns]
        return pairs + self.fold_pairs()

    def href(self, **more: str) -> str:
        """Return the URL of the query, with more parameters at its end."""
        query = urlencode(self.pairs() + list(more.items()))
        return f"/ads?{query}" if query else "/ads"


def read_ads_tree_query(pairs: Iterable[tuple[str, str]]) -> AdsTreeQuery:
    pairs = list(pairs)[:MOST_PAIRS]
    parameters = dict(pairs)
    states, goals, columns = (
        {value for key, value in pairs if key == name} for name in ("status", "goal", "column")
    )
    tree, folds = Fold.DEFAULT, dict[int, bool]()
    for key, value in pairs:
        if key == "tree" and value in set(Fold):
            tree, folds = Fold(value), {}
        elif key in (Fold.OPEN, Fold.SHUT) and (number := read_number(value)):
            folds[number] = key == Fold.OPEN
    sort = parameters.get("sort", "")
    return AdsTreeQuery(
        advertiser=read_number(parameters.get("account", "")) or 0,
        text="".join(filter(str.isprintable, parameters.get("q", "").strip()))[:TEXT_LIMIT],
        states=tuple(state for state in RowState if state.value in states),
        goals=tuple(goal for goal in Goal if goal.value in goals),
        days=_member(_TREE_PERIODS, parameters.get("days"), Period.LAST_7),
        sort=sort if sort.removeprefix("-") in TREE_SORTS else "",
        columns=tuple(name for name in TREE_COLUMNS if name in columns) or DEFAULT_TREE_COLUMNS,
        tree=tree,
        folds=folds,
    )


MOST_OPEN_ROWS: Final = 60
"""Rows that may be open at once by default."""
_STATE_ORDER: Final = tuple(Delivering)
"""From ads that are delivering to ads without budget."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Node of the ads tree with its figures and its matching children."""

    node: Node
    figures: Figures
    children: "tuple[Branch, ...]" = ()

    @property
    def size(self) -> int:
        return 1 + sum(branch.size for branch in self.children)


def build_branches(nodes: Sequence[Node], figures: Mapping[str, Figures]) -> tuple[Branch, ...]:
    """Join the nodes with their figures, which are by id."""
    zero = Figures(Counts(), frozenset())
    return tuple(
        Branch(node, figures.get(node.item.id, zero), build_branches(node.under, figures)) for node in nodes
    )


def filter_branches(
    branches: Sequence[Branch],
    query: AdsTreeQuery,
    outer_goals: frozenset[Goal] = frozenset(),
    *,
    in_match: bool = False,
) -> tuple[Branch, ...]:
    """Return the matching branches with their ancestors; a name that matches includes its descendants.

    Ads have the ``outer_goals`` of their ad group; ``in_match`` says that an ancestor's name matches.
    """
    if not query.is_narrow:
        return tuple(branches)
    matches: list[Branch] = []
    for branch in branches:
        node = branch.node
        ad_groups = (node.item for node in node.walk() if isinstance(node.item, AdGroup))
        goals = frozenset(ad_group.goal for ad_group in ad_groups) or outer_goals
        has_text = query.text.casefold() in node.item.name.casefold() or query.text == str(node.item.number)
        has_name = in_match or has_text
        children = filter_branches(branch.children, query, goals, in_match=has_name)
        has_goal = not query.goals or not goals.isdisjoint(query.goals)
        state = RowState.PROBLEM if node.state in PROBLEMS else RowState.NOT_SHOWING
        if is_showing(node.state):
            state = RowState.SHOWING
        elif node.state is Delivering.IN_REVIEW:
            state = RowState.IN_REVIEW
        has_state = not query.states or state in query.states
        if children or (has_name and has_goal and has_state):
            matches.append(replace(branch, children=children))
    return tuple(matches)


def sort_branches(branches: Sequence[Branch], query: AdsTreeQuery) -> list[Branch]:
    """Sort each level as the query says; branches without a value come last in either direction."""
    branches = [replace(branch, children=tuple(sort_branches(branch.children, query))) for branch in branches]
    name, is_descending = query.sort.removeprefix("-"), query.sort.startswith("-")
    if not name:
        return branches
    if name == "name":
        return sorted(branches, key=lambda branch: branch.node.item.name.casefold(), reverse=is_descending)
    with_value: list[tuple[Any, Branch]] = []
    without_value: list[Branch] = []
    for branch in branches:
        if name == "status":
            value: Value = _STATE_ORDER.index(branch.node.state)
        elif name in ("budget", "bid"):
            value = getattr(branch.node.item, f"{name}_micros", None)
        else:
            value = METRICS[name].value(branch.figures)
        if value is None:
            without_value.append(branch)
        else:
            with_value.append((value, branch))
    with_value.sort(key=lambda pair: pair[0], reverse=is_descending)
    return [branch for _, branch in with_value] + without_value


def list_tree_rows(
    branches: Sequence[Branch], query: AdsTreeQuery, *, is_small: bool | None = None
) -> Iterator[tuple[Branch, bool]]:
    """Yield the visible rows in order, and whether children follow; a small tree is open by default."""
    if is_small is None:
        is_small = sum(branch.size for branch in branches) <= MOST_OPEN_ROWS
    default = is_small if query.tree is Fold.DEFAULT else query.tree is Fold.OPEN
    for branch in branches:
        is_open = bool(branch.children) and query.folds.get(branch.node.item.number, default)
        yield branch, is_open
        if is_open:
            yield from list_tree_rows(branch.children, query, is_small=is_small)
