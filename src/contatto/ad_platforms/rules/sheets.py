"""Reading what an Ads Manager exports: columns by their names in nine languages, each row or why not."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from contatto.ad_platforms.model import AdDay
from contatto.ad_platforms.rules.headers import HEADERS, Column
from contatto.ad_platforms.rules.reading import known_currency, platform_number, short_name
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import LazyText
from contatto.kit.money import decimal_places, to_micros

MOST_ROWS: Final = 20_000
MOST_COLUMNS: Final = 200
_NEEDED: Final = (Column.DAY, Column.SPEND)
_DELIMITERS: Final = ",;\t"
_DAY_ONE: Final = date(1899, 12, 30)
"""Day 0 of a spreadsheet. Source: ECMA-376, part 1, 18.17.4.1 (with its leap year of 1900)."""
_YEARS: Final = range(2015, 2101)
_ISO: Final = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[ T].*)?")
_SERIAL: Final = re.compile(r"4\d{4}(?:\.0+)?|5\d{4}(?:\.0+)?")
_CURRENCY: Final = re.compile(r"[(（]\s*([A-Z]{3})\s*[)）]")
_BRACKETS: Final = re.compile(r"\s*[(（][^)）]*[)）]\s*")


@dataclass(frozen=True, slots=True)
class AdRow:
    """A row that was read: the ad with all above it, and what it cost on a day.

    Numbers are 0 where the file does not have them.
    """

    day: AdDay
    currency: str = ""
    ad_name: str = ""
    ad_group_number: int = 0
    ad_group_name: str = ""
    campaign_number: int = 0
    campaign_name: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is not taken (its number counts from 1 below the head), and why."""

    number: int
    reason: LazyText


@dataclass(frozen=True, slots=True)
class AdSheet:
    """A file that was read: each row is among the rows, or among those left out."""

    rows: tuple[AdRow, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def currencies(self) -> frozenset[str]:
        return frozenset(row.currency for row in self.rows if row.currency)

    @property
    def span(self) -> tuple[str, str]:
        """The first and the last day; two empty texts where there is none."""
        days = sorted(row.day.day for row in self.rows)
        return (days[0], days[-1]) if days else ("", "")


class _Unreadable(Exception):
    def __init__(self, text: str, **values: str) -> None:
        self.says = LazyText(text, **values)
        super().__init__(text)


def read_ad_sheet(text: str, names: Mapping[str, int]) -> AdSheet:
    """Read a file as CSV with a head; commas, semicolons or tabs between the cells.

    Args:
        text: the file.
        names: ads that are known by names that only one of them has, for rows without an ad's id.

    Raises:
        Refused: INVALID, when there is no head with what is needed, no row, or too many rows or columns.
    """
    table = _table(text)
    columns = [_column(cell) for cell in table[0]] if table else []
    missing = [column.value for column in _NEEDED if column not in columns]
    if not {Column.AD_ID, Column.AD_NAME} & set(columns):
        missing.append(Column.AD_ID.value)
    if missing:
        raise Refused(
            errors.INVALID,
            "file: The column %(column)s is missing in the first row.",
            column=", ".join(missing),
        )
    if not 1 < len(table) <= MOST_ROWS + 1:
        raise Refused(
            errors.INVALID, "file: The file needs 1 to %(most)s rows below the column names.", most=MOST_ROWS
        )
    of_head = _CURRENCY.search(table[0][columns.index(Column.SPEND)])
    return _read_rows(table[1:], columns, of_head.group(1) if of_head else "", names)


def _table(text: str) -> list[tuple[str, ...]]:
    """The rows of a text, from the head on: exports may have lines of their own above it."""
    plain = text.removeprefix("\ufeff").replace("\0", "")
    lines = plain.splitlines()
    first = next((line for line in lines[:20] if _knows(line)), lines[0] if lines else "")
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        table = [tuple(row) for row in csv.reader(io.StringIO(plain), delimiter=delimiter) if any(row)]
    except csv.Error as error:
        raise Refused(errors.INVALID, "file: This is not a CSV file. Export it again as CSV.") from error
    head = next((place for place, row in enumerate(table[:20]) if _knows_row(row)), 0)
    if table and len(table[head]) > MOST_COLUMNS:
        raise Refused(errors.INVALID, "file: The file may have at most %(most)s columns.", most=MOST_COLUMNS)
    return table[head:]


def _knows(line: str) -> bool:
    return any(_knows_row(line.split(delimiter)) for delimiter in _DELIMITERS)


def _knows_row(cells: Sequence[str]) -> bool:
    return {Column.DAY, Column.SPEND} <= {_column(cell) for cell in cells}


def _column(cell: str) -> Column | None:
    word = " ".join(_BRACKETS.sub(" ", cell.strip().strip('"')).casefold().split())
    return HEADERS.get(word) or HEADERS.get(" ".join(cell.strip().strip('"').casefold().split()))


def _read_rows(
    table: Sequence[Sequence[str]], columns: Sequence[Column | None], currency: str, names: Mapping[str, int]
) -> AdSheet:
    parted = [_by_column(columns, cells) for cells in table]
    named = {known_currency(each.get(Column.CURRENCY, "")) for each in parted} | {currency}
    amounts = [each.get(Column.SPEND, "").strip().removeprefix("'") for each in parted]
    mark = decimal_mark(amounts, has_decimals=all(map(decimal_places, named)))
    found: dict[tuple[int, str], AdRow] = {}
    left_out: list[LeftOut] = []
    seen: set[tuple[str, ...]] = set()
    for number, cells in enumerate(table, 1):
        try:
            if tuple(cells) in seen:
                raise _Unreadable("The same row stands above")
            seen.add(tuple(cells))
            row = _read_row(_by_column(columns, cells), (currency, mark), names)
        except _Unreadable as unreadable:
            left_out.append(LeftOut(number, unreadable.says))
            continue
        key = row.day.ad_number, row.day.day
        found[key] = _added(found[key], row) if key in found else row
    return AdSheet(tuple(found.values()), tuple(left_out))


def _by_column(columns: Sequence[Column | None], cells: Sequence[str]) -> dict[Column | None, str]:
    """Cells by what they hold; of two columns that hold the same, the first counts."""
    pairs = list(zip(columns, cells, strict=False))
    return dict(reversed(pairs))


def _added(one: AdRow, other: AdRow) -> AdRow:
    """Two parts of an ad's day, such as those of two placements, as one."""
    day = AdDay(
        one.day.ad_number,
        one.day.day,
        one.day.spend_micros + other.day.spend_micros,
        one.day.impressions + other.day.impressions,
        one.day.clicks + other.day.clicks,
    )
    return replace(one, day=day)


def _read_row(
    cells: Mapping[Column | None, str], of_file: tuple[str, str], names: Mapping[str, int]
) -> AdRow:
    currency, mark = of_file
    said = {column: cell.strip().removeprefix("'") for column, cell in cells.items() if column}
    ad_name = short_name(said.get(Column.AD_NAME, ""))
    day = _day(said.get(Column.DAY, ""))
    spend = _amount(said.get(Column.SPEND, ""), mark)
    number = _ad_number(said.get(Column.AD_ID, ""), ad_name, names)
    impressions, clicks = (_count(said.get(column, "")) for column in (Column.IMPRESSIONS, Column.CLICKS))
    return AdRow(
        AdDay(number, day, spend, impressions, clicks),
        known_currency(said.get(Column.CURRENCY, "")) or currency,
        ad_name,
        _number(said.get(Column.AD_GROUP_ID, "")) or 0,
        short_name(said.get(Column.AD_GROUP_NAME, "")),
        _number(said.get(Column.CAMPAIGN_ID, "")) or 0,
        short_name(said.get(Column.CAMPAIGN_NAME, "")),
    )


def _number(text: str) -> int | None:
    """An id; exports guard it with letters such as ``ag:`` against spreadsheets."""
    return platform_number(text.rpartition(":")[2].strip())


def _ad_number(text: str, name: str, names: Mapping[str, int]) -> int:
    number = _number(text)
    if number is not None:
        return number
    if re.fullmatch(r"\d+(?:[.,]\d+)?[eE]\+?\d+", text):
        raise _Unreadable("A spreadsheet has shortened the ad's id; export it again as text")
    if text:
        raise _Unreadable("This is no ad's id")
    if not name:
        raise _Unreadable("It names no ad")
    if name not in names:
        raise _Unreadable("It has no ad's id, and no one ad has this name")
    return names[name]


def _day(text: str) -> str:
    iso = _ISO.fullmatch(text)
    try:
        if iso:
            found = date(*map(int, iso.groups()))
        elif _SERIAL.fullmatch(text):
            found = _DAY_ONE + timedelta(days=int(float(text)))
        else:
            raise _Unreadable("This is no day such as 2026-01-31; export the figures by day")
    except ValueError as error:
        raise _Unreadable("This is no day such as 2026-01-31; export the figures by day") from error
    if found.year not in _YEARS:
        raise _Unreadable("This is no day such as 2026-01-31; export the figures by day")
    return found.isoformat()


def _amount(text: str, mark: str) -> int:
    """An amount in micros; ``mark`` is what parts decimals in this file, empty where nothing tells."""
    kept = _digits_of(text)
    if kept is None:
        raise _Unreadable("This is no amount")
    if not mark and _TWO_WAYS.fullmatch(kept):
        raise _Unreadable("This amount can be read in two ways")
    if mark == NO_DECIMALS and _GROUPED.fullmatch(kept):
        kept = re.sub("[.,]", "", kept)
    used = mark if mark == "," else "."
    plain = kept.replace("." if used == "," else ",", "").replace(used, ".")
    if not _PLAIN.fullmatch(plain):
        raise _Unreadable("This is no amount")
    try:
        return to_micros(plain)
    except ValueError as error:
        raise _Unreadable("This is no amount") from error


def _count(text: str) -> int:
    kept = _digits_of(text)
    grouped = _GROUPED.fullmatch(kept or "")
    plain = re.sub("[.,]", "", kept or "") if grouped else (kept or "").removesuffix(".0")
    if not plain.isdecimal() or len(plain) > 15:
        raise _Unreadable("This is no count")
    return int(plain)


_TWO_WAYS: Final = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
"""A thousand or a fraction: both are written so."""
_GROUPED: Final = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
NO_DECIMALS: Final = "none"
"""What parts decimals where the currency has none."""
_PLAIN: Final = re.compile(r"\d+(?:\.\d+)?")
_NOT_DIGITS: Final = re.compile(r"[\s\u00a0\u202f'’]|[A-Z]{3}|[^\w.,\-]")


def _digits_of(text: str) -> str | None:
    """The digits and marks of a number, without its currency; "0" for nothing, None for what is none."""
    kept = _NOT_DIGITS.sub("", text)
    if not kept.strip("-"):
        return None if text.strip("-–— ") else "0"
    return kept if re.fullmatch(r"\d[\d.,]*", kept) else None


def decimal_mark(texts: Iterable[str], *, has_decimals: bool) -> str:
    """What parts decimals in these amounts, as they show it together; empty where they do not, or disagree.

    ``has_decimals`` tells whether the currency has any; without them marks only group digits.
    """
    if not has_decimals:
        return NO_DECIMALS
    found = {mark for text in texts for mark in [_mark_in(_digits_of(text) or "")] if mark}
    return found.pop() if len(found) == 1 else ""


def _mark_in(kept: str) -> str:
    """What parts decimals in one amount, where it can be told."""
    last = max(kept.rfind("."), kept.rfind(","))
    if last < 0:
        return ""
    mark, other = kept[last], "," if kept[last] == "." else "."
    if kept.count(mark) > 1:
        return other
    is_certain = other in kept or len(kept) - last - 1 != 3 or kept.startswith("0")
    return mark if is_certain else ""


def table_text(rows: Iterable[Sequence[str]]) -> str:
    """Rows of a workbook as CSV."""
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()
