"""The reference page of the report metrics."""

from contatto.reports.model import METRICS
from tools.markdown import page, table


def metrics_page() -> str:
    rows = [(f"`{metric.name}`", metric.unit.value, metric.description) for metric in METRICS.values()]
    says = (
        "What a report can count. A metric is data: its definition is the only one, for every engine. "
        "Money is in micros of the ad account's currency, a share lies between 0 and 1. A metric has no "
        "value where its divisor is zero, and conversions have none over ad groups of both goals."
    )
    return page("Metrics", says, table(["Name", "Unit", "Says"], rows))
