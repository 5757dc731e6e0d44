"""Which rows of a report are wanted: by the names and the numbers in them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.reports.model import Metric, ReportRow
from contatto.reports.rules.texts import metric_number

NAMES: Final[Mapping[str, Callable[[ReportRow], str]]] = {
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


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter: a name that contains or equals one of the texts, or a metric that compares to numbers."""

    field: str
    kind: str
    values: tuple[str, ...]


def matching(
    rows: Iterable[ReportRow], conditions: Iterable[Condition], metrics: Mapping[str, Metric]
) -> list[ReportRow]:
    """The rows that meet all conditions.

    Raises:
        Refused: INVALID, for a field or a comparison that does not exist.
    """
    tests = [_test(condition, metrics) for condition in conditions]
    return [row for row in rows if all(test(row) for test in tests)]


def _test(condition: Condition, metrics: Mapping[str, Metric]) -> Callable[[ReportRow], bool]:
    if not condition.values:
        raise Refused(errors.INVALID, f"filtering: {condition.field} needs a filter_value.")
    if condition.field in NAMES:
        return _name_test(condition)
    metric = metrics.get(condition.field)
    if metric is None:
        allowed = "campaign_ids, adgroup_ids, ad_ids, " + ", ".join([*NAMES, *metrics])
        raise Refused(errors.INVALID, f"filtering: field_name allows {allowed}.")
    compare = COMPARISONS.get(condition.kind)
    if compare is None:
        raise Refused(errors.INVALID, f"filtering: a metric allows {', '.join(COMPARISONS)}.")
    values = _numbers(condition)

    def holds(row: ReportRow) -> bool:
        number = metric_number(metric, row.figures)
        return number is not None and compare(number, values)

    return holds


def _name_test(condition: Condition) -> Callable[[ReportRow], bool]:
    name_of, texts = NAMES[condition.field], [value.casefold() for value in condition.values]
    if condition.kind == "MATCH":
        return lambda row: any(text in name_of(row).casefold() for text in texts)
    if condition.kind == "IN":
        return lambda row: name_of(row).casefold() in texts
    raise Refused(errors.INVALID, "filtering: A name can be filtered by MATCH or IN only.")


def _numbers(condition: Condition) -> Values:
    try:
        return tuple(Decimal(value) for value in condition.values)
    except InvalidOperation as error:
        raise Refused(errors.INVALID, f"filtering: {condition.field} compares to numbers.") from error
