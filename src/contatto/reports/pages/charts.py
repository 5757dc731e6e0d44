"""Charts of the report page as values for the template."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from contatto.kit.i18n import N_
from contatto.kit.numbers import MICROS
from contatto.reports.actions.overview import HOURS, Overview
from contatto.reports.model import Counts
from contatto.reports.rules.charts import Bar, Line, bars, by_weekday, draw_line, label_every, nice_top, shade
from contatto.reports.rules.looks import HEATS, Look

HEAT_TITLES: Final = {
    "conversations": N_("Conversations"),
    "leads": N_("Leads"),
    "clicks": N_("Clicks"),
}
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HEAT: Final[dict[str, Callable[[Counts], int]]] = {
    "conversations": lambda counts: counts.rt_conversations,
    "leads": lambda counts: counts.rt_leads,
    "clicks": lambda counts: counts.clicks,
}


@dataclass(frozen=True, slots=True)
class Day:
    day: str
    counts: Counts
    has_label: bool
    is_minor: bool
    """Whether its label goes where there is little room."""


@dataclass(frozen=True, slots=True)
class Days:
    """Conversations and leads as lines, spend as bars, by day; tops are the ends of their scales."""

    days: tuple[Day, ...]
    top: int
    conversations: Line
    leads: Line
    spend_top_micros: int
    spend: list[Bar]


@dataclass(frozen=True, slots=True)
class OriginShare:
    """A way in which leads come, with its share and its place in a bar of 1000."""

    origin: str
    count: int
    share: float
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Heat:
    """When people write: counts by weekday and hour, each with its shade; and what else can be shown."""

    rows: list[tuple[str, list[tuple[int, int]]]]
    hours: tuple[str, ...]
    total: int
    busiest: tuple[str, str] | None
    choices: list[tuple[str, str]]


def draw_days(overview: Overview) -> Days:
    days = list(overview.days.items())
    every = label_every(len(days))
    chats = [counts.conversations for _, counts in days]
    leads = [counts.leads for _, counts in days]
    spend = [counts.spend_micros for _, counts in days]
    top = nice_top(max(*chats, *leads, 4))
    spend_top = nice_top(-(-max(*spend, MICROS) // MICROS)) * MICROS
    return Days(
        tuple(Day(day, counts, n % every == 0, n % (2 * every) != 0) for n, (day, counts) in enumerate(days)),
        top,
        draw_line(chats, top),
        draw_line(leads, top),
        spend_top,
        bars(spend, spend_top),
    )


def draw_sources(counts: Counts) -> list[OriginShare]:
    """Leads by the way they came, side by side in one bar."""
    by_chat = counts.leads - counts.form_leads - counts.manual_leads
    found: list[OriginShare] = []
    x = 0.0
    for origin, count in (("chat", by_chat), ("form", counts.form_leads), ("manual", counts.manual_leads)):
        part = count / counts.leads if counts.leads else 0.0
        found.append(OriginShare(origin, count, part, round(x, 1), round(1000 * part, 1)))
        x += 1000 * part
    return found


def draw_hours(overview: Overview, look: Look) -> Heat:
    value = _HEAT[look.heat]
    rows = by_weekday({hour: value(counts) for hour, counts in overview.hours.items()})
    most = max(max(row) for row in rows)
    places = [(row.index(most), name) for name, row in zip(WEEKDAYS, rows, strict=True) if most in row]
    return Heat(
        [
            (name, [(count, shade(count, most)) for count in row])
            for name, row in zip(WEEKDAYS, rows, strict=True)
        ],
        HOURS,
        sum(map(sum, rows)),
        (places[0][1], HOURS[places[0][0]]) if most else None,
        [(name, HEAT_TITLES[name]) for name in HEATS],
    )
