"""The integrated report of the API v1.3."""

from datetime import date
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import AdAccount, Permission
from contatto.accounts.rules import require
from contatto.ads.actions.accounts import find_advertiser
from contatto.ads.model import DIRECT_MESSAGE, Status, Wanted
from contatto.kit import errors
from contatto.kit.context import context_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.http import api_answer
from contatto.kit.wire import (
    ApiId,
    JsonText,
    PageQuery,
    Shape,
    describe_query,
    page_info,
    read_query,
    request_id_of,
)
from contatto.reports.actions import Question, make_report
from contatto.reports.model import Figures, Level, ReportRow, Span
from contatto.reports.registry import METRICS
from contatto.reports.rules.filters import Condition, matching
from contatto.reports.rules.rows import total_of
from contatto.reports.rules.texts import NO_VALUE, metric_number, metric_text

router: Final = APIRouter(prefix="/open_api/v1.3/report", tags=["Reports"])

LEVELS: Final = {
    "advertiser_id": Level.AD_ACCOUNT,
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
DAY: Final = "stat_time_day"
MOST_DAYS: Final = {True: 30, False: 365}
"""Longest span in days, by whether each day has its own rows."""
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
_IDS: Final = {"campaign_ids": "campaign_numbers", "adgroup_ids": "ad_group_numbers", "ad_ids": "ad_numbers"}

type Dimension = Literal["advertiser_id", "campaign_id", "adgroup_id", "ad_id", "stat_time_day"]


class Filter(Shape):
    """``filter_value`` is JSON text inside JSON."""

    field_name: str
    filter_type: Literal[
        "IN", "MATCH", "GREATER_EQUAL", "GREATER_THAN", "LOWER_EQUAL", "LOWER_THAN", "BETWEEN"
    ]
    filter_value: JsonText[Any]

    def values(self) -> tuple[str, ...]:
        found = self.filter_value if isinstance(self.filter_value, list) else [self.filter_value]
        return tuple(str(value) for value in found)


class ReportQuery(PageQuery):
    """``start_date`` and ``end_date`` are days of the ad account's zone, or ``query_lifetime`` is set."""

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
    query_mode: Literal["REGULAR", "CHUNK"] = "REGULAR"


@router.get("/integrated/get/", openapi_extra=describe_query(ReportQuery))
async def get_integrated_report(request: Request, caller: ApiCaller) -> Response:
    """The report in which conversions follow the goal of each ad group.

    Metrics are texts. Over ad groups of both goals ``mixed_goals`` is true and the metrics that follow the
    goal are ``-`` (extension): a conversation and a lead are not added up.
    """
    require(caller, Permission.READ_REPORTS)
    query = read_query(request, ReportQuery)
    question = _question(query)
    _check_metrics(query)
    conditions = [
        Condition(one.field_name, one.filter_type, one.values())
        for one in query.filtering
        if one.field_name not in _IDS
    ]

    def work(tx: Tx) -> dict[str, Any]:
        account = find_advertiser(tx, caller.business_id, query.advertiser_id)
        rows = matching(make_report(tx, account, question).rows, conditions, METRICS)
        rows = _ordered(rows, query)
        first = (query.page - 1) * query.page_size
        shown = [_show(row, account, query) for row in rows[first : first + query.page_size]]
        return {
            "list": shown,
            "page_info": page_info(query, len(rows)),
            "total_metrics": _total(total_of(rows), query),
        }

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


def _question(query: ReportQuery) -> Question:
    by_day = DAY in query.dimensions
    finest = [level for name, level in LEVELS.items() if name in query.dimensions]
    asked = DATA_LEVELS[query.data_level] if query.data_level else None
    level = finest[-1] if finest else asked or Level.AD_ACCOUNT
    if asked is not None and asked is not level:
        raise Refused(errors.INVALID, f"data_level: {query.data_level} does not fit the dimensions.")
    return Question(_span(query, by_day=by_day), level, _wanted(query), by_day)


def _span(query: ReportQuery, *, by_day: bool) -> Span:
    if query.query_lifetime:
        if by_day:
            raise Refused(errors.INVALID, f"query_lifetime: it does not go together with {DAY}.")
        return Span()
    if query.start_date is None or query.end_date is None:
        missing = "start_date" if query.start_date is None else "end_date"
        raise Refused(errors.INVALID, f"{missing}: give both days, or query_lifetime.")
    days = (query.end_date - query.start_date).days + 1
    if not 1 <= days <= MOST_DAYS[by_day]:
        raise Refused(errors.INVALID, f"end_date: the span may have 1 to {MOST_DAYS[by_day]} days here.")
    return Span(query.start_date.isoformat(), query.end_date.isoformat())


def _wanted(query: ReportQuery) -> Wanted:
    numbers: dict[str, Any] = {}
    for one in query.filtering:
        if one.field_name not in _IDS:
            continue
        values = one.values()
        if one.filter_type != "IN" or not all(value.isascii() and value.isdigit() for value in values):
            raise Refused(errors.INVALID, f"filtering: {one.field_name} allows IN with a list of ids.")
        numbers[_IDS[one.field_name]] = frozenset(number for number in map(int, values) if number < 1 << 63)
    return Wanted(statuses=frozenset(Status), **numbers)


def _check_metrics(query: ReportQuery) -> None:
    unknown = [name for name in query.metrics if name not in METRICS and name not in TEXTS]
    if unknown:
        allowed = ", ".join([*METRICS, *TEXTS])
        raise Refused(errors.INVALID, f"metrics: {unknown[0][:64]} is unknown; allowed: {allowed}.")
    if query.order_field and query.order_field not in (*METRICS, *query.dimensions):
        raise Refused(errors.INVALID, "order_field: order by a metric or by a dimension of the report.")


def _ordered(rows: list[ReportRow], query: ReportQuery) -> list[ReportRow]:
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
    numbers = {
        "campaign_id": row.subject.campaign_number,
        "adgroup_id": row.subject.ad_group_number,
        "ad_id": row.subject.ad_number,
    }
    return f"{row.day} 00:00:00" if name == DAY else str(numbers.get(name, ""))


def _show(row: ReportRow, account: AdAccount, query: ReportQuery) -> dict[str, Any]:
    dimensions = {name: _dimension(row, name) for name in query.dimensions}
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
    numbers = {name: metric_text(METRICS[name], row.figures) for name in query.metrics if name in METRICS}
    metrics = {name: numbers[name] if name in numbers else texts[name] or NO_VALUE for name in query.metrics}
    return {"dimensions": dimensions, "metrics": metrics}


def _total(figures: Figures, query: ReportQuery) -> dict[str, Any]:
    total = {name: metric_text(METRICS[name], figures) for name in query.metrics if name in METRICS}
    return total | {"mixed_goals": figures.mixed_goals}
