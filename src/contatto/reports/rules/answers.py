"""Rows of a report as the API shows them: dimensions and metrics are texts."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from contatto.accounts.model import AdAccount
from contatto.ads.model import DIRECT_MESSAGE
from contatto.reports.model import Figures, Level, Metric, ReportRow
from contatto.reports.rules.queries import STEPS, ReportBody
from contatto.reports.rules.texts import NO_VALUE, metric_number, metric_text

UNKNOWN: Final = "-1"
"""What the API says for a country or a page that nobody told."""


def ordered_rows(rows: list[ReportRow], query: ReportBody, metrics: Mapping[str, Metric]) -> list[ReportRow]:
    field = query.order_field
    if field is None:
        return rows
    descending = query.order_type == "DESC"
    metric = metrics.get(field)
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
    return str(numbers.get(name, "")) or UNKNOWN


class ShownRow(NamedTuple):
    """The texts that were asked for, by name."""

    dimensions: dict[str, str]
    metrics: dict[str, str]


def show_row(
    row: ReportRow, account: AdAccount, query: ReportBody, metrics: Mapping[str, Metric]
) -> ShownRow:
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
    numbers = {name: metric_text(metrics[name], row.figures) for name in query.metrics if name in metrics}
    shown = {name: numbers[name] if name in numbers else texts[name] or NO_VALUE for name in query.metrics}
    return ShownRow(dimensions, shown)


def show_total(figures: Figures, query: ReportBody, metrics: Mapping[str, Metric]) -> dict[str, str | bool]:
    total: dict[str, str | bool] = {
        name: metric_text(metrics[name], figures) for name in query.metrics if name in metrics
    }
    return total | {"mixed_goals": figures.mixed_goals}
