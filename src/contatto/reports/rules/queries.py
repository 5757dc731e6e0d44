"""The questions of the API v1.3 about reports: their shape, and what may be asked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from contatto.ads.model import NodeFilter, NodeStatus
from contatto.kit import errors
from contatto.kit.api_types import ApiId, ApiModel, JsonText, PageQuery
from contatto.kit.errors import Refused
from contatto.kit.timestamps import check_year
from contatto.reports.model import Level, Metric, Span, TimeStep
from contatto.reports.rules.filters import Condition
from contatto.reports.rules.texts import NEED_REACH

EVERYTHING: Final = NodeFilter(statuses=frozenset(NodeStatus))
LEVELS: Final = {
    "advertiser_id": Level.AD_ACCOUNT,
    "page_id": Level.PAGE,
    "campaign_id": Level.CAMPAIGN,
    "adgroup_id": Level.AD_GROUP,
    "ad_id": Level.AD,
}
"""Id dimensions, each finer than the one before, and the level that they make."""
DATA_LEVELS: Final = {
    "AUCTION_ADVERTISER": Level.AD_ACCOUNT,
    "AUCTION_CAMPAIGN": Level.CAMPAIGN,
    "AUCTION_ADGROUP": Level.AD_GROUP,
    "AUCTION_AD": Level.AD,
}
STEPS: Final = {"stat_time_day": TimeStep.DAY, "stat_time_hour": TimeStep.HOUR}
MOST_DAYS: Final = {TimeStep.WHOLE: 365, TimeStep.DAY: 30, TimeStep.HOUR: 1}
"""Longest span in days, by what has rows of its own."""
TEXTS: Final = (
    "campaign_id",
    "campaign_name",
    "adgroup_id",
    "adgroup_name",
    "ad_name",
    "currency",
    "objective_type",
    "promotion_type",
)
"""What can be asked for beside the metrics that are numbers."""
PLACED: Final = frozenset({
    "spend", "impressions", "clicks", "ctr", "cpc", "cpm",
    "conversations", "cost_per_conversation", "conversation_rate", "leads", "cost_per_lead", "lead_rate",
    "conversion", "cost_per_conversion", "conversion_rate", "conversion_rate_v2",
    "result", "cost_per_result", "result_rate",
})  # fmt: skip
"""The metrics that are known by placement."""
_IDS: Final = {"campaign_ids": "campaign_numbers", "adgroup_ids": "ad_group_numbers", "ad_ids": "ad_numbers"}

type Dimension = Literal[
    "advertiser_id",
    "page_id",
    "campaign_id",
    "adgroup_id",
    "ad_id",
    "country_code",
    "placement",
    "stat_time_day",
    "stat_time_hour",
]


def _read_value(value: object) -> object:
    """JSON text inside JSON; what is no JSON, such as a part of a name, stands for itself."""
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
        found = self.filter_value if isinstance(self.filter_value, list) else [self.filter_value]
        return tuple(str(value) for value in found)


class ReportBody(ApiModel):
    """What a report is asked, whether it is answered at once or made into a file.

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
    """A question with the page of its answer that is wanted."""

    query_mode: Literal["REGULAR", "CHUNK"] = "REGULAR"


@dataclass(frozen=True, slots=True)
class ReportQuestion:
    """What a report is asked: days, what a row stands for, of which ads, by which steps, and with reach."""

    span: Span
    level: Level = Level.AD_GROUP
    wanted: NodeFilter = EVERYTHING
    step: TimeStep = TimeStep.WHOLE
    with_reach: bool = False
    by_country: bool = False
    by_placement: bool = False


def question_of(query: ReportBody) -> ReportQuestion:
    """The question that a request asks.

    Raises:
        Refused: INVALID, naming the field.
    """
    steps = [STEPS[name] for name in query.dimensions if name in STEPS]
    step = steps[-1] if steps else TimeStep.WHOLE
    finest = [level for name, level in LEVELS.items() if name in query.dimensions]
    asked = DATA_LEVELS[query.data_level] if query.data_level else None
    level = finest[-1] if finest else asked or Level.AD_ACCOUNT
    if len(set(steps)) > 1:
        raise Refused(errors.INVALID, "dimensions: stat_time_day and stat_time_hour cannot be combined.")
    if asked is not None and asked is not level and level is not Level.PAGE:
        raise Refused(errors.INVALID, f"data_level: {query.data_level} does not fit the dimensions.")
    if "page_id" in query.dimensions and level is not Level.PAGE:
        raise Refused(errors.INVALID, "dimensions: page_id cannot be combined with ids of campaigns or ads.")
    named = {*query.metrics, query.order_field, *(one.field_name for one in query.filtering)}
    by_country = "country_code" in query.dimensions
    with_reach = bool(named & NEED_REACH)
    by_placement = "placement" in query.dimensions
    if by_placement:
        _check_placed(query, level)
    return ReportQuestion(
        _span(query, step), level, _wanted(query), step, with_reach, by_country, by_placement
    )


def _check_placed(query: ReportBody, level: Level) -> None:
    """Refuse what is not counted by placement."""
    with_others = {"country_code", "stat_time_hour"} & set(query.dimensions)
    if level in (Level.PAGE, Level.AD) or with_others:
        raise Refused(
            errors.INVALID,
            "dimensions: placement can only be combined with advertiser_id, campaign_id, adgroup_id "
            "and stat_time_day.",
        )
    asked = [*query.metrics, *(one.field_name for one in query.filtering if one.field_name not in _IDS)]
    unknown = [name for name in asked if name not in PLACED and name not in TEXTS]
    if unknown:
        raise Refused(errors.INVALID, f"metrics: {unknown[0][:64]} is not known by placement.")


def _span(query: ReportBody, step: TimeStep) -> Span:
    if query.query_lifetime:
        if step is not TimeStep.WHOLE:
            raise Refused(errors.INVALID, f"query_lifetime: it does not go together with a {step.value}.")
        return Span()
    if query.start_date is None or query.end_date is None:
        missing = "start_date" if query.start_date is None else "end_date"
        raise Refused(errors.INVALID, f"{missing}: give both days, or query_lifetime.")
    for field, day in (("start_date", query.start_date), ("end_date", query.end_date)):
        check_year(field, day.isoformat())
    days = (query.end_date - query.start_date).days + 1
    if not 1 <= days <= MOST_DAYS[step]:
        raise Refused(errors.INVALID, f"end_date: the span may have 1 to {MOST_DAYS[step]} days here.")
    return Span(query.start_date.isoformat(), query.end_date.isoformat())


def conditions_of(query: ReportBody) -> list[Condition]:
    """The filters by names and figures; those by ids are part of the question."""
    return [
        Condition(one.field_name, one.filter_type, one.values())
        for one in query.filtering
        if one.field_name not in _IDS
    ]


def _wanted(query: ReportBody) -> NodeFilter:
    numbers: dict[str, Any] = {}
    for one in query.filtering:
        if one.field_name not in _IDS:
            continue
        values = one.values()
        if one.filter_type != "IN" or not all(value.isascii() and value.isdigit() for value in values):
            raise Refused(errors.INVALID, f"filtering: {one.field_name} allows IN with a list of ids.")
        numbers[_IDS[one.field_name]] = frozenset(number for number in map(int, values) if number < 1 << 63)
    return NodeFilter(statuses=frozenset(NodeStatus), **numbers)


def check_metrics(query: ReportBody, metrics: Mapping[str, Metric]) -> None:
    """Refuse metrics that there are not, and an order by what is not in the report.

    Raises:
        Refused: INVALID.
    """
    unknown = [name for name in query.metrics if name not in metrics and name not in TEXTS]
    if unknown:
        allowed = ", ".join([*metrics, *TEXTS])
        raise Refused(errors.INVALID, f"metrics: {unknown[0][:64]} is unknown; allowed: {allowed}.")
    if query.order_field and query.order_field not in (*metrics, *query.dimensions):
        raise Refused(errors.INVALID, "order_field: Choose a metric or a dimension of the report.")
