"""The rows that come out: attributions, reports by day, totals, and what no touch won."""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import add
from typing import Any, Final

import msgspec

from contatto.measurement.engines.lines import Id
from contatto.measurement.engines.staging import Staged
from contatto.measurement.model import Goal, TouchKind

_AT_ONCE: Final = 10_000


class AttributionRow(msgspec.Struct, tag="attribution", tag_field="type", frozen=True):
    """A conversion and the touch that won it; the three are None where none did."""

    conversion_id: int
    touch_id: int | None
    adgroup_id: Id | None
    via: TouchKind | None


class TotalRow(msgspec.Struct, tag="total", tag_field="type", frozen=True, kw_only=True):
    """Figures of an ad group; ``conversions`` counts what its goal counts, costs are floored."""

    adgroup_id: Id
    spend_micros: int
    impressions: int
    clicks: int
    conversations: int
    leads: int
    conversions: int
    cost_per_conversion_micros: int | None
    rt_conversations: int
    rt_leads: int
    rt_conversions: int
    rt_cost_per_conversion_micros: int | None


class ReportRow(TotalRow, tag="report", tag_field="type", frozen=True, kw_only=True):
    """Figures of an ad group on one day (``YYYY-MM-DD``) of its business's zone."""

    day: str


class UnattributedRow(msgspec.Struct, tag="unattributed", tag_field="type", frozen=True):
    """Count of a business's conversions without a winning touch."""

    business_id: Id
    conversations: int
    leads: int


@dataclass(frozen=True, slots=True)
class EventReport:
    """A report of events: by ad group and day, by ad group, and what is left over in each business."""

    days: list[ReportRow]
    totals: list[TotalRow]
    unattributed: list[UnattributedRow]


_NONE: Final = (0,) * 7


def list_attributions(staged: Staged) -> Iterator[AttributionRow]:
    """One row a conversion, a few thousand in memory at once."""
    names = {key: row.adgroup_id for key, (_, row) in staged.setup.adgroups.items()}
    cursor = staged.db.execute("SELECT conversion_id, touch_id, adgroup_id, click FROM attributions")
    while rows := cursor.fetchmany(_AT_ONCE):
        for conversion_id, touch_id, adgroup_id, click in rows:
            if touch_id is None:
                yield AttributionRow(conversion_id, None, None, None)
            else:
                via = TouchKind.CLICK if click else TouchKind.VIEW
                yield AttributionRow(conversion_id, touch_id, names[adgroup_id], via)


def load_report(staged: Staged) -> EventReport:
    setup = staged.setup
    sums: dict[str, tuple[int, ...]] = dict.fromkeys(setup.adgroups, _NONE)
    days = []
    counted = "spend_micros, impressions, clicks, conversations, leads, rt_conversations, rt_leads"
    result = staged.db.execute(f"SELECT adgroup_id, day::VARCHAR, {counted} FROM report ORDER BY 1, 2")
    for adgroup_id, day, *counts in result.fetchall():
        _, adgroup = setup.adgroups[adgroup_id]
        days.append(ReportRow(day=day, **_figures(adgroup.adgroup_id, adgroup.goal, tuple(counts))))
        sums[adgroup_id] = tuple(map(add, sums[adgroup_id], counts))
    totals = [
        TotalRow(**_figures(row.adgroup_id, row.goal, sums[key])) for key, (_, row) in setup.adgroups.items()
    ]
    query = "SELECT business_id, conversations, leads FROM unattributed"
    missed = {key: counts for key, *counts in staged.db.execute(query).fetchall()}
    unattributed = [
        UnattributedRow(row.business_id, *missed.get(key, (0, 0))) for key, row in setup.businesses.items()
    ]
    return EventReport(days, totals, unattributed)


def _figures(adgroup_id: Id, goal: Goal, counts: tuple[int, ...]) -> dict[str, Any]:
    """Conversions follow the goal; a cost per conversion is floored, and None where there is none."""
    spend, impressions, clicks, conversations, leads, rt_conversations, rt_leads = counts
    by_leads = goal is Goal.LEAD
    conversions = leads if by_leads else conversations
    rt_conversions = rt_leads if by_leads else rt_conversations
    return {
        "adgroup_id": adgroup_id,
        "spend_micros": spend,
        "impressions": impressions,
        "clicks": clicks,
        "conversations": conversations,
        "leads": leads,
        "conversions": conversions,
        "cost_per_conversion_micros": spend // conversions if conversions else None,
        "rt_conversations": rt_conversations,
        "rt_leads": rt_leads,
        "rt_conversions": rt_conversions,
        "rt_cost_per_conversion_micros": spend // rt_conversions if rt_conversions else None,
    }
