"""Rules of reports: rows, API requests, charts, reply times, verdicts on touches, what-ifs."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from math import log10
from statistics import median
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field

from contatto.accounts.model import AdAccount
from contatto.ads.model import DIRECT_MESSAGE, EVERY_STATUS, NodeFilter
from contatto.kit import errors
from contatto.kit.api_types import ApiId, ApiModel, JsonText, PageQuery
from contatto.kit.errors import Refused
from contatto.kit.values import check_year, to_units
from contatto.measurement.model import AttributionPolicy, Conversion, ConversionKind, Touch, TouchKind
from contatto.measurement.rules import is_eligible, last_touch
from contatto.reports import model


def build_report(
    subjects: Sequence[model.Subject],
    facts: Iterable[model.Fact],
    owners: Mapping[str, str],
    step: model.TimeStep,
    *,
    by_country: bool = False,
    by_placement: bool = False,
) -> model.Report:
    """Group facts into the rows of subjects, with a total; ``owners`` is the subject's key by ad id.

    Without days, countries and placements each subject that is not deleted has a row, even one of zeros.
    With them only subjects with counts have rows. Facts of ads without an owner are left out.
    """
    by_day = step is not model.TimeStep.WHOLE
    sums = model.sum_counts(
        (
            (
                owners[fact.ad_id],
                fact.day if by_day else "",
                fact.country if by_country else "",
                fact.placement if by_placement else "",
            ),
            fact.counts,
        )
        for fact in facts
        if fact.ad_id in owners
    )
    by_key = {subject.key: subject for subject in subjects}
    if step is model.TimeStep.WHOLE and not by_country and not by_placement:
        for subject in subjects:
            if not subject.deleted:
                sums.setdefault((subject.key, "", "", ""), model.Counts())
    rows = [
        model.ReportRow(
            by_key[key], day or None, model.Figures(counts, by_key[key].goals), country, placement
        )
        for (key, day, country, placement), counts in sums.items()
        if key in by_key
    ]
    rows.sort(
        key=lambda row: (
            row.day or "",
            row.subject.campaign_number,
            row.subject.ad_group_number,
            row.subject.ad_number,
            row.subject.key if row.subject.level in (model.Level.PAGE, model.Level.GOAL) else "",
            row.country,
            row.placement,
        )
    )
    return model.Report(tuple(rows), model.total_of(row.figures for row in rows))


NO_VALUE: Final = "-"
"""The text of a missing number, such as conversions over mixed goals."""
ZERO_RATE: Final = "0.00"
"""The API's text of a cost or a rate whose divisor is zero."""
REACH_METRICS: Final = frozenset({"reach", "cost_per_1000_reached", "frequency"})
"""Metrics that need distinct persons, so they cannot be added up."""
FOLLOW_GOAL: Final = frozenset(metric.name for metric in model.CONVERSIONS)
"""Metrics that count leads or conversations, depending on the goal."""


def metric_number(metric: model.Metric, figures: model.Figures) -> Decimal | None:
    """Return a metric's value in the API's unit: money in units, shares in percent."""
    value = metric.value(figures)
    if value is None:
        return None
    if metric.unit is model.Unit.MICROS:
        return to_units(int(value))
    return Decimal(value) * 100 if metric.unit is model.Unit.SHARE else Decimal(value)


def metric_text(metric: model.Metric, figures: model.Figures) -> str:
    value = metric.value(figures)
    if value is None:
        mixed = figures.mixed_goals and metric.name in FOLLOW_GOAL
        return NO_VALUE if mixed or (metric.name in REACH_METRICS and figures.reach is None) else ZERO_RATE
    return value_text(metric.unit, value)


def value_text(unit: model.Unit, value: model.Value) -> str:
    """Return a value as a plain number for a file; empty for None."""
    if value is None:
        return ""
    if unit is model.Unit.MICROS:  # exact units, with two decimals or more
        whole, _, part = f"{to_units(int(value)):.6f}".partition(".")
        return f"{whole}.{part.rstrip('0').ljust(2, '0')}"
    if unit is model.Unit.RATIO:
        return f"{Decimal(value):.2f}"
    return f"{Decimal(value) * 100:.2f}" if unit is model.Unit.SHARE else str(value)


WIDTH: Final = 1000
HEIGHT: Final = 200
SHADES: Final = 5
LABELS: Final = 7
_STEPS: Final = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class ChartBar:
    """Bar in the box of a chart, which is 1000 by 200 and stretched by the page."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class ChartLine:
    """Line of a chart and its points, as paths of an SVG."""

    line: str
    points: str


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """Step of the funnel: its count, and its share of the step before."""

    name: str
    count: int
    share: float | None
    width: float


def nice_top(highest: int) -> int:
    """Return the end of a scale: 1, 2 or 5 with zeros, not below the highest value."""
    power = 1
    while power * 10 < highest:
        power *= 10
    return next(step * power for step in _STEPS if step * power >= highest)


def draw_line(values: Sequence[int], top: int) -> ChartLine:
    """Draw a line through points in the middle of their slots, zero at the bottom."""
    slot = WIDTH / max(len(values), 1)
    places = [
        f"{round(slot * (n + 0.5), 1)} {round(HEIGHT * (1 - value / top), 1)}"
        for n, value in enumerate(values)
    ]
    return ChartLine("M" + "L".join(places), "".join(f"M{place}h.01" for place in places))


def bars(values: Sequence[int], top: int) -> list[ChartBar]:
    """Return a bar for each value; even the smallest is visible."""
    slot = WIDTH / max(len(values), 1)
    chart_bars: list[ChartBar] = []
    for n, value in enumerate(values):
        height = max(HEIGHT * value / top, 2.0) if value else 0.0
        place = (slot * (n + 0.15), HEIGHT - height, slot * 0.7, height)
        chart_bars.append(ChartBar(*(round(number, 1) for number in place)))
    return chart_bars


def label_every(count: int) -> int:
    """Return the number of slots per label below the axis."""
    return max(1, -(-count // LABELS))


def funnel(counts: model.Counts) -> list[FunnelStep]:
    """Return the steps from impressions to customers; widths are logarithmic, 0 to 100."""
    steps = {
        "impressions": counts.impressions,
        "clicks": counts.clicks,
        "conversations": counts.conversations,
        "leads": counts.leads,
        "qualified": counts.qualified,
        "converted": counts.converted,
    }
    most = max(steps.values())
    funnel_steps: list[FunnelStep] = []
    previous: int | None = None
    for name, count in steps.items():
        share = count / previous if previous else None
        width = round(100 * log10(count + 1) / log10(most + 1), 1) if count else 0.0
        funnel_steps.append(FunnelStep(name, count, share, width))
        previous = count
    return funnel_steps


def shade(value: int, most: int) -> int:
    """Return the darkness of a cell, from 0 for zero to 5."""
    return 0 if not value or not most else max(1, -(-SHADES * value // most))


def by_weekday(hours: Mapping[str, int]) -> list[list[int]]:
    """Add up hours (``YYYY-MM-DD HH``) into seven rows of 24, from Monday on."""
    weekdays = [[0] * 24 for _ in range(7)]
    for hour, value in hours.items():
        weekdays[date.fromisoformat(hour[:10]).weekday()][int(hour[11:])] += value
    return weekdays


BUCKETS_S: Final = (300, 3_600, 86_400)
"""Up to five minutes, an hour, a day; a last bucket holds longer times."""


@dataclass(frozen=True, slots=True)
class FirstReply:
    """Conversation that a customer began, with the first reply of a member."""

    started_at: datetime
    answered_at: datetime | None
    author: str


@dataclass(frozen=True, slots=True)
class ReplyTimes:
    """Reply times of conversations: the median, and the number of replies per bucket."""

    started: int
    answered: int
    median_s: int | None
    buckets: tuple[int, ...]


def reply_times_of(replies: Sequence[FirstReply]) -> ReplyTimes:
    seconds = sorted(
        max(int((reply.answered_at - reply.started_at).total_seconds()), 0)
        for reply in replies
        if reply.answered_at
    )
    buckets = [0] * (len(BUCKETS_S) + 1)
    for second in seconds:
        buckets[sum(second > limit for limit in BUCKETS_S)] += 1
    median_s = int(median(seconds)) if seconds else None
    return ReplyTimes(len(replies), len(seconds), median_s, tuple(buckets))


def summarize_replies(replies: Sequence[FirstReply], zone: str, most_days: int) -> dict[str, Any]:
    """Return reply times of all, by member (busiest first) and by day in a zone (latest first)."""
    by_author: defaultdict[str, list[FirstReply]] = defaultdict(list)
    by_day: defaultdict[date, list[FirstReply]] = defaultdict(list)
    for reply in replies:
        by_day[reply.started_at.astimezone(ZoneInfo(zone)).date()].append(reply)
        if reply.answered_at:
            by_author[reply.author].append(reply)
    people = [(author, reply_times_of(author_replies)) for author, author_replies in by_author.items()]
    latest_days = sorted(by_day, reverse=True)[:most_days]
    return {
        "all": reply_times_of(replies),
        "people": sorted(people, key=lambda member: (-member[1].answered, member[0])),
        "days": [(day, reply_times_of(by_day[day])) for day in latest_days],
        "started": len(replies),
    }


class TouchVerdict(StrEnum):
    """Reason why a touch won or lost the credit for a conversion."""

    WON = "won"
    EARLIER = "earlier"
    BEHIND_CLICK = "behind_click"
    """A later view, while a click has priority."""
    EXPIRED = "expired"
    NEVER_COUNTS = "never_counts"
    """The window of the ad group for this kind of touch is off."""
    AFTERWARDS = "afterwards"


def judge_touches(
    touches: Iterable[Touch],
    conversion: Conversion,
    policy: AttributionPolicy = AttributionPolicy.CLICK_FIRST,
) -> list[tuple[Touch, TouchVerdict]]:
    """Return every touch with its verdict, the latest first."""
    ordered = sorted(touches, key=lambda touch: (touch.ts, touch.touch_id), reverse=True)
    winner = last_touch(ordered, conversion, policy)
    judged_touches: list[tuple[Touch, TouchVerdict]] = []
    for touch in ordered:
        verdict = TouchVerdict.EARLIER
        if winner is not None and touch.touch_id == winner.touch_id:
            verdict = TouchVerdict.WON
        elif touch.expires_ts < touch.ts:
            verdict = TouchVerdict.NEVER_COUNTS
        elif touch.ts > conversion.ts:
            verdict = TouchVerdict.AFTERWARDS
        elif winner is None or not is_eligible(touch, conversion):
            verdict = TouchVerdict.EXPIRED
        elif touch.kind is TouchKind.VIEW and winner.kind is TouchKind.CLICK:
            is_later = (touch.ts, touch.touch_id) > (winner.ts, winner.touch_id)
            verdict = TouchVerdict.BEHIND_CLICK if is_later else TouchVerdict.EARLIER
        judged_touches.append((touch, verdict))
    return judged_touches


CLICK_DAYS: Final = (0, 1, 7, 14, 28)
VIEW_DAYS: Final = (0, 1, 7)
"""The windows that an ad group may have, in days; 0 is off."""


@dataclass(frozen=True, slots=True)
class WhatIfWindows:
    """Windows in days (0 is off) and policy that a what-if applies to all ad groups."""

    click_days: int = 7
    view_days: int = 1
    policy: AttributionPolicy = AttributionPolicy.CLICK_FIRST


@dataclass(frozen=True, slots=True)
class WhatIfConversion:
    """Conversion with its stored ad group and its what-if ad group; None without one."""

    conversion_id: int
    kind: ConversionKind
    ts: int
    stored: str | None
    what_if: str | None


@dataclass(frozen=True, slots=True)
class RivalTouches:
    """Conversion with the latest click and the latest view within the what-if windows."""

    conversion_id: int
    person_id: str
    kind: ConversionKind
    ts: int
    stored: str | None
    click_ts: int | None
    click_group: str | None
    view_ts: int | None
    view_id: int | None
    view_group: str | None

    def apply_policy(self, policy: AttributionPolicy, sealed_view: Touch | None = None) -> WhatIfConversion:
        """Choose the winner as ``measurement.rules.last_touch`` does.

        ``sealed_view`` is the latest view in the archive files, if any.
        """
        view_ts, view_group = self.view_ts, self.view_group
        if sealed_view is not None:
            sealed_place = (sealed_view.ts, sealed_view.touch_id)
            if view_ts is None or sealed_place >= (view_ts, self.view_id):
                view_ts, view_group = sealed_view.ts, sealed_view.ad_group_id
        by_click = self.click_ts is not None
        if by_click and view_ts is not None and policy is AttributionPolicy.LAST_TOUCH:
            by_click = view_ts <= (self.click_ts or 0)
        winner = self.click_group if by_click else view_group
        return WhatIfConversion(self.conversion_id, self.kind, self.ts, self.stored, winner)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Stored and what-if counts of each ad group (None without one), and the latest changes."""

    count: int
    counts: dict[str | None, tuple[model.Counts, model.Counts]]
    changed_count: int
    changed: tuple[WhatIfConversion, ...]


def compare_winners(conversions: Iterable[WhatIfConversion], most_listed: int) -> WhatIf:
    """Count stored and what-if winners in one pass, and list the first changes; the latest come first."""
    stored: Counter[tuple[str | None, ConversionKind]] = Counter()
    what_if: Counter[tuple[str | None, ConversionKind]] = Counter()
    changed: list[WhatIfConversion] = []
    count = changed_count = 0
    for conversion in conversions:
        count += 1
        stored[conversion.stored, conversion.kind] += 1
        what_if[conversion.what_if, conversion.kind] += 1
        if conversion.stored != conversion.what_if:
            changed_count += 1
            if len(changed) < most_listed:
                changed.append(conversion)
    counts: dict[str | None, tuple[model.Counts, model.Counts]] = {}
    for key, _ in (*stored, *what_if):
        before, after = (
            model.Counts(
                conversations=winners[key, ConversionKind.CONVERSATION],
                leads=winners[key, ConversionKind.LEAD],
            )
            for winners in (stored, what_if)
        )
        counts[key] = (before, after)
    return WhatIf(count, counts, changed_count, tuple(changed))


ALL_NODES: Final = NodeFilter(statuses=EVERY_STATUS)
ID_LEVELS: Final = {
    "advertiser_id": model.Level.AD_ACCOUNT,
    "page_id": model.Level.PAGE,
    "campaign_id": model.Level.CAMPAIGN,
    "adgroup_id": model.Level.AD_GROUP,
    "ad_id": model.Level.AD,
}
"""The level of each id dimension, from coarse to fine."""
DATA_LEVELS: Final = {
    "AUCTION_ADVERTISER": model.Level.AD_ACCOUNT,
    "AUCTION_CAMPAIGN": model.Level.CAMPAIGN,
    "AUCTION_ADGROUP": model.Level.AD_GROUP,
    "AUCTION_AD": model.Level.AD,
}
STEPS: Final = {"stat_time_day": model.TimeStep.DAY, "stat_time_hour": model.TimeStep.HOUR}
MOST_DAYS: Final = {model.TimeStep.WHOLE: 365, model.TimeStep.DAY: 30, model.TimeStep.HOUR: 1}
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
    """Filter of a report request by a name, a metric or ids; ``filter_value`` is text, or JSON in JSON."""

    field_name: str
    filter_type: Literal[
        "IN", "MATCH", "GREATER_EQUAL", "GREATER_THAN", "LOWER_EQUAL", "LOWER_THAN", "BETWEEN"
    ]
    filter_value: Annotated[Any, BeforeValidator(_read_value)]

    def values(self) -> tuple[str, ...]:
        values = self.filter_value if isinstance(self.filter_value, list) else [self.filter_value]
        return tuple(str(value) for value in values)

    def select(self, rows: Sequence[model.ReportRow]) -> list[model.ReportRow]:
        """Select rows by name or metric. Raises INVALID for an unknown field or comparison."""
        name, kind, texts = self.field_name, self.filter_type, self.values()
        if not texts:
            raise Refused(errors.INVALID, f"filtering: {name} needs a filter_value.")
        if name in NAME_FILTERS:
            name_of, parts = NAME_FILTERS[name], [text.casefold() for text in texts]
            if kind == "MATCH":
                return [row for row in rows if any(part in name_of(row).casefold() for part in parts)]
            if kind == "IN":
                return [row for row in rows if name_of(row).casefold() in parts]
            raise Refused(errors.INVALID, "filtering: A name can be filtered by MATCH or IN only.")
        metric = model.METRICS.get(name)
        if metric is None:
            allowed = "campaign_ids, adgroup_ids, ad_ids, " + ", ".join([*NAME_FILTERS, *model.METRICS])
            raise Refused(errors.INVALID, f"filtering: field_name allows {allowed}.")
        compare = COMPARISONS.get(kind)
        if compare is None:
            raise Refused(errors.INVALID, f"filtering: a metric allows {', '.join(COMPARISONS)}.")
        try:
            numbers = tuple(Decimal(text) for text in texts)
        except InvalidOperation as error:
            raise Refused(errors.INVALID, f"filtering: {name} compares to numbers.") from error
        values = [(metric_number(metric, row.figures), row) for row in rows]
        return [row for number, row in values if number is not None and compare(number, numbers)]


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
    query_mode: Literal["REGULAR", "CHUNK"] = "REGULAR"


@dataclass(frozen=True, slots=True)
class ReportSpec:
    span: model.DayRange
    level: model.Level = model.Level.AD_GROUP
    nodes: NodeFilter = ALL_NODES
    step: model.TimeStep = model.TimeStep.WHOLE
    with_reach: bool = False
    by_country: bool = False
    by_placement: bool = False


def read_spec(query: ReportBody) -> ReportSpec:
    """Check a request, and return the report that it specifies. Raises INVALID, naming the field."""
    unknown = [name for name in query.metrics if name not in model.METRICS and name not in TEXT_METRICS]
    if unknown:
        allowed = ", ".join([*model.METRICS, *TEXT_METRICS])
        raise Refused(errors.INVALID, f"metrics: {unknown[0][:64]} is unknown; allowed: {allowed}.")
    if query.order_field and query.order_field not in (*model.METRICS, *query.dimensions):
        raise Refused(errors.INVALID, "order_field: Choose a metric or a dimension of the report.")
    steps = [STEPS[name] for name in query.dimensions if name in STEPS]
    step = steps[-1] if steps else model.TimeStep.WHOLE
    id_levels = [level for name, level in ID_LEVELS.items() if name in query.dimensions]
    data_level = DATA_LEVELS[query.data_level] if query.data_level else None
    level = id_levels[-1] if id_levels else data_level or model.Level.AD_ACCOUNT
    if len(set(steps)) > 1:
        raise Refused(errors.INVALID, "dimensions: stat_time_day and stat_time_hour cannot be combined.")
    if data_level is not None and data_level is not level and level is not model.Level.PAGE:
        raise Refused(errors.INVALID, f"data_level: {query.data_level} does not fit the dimensions.")
    if "page_id" in query.dimensions and level is not model.Level.PAGE:
        raise Refused(errors.INVALID, "dimensions: page_id cannot be combined with ids of campaigns or ads.")
    by_placement = "placement" in query.dimensions
    if by_placement:
        # Refuse dimensions and metrics that are not counted by placement.
        if level in (model.Level.PAGE, model.Level.AD) or {"country_code", "stat_time_hour"} & set(
            query.dimensions
        ):
            raise Refused(
                errors.INVALID,
                "dimensions: placement can only be combined with advertiser_id, campaign_id, adgroup_id "
                "and stat_time_day.",
            )
        conditions = [condition.field_name for condition in query.filtering]
        metric_names = [*query.metrics, *(name for name in conditions if name not in _ID_FILTERS)]
        unknown = [
            name for name in metric_names if name not in PLACEMENT_METRICS and name not in TEXT_METRICS
        ]
        if unknown:
            raise Refused(errors.INVALID, f"metrics: {unknown[0][:64]} is not known by placement.")
    names = {*query.metrics, query.order_field, *(condition.field_name for condition in query.filtering)}
    numbers: dict[str, Any] = {}
    for condition in query.filtering:
        name = condition.field_name
        if name not in _ID_FILTERS:
            continue
        values = condition.values()
        if condition.filter_type != "IN" or not all(value.isascii() and value.isdigit() for value in values):
            raise Refused(errors.INVALID, f"filtering: {name} allows IN with a list of ids.")
        numbers[_ID_FILTERS[name]] = frozenset(number for number in map(int, values) if number < 1 << 63)
    node_filter = NodeFilter(statuses=EVERY_STATUS, **numbers)
    return ReportSpec(
        _read_span(query, step),
        level,
        node_filter,
        step,
        with_reach=bool(names & REACH_METRICS),
        by_country="country_code" in query.dimensions,
        by_placement=by_placement,
    )


def _read_span(query: ReportBody, step: model.TimeStep) -> model.DayRange:
    if query.query_lifetime:
        if step is not model.TimeStep.WHOLE:
            raise Refused(errors.INVALID, f"query_lifetime: it does not go together with a {step.value}.")
        return model.DayRange()
    if query.start_date is None or query.end_date is None:
        missing = "start_date" if query.start_date is None else "end_date"
        raise Refused(errors.INVALID, f"{missing}: give both days, or query_lifetime.")
    for field, day in (("start_date", query.start_date), ("end_date", query.end_date)):
        check_year(field, day.isoformat())
    days = (query.end_date - query.start_date).days + 1
    if not 1 <= days <= MOST_DAYS[step]:
        raise Refused(errors.INVALID, f"end_date: the span may have 1 to {MOST_DAYS[step]} days here.")
    return model.DayRange(query.start_date.isoformat(), query.end_date.isoformat())


NAME_FILTERS: Final[Mapping[str, Callable[[model.ReportRow], str]]] = {
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


def filter_rows(rows: Iterable[model.ReportRow], conditions: Iterable[Filter]) -> list[model.ReportRow]:
    """Return the rows that meet all conditions but those by ids. Raises INVALID for an unknown field."""
    selected_rows = list(rows)
    for condition in conditions:
        if condition.field_name not in _ID_FILTERS:
            selected_rows = condition.select(selected_rows)
    return selected_rows


UNKNOWN_DIMENSION: Final = "-1"
"""The API's text of an unknown country or page."""


def sort_by_metric(
    rows: Iterable[model.ReportRow], metric: model.Metric, *, is_descending: bool
) -> list[model.ReportRow]:
    """Sort rows by a metric; those without a value count as the lowest."""
    ranked_rows = [(metric_number(metric, row.figures), row) for row in rows]
    ranked_rows.sort(key=lambda ranked: (ranked[0] is not None, ranked[0] or 0), reverse=is_descending)
    return [row for _, row in ranked_rows]


def dimension_text(row: model.ReportRow, name: str) -> str:
    """Return a dimension as the API writes it; an hour is ``YYYY-MM-DD HH:00:00``."""
    numbers: dict[str, str | int] = {
        "campaign_id": row.subject.campaign_number,
        "adgroup_id": row.subject.ad_group_number,
        "ad_id": row.subject.ad_number,
        "page_id": row.subject.key if row.subject.level is model.Level.PAGE else "",
        "country_code": row.country,
        "placement": row.placement,
    }
    if name in STEPS:
        return f"{row.day} 00:00:00"[:10] + (f" {row.day[11:] or '00'}:00:00" if row.day else "")
    return str(numbers.get(name, "")) or UNKNOWN_DIMENSION


def row_texts(
    row: model.ReportRow, account: AdAccount, query: ReportBody
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the texts of a row by the names of its dimensions, and of its metrics."""
    dimensions: dict[str, str] = {name: dimension_text(row, name) for name in query.dimensions}
    if "advertiser_id" in dimensions:
        dimensions["advertiser_id"] = str(account.number)
    texts = {
        "campaign_id": dimension_text(row, "campaign_id"),
        "campaign_name": row.subject.campaign_name,
        "adgroup_id": dimension_text(row, "adgroup_id"),
        "adgroup_name": row.subject.ad_group_name,
        "ad_name": row.subject.name if row.subject.ad_number else "",
        "currency": account.currency,
        "objective_type": "LEAD_GENERATION",
        "promotion_type": DIRECT_MESSAGE,
    }
    metrics = {
        name: metric_text(model.METRICS[name], row.figures)
        if name in model.METRICS
        else texts[name] or NO_VALUE
        for name in query.metrics
    }
    return dimensions, metrics
