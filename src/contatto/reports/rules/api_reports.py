"""Reports of the API v1.3: queries, filters, and rows as text."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from contatto.accounts.model import AdAccount
from contatto.ads.model import DIRECT_MESSAGE, NodeFilter, NodeStatus
from contatto.kit import errors
from contatto.kit.api_types import ApiId, ApiModel, JsonText, PageQuery
from contatto.kit.errors import Refused
from contatto.kit.timestamps import check_year
from contatto.reports.metrics import METRICS
from contatto.reports.model import DayRange, Figures, Level, ReportRow, TimeStep
from contatto.reports.rules.figures import NO_VALUE, REACH_METRICS, metric_number, metric_text

ALL_NODES: Final = NodeFilter(statuses=frozenset(NodeStatus))
ID_LEVELS: Final = {
    "advertiser_id": Level.AD_ACCOUNT,
    "page_id": Level.PAGE,
    "campaign_id": Level.CAMPAIGN,
    "adgroup_id": Level.AD_GROUP,
    "ad_id": Level.AD,
}
"""The level of each id dimension, from coarse to fine."""
DATA_LEVELS: Final = {
    "AUCTION_ADVERTISER": Level.AD_ACCOUNT,
    "AUCTION_CAMPAIGN": Level.CAMPAIGN,
    "AUCTION_ADGROUP": Level.AD_GROUP,
    "AUCTION_AD": Level.AD,
}
STEPS: Final = {"stat_time_day": TimeStep.DAY, "stat_time_hour": TimeStep.HOUR}
MOST_DAYS: Final = {TimeStep.WHOLE: 365, TimeStep.DAY: 30, TimeStep.HOUR: 1}
"""The longest span in days, by time step."""
TEXT_METRICS: Final = (
    "campaign_id", "campaign_name", "adgroup_id", "adgroup_name", "ad_name", "currency", "objective_type",
    "promotion_type",
)  # fmt: skip
"""The metrics of the API that are texts and not numbers."""
PLACEMENT_METRICS: Final = frozenset({
    "spend", "impressions", "clicks", "ctr", "cpc", "cpm",
    "conversations", "cost_per_conversation", "conversation_rate", "leads", "cost_per_lead", "lead_rate",
    "conversion", "cost_per_conversion", "conversion_rate", "conversion_rate_v2",
    "result", "cost_per_result", "result_rate",
})  # fmt: skip
"""The metrics that are counted by placement."""
_ID_FILTERS: Final = {
    "campaign_ids": "campaign_numbers",
    "adgroup_ids": "ad_group_numbers",
    "ad_ids": "ad_numbers",
}

type Dimension = Literal[
    "advertiser_id", "page_id", "campaign_id", "adgroup_id", "ad_id", "country_code", "placement",
    "stat_time_day", "stat_time_hour",
]  # fmt: skip


def _read_value(value: object) -> object:
    """Decode JSON text inside JSON; a text that is not JSON, such as part of a name, stays as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


class Filter(ApiModel):
    """``filter_value`` is JSON text inside JSON, or a plain text."""

    field_name: str
    filter_type: Literal[
        "IN", "MATCH", "GREATER_EQUAL", "GREATER_THAN", "LOWER_EQUAL", "LOWER_THAN", "BETWEEN"
    ]
    filter_value: Annotated[Any, BeforeValidator(_read_value)]

    def values(self) -> tuple[str, ...]:
        values = self.filter_value if isinstance(self.filter_value, list) else [self.filter_value]
        return tuple(str(value) for value in values)


class ReportBody(ApiModel):
    """Body of a report request, answered at once or as a file.

    ``start_date`` and ``end_date`` are days of the ad account's zone, or ``query_lifetime`` is set.
    """

    advertiser_id: ApiId
    report_type: Literal["BASIC"]
    service_type: Literal["AUCTION"] = "AUCTION"
    data_level: Literal["AUCTION_ADVERTISER", "AUCTION_CAMPAIGN", "AUCTION_ADGROUP", "AUCTION_AD"] | None = (
        None
    )
    dimensions: JsonText[Annotated[list[Dimension], Field(min_length=1, max_length=5)]]
    metrics: JsonText[tuple[str, ...]] = ("spend", "impressions")
    start_date: date | None = None
    end_date: date | None = None
    query_lifetime: bool = False
    filtering: JsonText[tuple[Filter, ...]] = ()
    order_field: str | None = None
    order_type: Literal["ASC", "DESC"] = "DESC"


class ReportQuery(PageQuery, ReportBody):
    """Report request with the number of its page."""

    query_mode: Literal["REGULAR", "CHUNK"] = "REGULAR"


@dataclass(frozen=True, slots=True)
class ReportSpec:
    """Specification of a report: days, rows, and the ads to include."""

    span: DayRange
    level: Level = Level.AD_GROUP
    nodes: NodeFilter = ALL_NODES
    step: TimeStep = TimeStep.WHOLE
    with_reach: bool = False
    by_country: bool = False
    by_placement: bool = False


def read_spec(query: ReportBody) -> ReportSpec:
    """Check a request, and return the report that it specifies.

    Raises:
        Refused: INVALID, naming the field.
    """
    steps = [STEPS[name] for name in query.dimensions if name in STEPS]
    step = steps[-1] if steps else TimeStep.WHOLE
    id_levels = [level for name, level in ID_LEVELS.items() if name in query.dimensions]
    data_level = DATA_LEVELS[query.data_level] if query.data_level else None
    level = id_levels[-1] if id_levels else data_level or Level.AD_ACCOUNT
    if len(set(steps)) > 1:
        raise Refused(errors.INVALID, "dimensions: stat_time_day and stat_time_hour cannot be combined.")
    if data_level is not None and data_level is not level and level is not Level.PAGE:
        raise Refused(errors.INVALID, f"data_level: {query.data_level} does not fit the dimensions.")
    if "page_id" in query.dimensions and level is not Level.PAGE:
        raise Refused(errors.INVALID, "dimensions: page_id cannot be combined with ids of campaigns or ads.")
    by_placement = "placement" in query.dimensions
    if by_placement:
        _check_placement(query, level)
    names = {*query.metrics, query.order_field, *(condition.field_name for condition in query.filtering)}
    return ReportSpec(
        _read_span(query, step),
        level,
        _read_node_filter(query),
        step,
        with_reach=bool(names & REACH_METRICS),
        by_country="country_code" in query.dimensions,
        by_placement=by_placement,
    )


def _check_placement(query: ReportBody, level: Level) -> None:
    """Refuse dimensions and metrics that are not counted by placement."""
    if level in (Level.PAGE, Level.AD) or {"country_code", "stat_time_hour"} & set(query.dimensions):
        raise Refused(
            errors.INVALID,
            "dimensions: placement can only be combined with advertiser_id, campaign_id, adgroup_id "
            "and stat_time_day.",
        )
    names = [*query.metrics, *(condition.field for condition in conditions_of(query))]
    unknown = [name for name in names if name not in PLACEMENT_METRICS and name not in TEXT_METRICS]
    if unknown:
        raise Refused(errors.INVALID, f"metrics: {unknown[0][:64]} is not known by placement.")


def _read_span(query: ReportBody, step: TimeStep) -> DayRange:
    if query.query_lifetime:
        if step is not TimeStep.WHOLE:
            raise Refused(errors.INVALID, f"query_lifetime: it does not go together with a {step.value}.")
        return DayRange()
    if query.start_date is None or query.end_date is None:
        missing = "start_date" if query.start_date is None else "end_date"
        raise Refused(errors.INVALID, f"{missing}: give both days, or query_lifetime.")
    for field, day in (("start_date", query.start_date), ("end_date", query.end_date)):
        check_year(field, day.isoformat())
    days = (query.end_date - query.start_date).days + 1
    if not 1 <= days <= MOST_DAYS[step]:
        raise Refused(errors.INVALID, f"end_date: the span may have 1 to {MOST_DAYS[step]} days here.")
    return DayRange(query.start_date.isoformat(), query.end_date.isoformat())


@dataclass(frozen=True, slots=True)
class Condition:
    """Filter of rows: a name and texts, or a metric and numbers."""

    field: str
    kind: str
    values: tuple[str, ...]

    def predicate(self) -> Callable[[ReportRow], bool]:
        """Check the condition, and return its test of a row.

        Raises:
            Refused: INVALID, for a field or a comparison that does not exist.
        """
        if not self.values:
            raise Refused(errors.INVALID, f"filtering: {self.field} needs a filter_value.")
        if self.field in NAME_FILTERS:
            return _name_test(self)
        metric = METRICS.get(self.field)
        if metric is None:
            allowed = "campaign_ids, adgroup_ids, ad_ids, " + ", ".join([*NAME_FILTERS, *METRICS])
            raise Refused(errors.INVALID, f"filtering: field_name allows {allowed}.")
        compare = COMPARISONS.get(self.kind)
        if compare is None:
            raise Refused(errors.INVALID, f"filtering: a metric allows {', '.join(COMPARISONS)}.")
        try:
            values = tuple(Decimal(value) for value in self.values)
        except InvalidOperation as error:
            raise Refused(errors.INVALID, f"filtering: {self.field} compares to numbers.") from error

        def holds(row: ReportRow) -> bool:
            number = metric_number(metric, row.figures)
            return number is not None and compare(number, values)

        return holds


def conditions_of(query: ReportBody) -> list[Condition]:
    """Return the filters by names and metrics; filters by ids are part of the specification."""
    return [
        Condition(condition.field_name, condition.filter_type, condition.values())
        for condition in query.filtering
        if condition.field_name not in _ID_FILTERS
    ]


def _read_node_filter(query: ReportBody) -> NodeFilter:
    numbers: dict[str, Any] = {}
    for condition in query.filtering:
        name = condition.field_name
        if name not in _ID_FILTERS:
            continue
        values = condition.values()
        if condition.filter_type != "IN" or not all(value.isascii() and value.isdigit() for value in values):
            raise Refused(errors.INVALID, f"filtering: {name} allows IN with a list of ids.")
        numbers[_ID_FILTERS[name]] = frozenset(number for number in map(int, values) if number < 1 << 63)
    return NodeFilter(statuses=frozenset(NodeStatus), **numbers)


def check_metrics(query: ReportBody) -> None:
    """Refuse unknown metrics, and a sort order by a field outside of the report.

    Raises:
        Refused: INVALID.
    """
    unknown = [name for name in query.metrics if name not in METRICS and name not in TEXT_METRICS]
    if unknown:
        allowed = ", ".join([*METRICS, *TEXT_METRICS])
        raise Refused(errors.INVALID, f"metrics: {unknown[0][:64]} is unknown; allowed: {allowed}.")
    if query.order_field and query.order_field not in (*METRICS, *query.dimensions):
        raise Refused(errors.INVALID, "order_field: Choose a metric or a dimension of the report.")


NAME_FILTERS: Final[Mapping[str, Callable[[ReportRow], str]]] = {
    "campaign_name": lambda row: row.subject.campaign_name,
    "adgroup_name": lambda row: row.subject.ad_group_name,
    "ad_name": lambda row: row.subject.name if row.subject.ad_number else "",
}

type Values = tuple[Decimal, ...]

COMPARISONS: Final[Mapping[str, Callable[[Decimal, Values], bool]]] = {
    "GREATER_EQUAL": lambda number, values: number >= values[0],
    "GREATER_THAN": lambda number, values: number > values[0],
    "LOWER_EQUAL": lambda number, values: number <= values[0],
    "LOWER_THAN": lambda number, values: number < values[0],
    "BETWEEN": lambda number, values: values[0] <= number <= values[-1],
    "IN": lambda number, values: number in values,
}


def filter_rows(rows: Iterable[ReportRow], conditions: Iterable[Condition]) -> list[ReportRow]:
    """Return the rows that meet all conditions.

    Raises:
        Refused: INVALID, for a field or a comparison that does not exist.
    """
    tests = [condition.predicate() for condition in conditions]
    return [row for row in rows if all(test(row) for test in tests)]


def _name_test(condition: Condition) -> Callable[[ReportRow], bool]:
    name_of, texts = NAME_FILTERS[condition.field], [value.casefold() for value in condition.values]
    if condition.kind == "MATCH":
        return lambda row: any(text in name_of(row).casefold() for text in texts)
    if condition.kind == "IN":
        return lambda row: name_of(row).casefold() in texts
    raise Refused(errors.INVALID, "filtering: A name can be filtered by MATCH or IN only.")


UNKNOWN_DIMENSION: Final = "-1"
"""The API's text of an unknown country or page."""


def sort_rows(rows: list[ReportRow], query: ReportBody) -> list[ReportRow]:
    field = query.order_field
    if field is None:
        return rows
    descending = query.order_type == "DESC"
    metric = METRICS.get(field)
    if metric is None:
        return sorted(rows, key=lambda row: _dimension(row, field), reverse=descending)

    def rank(row: ReportRow) -> tuple[bool, Any]:
        number = metric_number(metric, row.figures)
        return number is not None, number or 0

    return sorted(rows, key=rank, reverse=descending)


def _dimension(row: ReportRow, name: str) -> str:
    numbers: dict[str, str | int] = {
        "campaign_id": row.subject.campaign_number,
        "adgroup_id": row.subject.ad_group_number,
        "ad_id": row.subject.ad_number,
        "page_id": row.subject.key if row.subject.level is Level.PAGE else "",
        "country_code": row.country,
        "placement": row.placement,
    }
    if name in STEPS:
        return f"{row.day} 00:00:00"[:10] + (f" {row.day[11:] or '00'}:00:00" if row.day else "")
    return str(numbers.get(name, "")) or UNKNOWN_DIMENSION


class RowTexts(NamedTuple):
    """Texts of a row by the names of its dimensions and metrics."""

    dimensions: dict[str, str]
    metrics: dict[str, str]


def row_texts(row: ReportRow, account: AdAccount, query: ReportBody) -> RowTexts:
    dimensions: dict[str, str] = {name: _dimension(row, name) for name in query.dimensions}
    if "advertiser_id" in dimensions:
        dimensions["advertiser_id"] = str(account.number)
    texts = {
        "campaign_id": _dimension(row, "campaign_id"),
        "campaign_name": row.subject.campaign_name,
        "adgroup_id": _dimension(row, "adgroup_id"),
        "adgroup_name": row.subject.ad_group_name,
        "ad_name": row.subject.name if row.subject.ad_number else "",
        "currency": account.currency,
        "objective_type": "LEAD_GENERATION",
        "promotion_type": DIRECT_MESSAGE,
    }
    metrics = {
        name: metric_text(METRICS[name], row.figures) if name in METRICS else texts[name] or NO_VALUE
        for name in query.metrics
    }
    return RowTexts(dimensions, metrics)


def total_texts(figures: Figures, query: ReportBody) -> dict[str, str | bool]:
    total: dict[str, str | bool] = {
        name: metric_text(METRICS[name], figures) for name in query.metrics if name in METRICS
    }
    return total | {"mixed_goals": figures.mixed_goals}
