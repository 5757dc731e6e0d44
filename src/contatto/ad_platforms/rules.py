"""Progress of pulls, and parsers of platform values and Ads Manager exports."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from babel.numbers import is_currency

from contatto.ad_platforms import model
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, LazyText
from contatto.kit.outbound.model import NotNow, RetryPlan
from contatto.kit.values import LARGEST, decimal_places, read_number, to_micros
from contatto.measurement.model import MeasuredAd

EVERY_S: Final = 3_600.0
"""Seconds between two pulls of an account."""
RECENT_DAYS: Final = 3
"""Days before the last one that each pull reads again."""
CORRECTED_DAYS: Final = 28
"""Days that are read again once a day.

Source: Meta, Insights API: figures are final 28 days after they are reported. TikTok corrects for less long.
"""
CHUNK_DAYS: Final = 30
"""Most days of one request. Source: TikTok, /report/integrated/get/ with stat_time_day."""
MOST_BACKFILL: Final = 730
"""Most days before today that a pull reads."""
PLAN: Final = RetryPlan((60, 300, 1_800, 7_200, *(21_600 for _ in range(28))))
"""Retries for about a week; then a person has to restart the pull, which reads all that is missing."""
REPEATED: Final = NotNow("repeated_cursor")
STOPS: Final[Mapping[str, str]] = {
    "account_not_shared": N_("The token has no access to this ad account"),
    "app_missing": N_("The app of this connection is no longer registered. Register it under Channels"),
    "not_json": N_("The response of the platform could not be read"),
    "platform_away": N_("The platform is not available"),
    "repeated_cursor": N_("The platform repeats the same page"),
    "token_missing": N_("The access token is missing. Add one"),
    "token_refused": N_("The platform no longer accepts the access token"),
    "too_fast": N_("The platform's rate limit is reached"),
}
"""Reasons why a pull waits or stopped, as sentences."""
_ORDER: Final = tuple(model.Part)


WALKS: Final = msgspec.json.Decoder(model.Walk)


def follow_cursor(walk: model.Walk, cursor: str) -> model.Walk | None:
    """Return the position of the next page; None for a repeated cursor, found as in `Walk`."""
    if cursor in (walk.cursor, walk.anchor):
        return None
    if walk.steps + 1 < walk.reach:
        return replace(walk, cursor=cursor, steps=walk.steps + 1)
    return replace(walk, cursor=cursor, anchor=cursor, steps=0, reach=2 * walk.reach)


def next_part(walk: model.Walk, account: model.OutsideAccount, at: datetime) -> model.Walk | None:
    """Return the position after a finished part or chunk of days; None at the end of the pull."""
    fresh = replace(walk, cursor="", anchor="", steps=0, reach=1)
    if walk.part is model.Part.SPEND:
        if walk.last >= walk.through:
            return None
        through, first = date.fromisoformat(walk.through), date.fromisoformat(walk.last) + timedelta(days=1)
    else:
        part = _ORDER[_ORDER.index(walk.part) + 1]
        if part is not model.Part.SPEND:
            return replace(fresh, part=part)
        through = today = at.astimezone(ZoneInfo(account.timezone or "UTC")).date()
        # The whole backfill at first, later the days that may be corrected.
        first = today - timedelta(days=account.backfill_days)
        if account.pulled_through:
            back = RECENT_DAYS if account.deep_day == today.isoformat() else CORRECTED_DAYS
            pulled = min(today, date.fromisoformat(account.pulled_through))
            first = max(pulled - timedelta(days=back), today - timedelta(days=MOST_BACKFILL))
    last = min(through, first + timedelta(days=CHUNK_DAYS - 1))
    return replace(
        fresh,
        part=model.Part.SPEND,
        first=first.isoformat(),
        last=last.isoformat(),
        through=through.isoformat(),
    )


def page_of(
    walk: model.Walk,
    cursor: str,
    rows: Sequence[dict[str, Any]],
    node_of: Callable[[model.NodeLevel, dict[str, Any]], model.OutsideNode | None],
    day_of: Callable[[dict[str, Any]], model.AdDay | None],
) -> model.RowPage:
    """Return the rows of an answer as a page; unreadable ones are counted."""
    if walk.part is model.Part.SPEND:
        days = [day_of(row) for row in rows]
        return model.RowPage((), tuple(day for day in days if day), cursor, days.count(None))
    nodes = [node_of(model.LEVEL_OF[walk.part], row) for row in rows]
    return model.RowPage(tuple(node for node in nodes if node), (), cursor, nodes.count(None))


NAME_LIMIT: Final = 300
_MOST_COUNT: Final = 10**15


def platform_number(value: object) -> int | None:
    """Return an id, which may come as text or as a number; None for anything else."""
    if isinstance(value, bool):
        return None
    number = (
        value if isinstance(value, int) else read_number(value.strip()) if isinstance(value, str) else None
    )
    return number if number is not None and 0 < number <= LARGEST else None


def platform_ad_day(
    ad_id: object, day: object, spend: object, figures: Mapping[str, Any]
) -> model.AdDay | None:
    """Return the figures of an ad and day; None without an id, a day or an amount.

    ``day`` is ``YYYY-MM-DD`` or ``YYYY-MM-DD HH:MM:SS``; ``spend`` is in units of the currency.
    """
    number, text = platform_number(ad_id), day.strip()[:10] if isinstance(day, str) else ""
    is_amount = not isinstance(spend, bool)
    if number is None or len(text) != 10 or not (is_amount and isinstance(spend, str | int | float)):
        return None
    impressions, clicks = (platform_count(figures.get(name)) or 0 for name in ("impressions", "clicks"))
    try:
        return model.AdDay(
            number, date.fromisoformat(text).isoformat(), to_micros(spend), impressions, clicks
        )
    except ValueError:
        return None


def platform_count(sent_value: object) -> int | None:
    """Return a count, which may be text and have a fraction of zeros."""
    if isinstance(sent_value, bool) or not isinstance(sent_value, str | int | float):
        return None
    try:
        value = float(sent_value)
    except ValueError:
        return None
    return int(value) if 0 <= value < _MOST_COUNT and value == int(value) else None


def known_zone(value: object) -> str:
    """Return an IANA time zone; UTC for another name."""
    return value if isinstance(value, str) and value in available_timezones() else "UTC"


def known_currency(value: object) -> str:
    """Return a currency's three letters, also for a withdrawn one; empty for anything else."""
    text = value.strip().upper() if isinstance(value, str) else ""
    return text if is_currency(text) else ""


def short_name(value: object) -> str:
    return value.replace("\0", "")[:NAME_LIMIT] if isinstance(value, str) else ""


class KnownAds:
    """Mirrored ads by their numbers on the platforms; ``external_ids`` of their accounts are by our ids."""

    def __init__(self, ads: Iterable[MeasuredAd], external_ids: Mapping[str, str]) -> None:
        self._ads: defaultdict[tuple[str | None, int], list[MeasuredAd]] = defaultdict(list)
        self._external_ids = external_ids
        for ad in ads:
            self._ads[ad.platform, ad.ad_number].append(ad)

    def find(self, platform: model.AdPlatform | None, ad_number: int, advertiser: str) -> MeasuredAd | None:
        """Return the one ad with this number, of an account with this external id if it is given."""
        matches = self._ads.get((platform, ad_number), [])
        if advertiser:
            matches = [ad for ad in matches if self._external_ids.get(ad.ad_account_id) == advertiser]
        return matches[0] if len(matches) == 1 else None

    def is_ambiguous(self, platform: model.AdPlatform | None, ad_number: int) -> bool:
        return len(self._ads.get((platform, ad_number), ())) > 1


class Column(StrEnum):
    """Column of an uploaded file; errors show its value."""

    DAY = "Day"
    AD_ID = "Ad ID"
    AD_NAME = "Ad name"
    AD_GROUP_ID = "Ad group ID"
    AD_GROUP_NAME = "Ad group name"
    CAMPAIGN_ID = "Campaign ID"
    CAMPAIGN_NAME = "Campaign name"
    SPEND = "Cost"
    IMPRESSIONS = "Impressions"
    CLICKS = "Clicks"
    CURRENCY = "Currency"


_NAMES: Final[Mapping[Column, str]] = {
    Column.DAY: """
        day|by day|date|stat time day|reporting starts|giorno|per giorno|data|inizio report|día|por día|
        fecha|inicio del informe|dia|por dia|início dos relatórios|hari|per hari|menurut hari|tanggal|
        awal pelaporan|mulai pelaporan|วัน|ตามวัน|รายวัน|วันที่|การเริ่มรายงาน|ngày|theo ngày|
        lượt bắt đầu báo cáo|bắt đầu báo cáo|日|日付|日別|レポート開始日|レポートの開始日|اليوم|
        حسب اليوم|يوم|التاريخ|بداية التقارير|بداية إعداد التقارير
    """,
    Column.AD_ID: """
        ad id|ad_id|id inserzione|id annuncio|id dell'inserzione|id dell'annuncio|
        identificador del anuncio|id. del anuncio|id del anuncio|id de anuncio|identificação do anúncio|
        id do anúncio|identificador do anúncio|id iklan|ID โฆษณา|รหัสโฆษณา|หมายเลขโฆษณา|id quảng cáo|
        広告id|معرّف الإعلان|معرف الإعلان
    """,
    Column.AD_NAME: """
        ad name|ad_name|nome inserzione|nome dell'inserzione|nome annuncio|nome dell'annuncio|
        nombre del anuncio|nome do anúncio|nama iklan|ชื่อโฆษณา|tên quảng cáo|広告名|広告の名前|
        اسم الإعلان
    """,
    Column.AD_GROUP_ID: """
        ad group id|adgroup id|adgroup_id|ad set id|adset id|id gruppo di inserzioni|
        id gruppo di annunci|id gruppo inserzioni|identificador del conjunto de anuncios|
        id del conjunto de anuncios|id del grupo de anuncios|identificação do conjunto de anúncios|
        id do conjunto de anúncios|id do grupo de anúncios|id set iklan|id grup iklan|ID ชุดโฆษณา|
        ID กลุ่มโฆษณา|รหัสกลุ่มโฆษณา|id nhóm quảng cáo|広告セットid|広告グループid|
        معرّف المجموعة الإعلانية|معرف المجموعة الإعلانية|معرّف مجموعة الإعلانات|معرف مجموعة الإعلانات
    """,
    Column.AD_GROUP_NAME: """
        ad group name|adgroup name|adgroup_name|ad set name|adset name|nome gruppo di inserzioni|
        nome gruppo di annunci|nome del gruppo di inserzioni|nome del gruppo di annunci|
        nombre del conjunto de anuncios|nombre del grupo de anuncios|nome do conjunto de anúncios|
        nome do grupo de anúncios|nama set iklan|nama grup iklan|ชื่อชุดโฆษณา|ชื่อกลุ่มโฆษณา|
        tên nhóm quảng cáo|広告セット名|広告セットの名前|広告グループ名|اسم المجموعة الإعلانية|
        اسم مجموعة الإعلانات
    """,
    Column.CAMPAIGN_ID: """
        campaign id|campaign_id|id campagna|id della campagna|identificador de la campaña|
        id. de la campaña|id de la campaña|id de campaña|identificação da campanha|id da campanha|
        identificador da campanha|id kampanye|ID แคมเปญ|รหัสแคมเปญ|id chiến dịch|キャンペーンid|
        معرّف الحملة|معرف الحملة
    """,
    Column.CAMPAIGN_NAME: """
        campaign name|campaign_name|nome campagna|nome della campagna|nombre de la campaña|
        nome da campanha|nama kampanye|ชื่อแคมเปญ|tên chiến dịch|キャンペーン名|キャンペーンの名前|
        اسم الحملة
    """,
    Column.SPEND: """
        cost|total cost|spend|amount spent|amount_spent|costo|costo totale|spesa|importo speso|coste|
        coste total|costo total|gasto|importe gastado|custo|custo total|valor usado|valor gasto|
        quantia gasta|biaya|total biaya|jumlah yang dibelanjakan|jumlah dibelanjakan|ค่าใช้จ่าย|ต้นทุน|
        จำนวนเงินที่ใช้จ่ายไป|จำนวนเงินที่ใช้ไป|ยอดใช้จ่าย|chi phí|tổng chi phí|số tiền đã chi tiêu|
        số tiền chi tiêu|費用|コスト|合計費用|消化金額|التكلفة|إجمالي التكلفة|المبلغ الذي تم إنفاقه|
        المبلغ المنفق|الإنفاق
    """,
    Column.IMPRESSIONS: """
        impressions|impression|visualizzazioni|impression totali|impresiones|impressões|impresi|
        tayangan|อิมเพรสชั่น|อิมเพรสชัน|การแสดงผล|จำนวนการแสดงผล|lượt hiển thị|số lần hiển thị|
        インプレッション|インプレッション数|表示回数|مرات الظهور|عدد مرات الظهور
    """,
    Column.CLICKS: """
        clicks|clicks all|clicks (all)|clicks (destination)|link clicks|clic|click|clic (tutti)|
        clic sul link|clics|clics (todos)|clics en el enlace|cliques|cliques (todos)|cliques no link|
        klik|klik (semua)|klik tautan|คลิก|จำนวนคลิก|การคลิก|คลิก (ทั้งหมด)|การคลิกลิงก์|lượt nhấp|
        lượt click|số lần nhấp|lượt nhấp vào liên kết|クリック|クリック数|クリック(すべて)|
        リンクのクリック|النقرات|عدد النقرات|النقرات (الكل)|نقرات الرابط|نقرات
    """,
    Column.CURRENCY: """
        currency|valuta|moneda|divisa|moeda|mata uang|สกุลเงิน|tiền tệ|đơn vị tiền tệ|通貨|العملة
    """,
}


HEADERS: Final[Mapping[str, Column]] = {
    " ".join(name.split()).casefold(): column
    for column, names in _NAMES.items()
    for name in names.split("|")
    if name.strip()
}
"""Columns by their names in small letters.

Source: exports of both Ads Managers, in en, it, es, pt-BR, id, th, vi, ja and ar.
"""


MOST_ROWS: Final = 20_000
MOST_COLUMNS: Final = 200
_NEEDED: Final = (Column.DAY, Column.SPEND)
_DELIMITERS: Final = ",;\t"
_DAY_ZERO: Final = date(1899, 12, 30)
"""Day 0 of a spreadsheet. Source: ECMA-376, part 1, 18.17.4.1 (with its leap year of 1900)."""
_YEARS: Final = range(2015, 2101)
_ISO: Final = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[ T].*)?")
_SERIAL: Final = re.compile(r"4\d{4}(?:\.0+)?|5\d{4}(?:\.0+)?")
_CURRENCY: Final = re.compile(r"[(（]\s*([A-Z]{3})\s*[)）]")
_BRACKETS: Final = re.compile(r"\s*[(（][^)）]*[)）]\s*")


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A row of a file: an ad with its campaign, and its cost of a day; missing numbers are 0."""

    day: model.AdDay
    currency: str = ""
    ad_name: str = ""
    ad_group_number: int = 0
    ad_group_name: str = ""
    campaign_number: int = 0
    campaign_name: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Skipped row, numbered from 1 below the head, and the reason."""

    number: int
    reason: LazyText


@dataclass(frozen=True, slots=True)
class AdSheet:
    """Rows of a file, added up by ad and day, and rows left out."""

    rows: tuple[SheetRow, ...]
    left_out: tuple[LeftOut, ...]


class _Unreadable(Exception):
    def __init__(self, text: str, **values: str) -> None:
        self.says = LazyText(text, **values)
        super().__init__(text)


def read_ad_sheet(text: str, names: Mapping[str, int]) -> AdSheet:
    """Read a file as CSV with a head; ``names`` are ads by unique name, for rows without an ad's id.

    Raises INVALID without the required columns or a row, or with too many rows or columns.
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
    head_currency = _CURRENCY.search(table[0][columns.index(Column.SPEND)])
    table = table[1:]
    currency = head_currency.group(1) if head_currency else ""
    # of two equal columns the first counts
    rows = [dict(reversed(list(zip(columns, cells, strict=False)))) for cells in table]
    currencies = {known_currency(cells.get(Column.CURRENCY, "")) for cells in rows} | {currency}
    amounts = [cells.get(Column.SPEND, "").strip().removeprefix("'") for cells in rows]
    mark = decimal_mark(amounts, has_decimals=all(map(decimal_places, currencies)))
    rows_by_key: dict[tuple[int, str], SheetRow] = {}
    left_out: list[LeftOut] = []
    seen_rows: set[tuple[str, ...]] = set()
    for number, (cells, by_column) in enumerate(zip(table, rows, strict=True), 1):
        try:
            if tuple(cells) in seen_rows:
                raise _Unreadable("The same row stands above")
            seen_rows.add(tuple(cells))
            row = _read_row(by_column, (currency, mark), names)
        except _Unreadable as unreadable:
            left_out.append(LeftOut(number, unreadable.says))
            continue
        key = row.day.ad_number, row.day.day
        if key in rows_by_key:  # another part of the ad's day, such as a second placement
            first, second = rows_by_key[key].day, row.day
            day = replace(
                first,
                spend_micros=first.spend_micros + second.spend_micros,
                impressions=first.impressions + second.impressions,
                clicks=first.clicks + second.clicks,
            )
            row = replace(rows_by_key[key], day=day)
        rows_by_key[key] = row
    return AdSheet(tuple(rows_by_key.values()), tuple(left_out))


def _table(text: str) -> list[tuple[str, ...]]:
    """Return the rows of a text from the head on, as exports may have other lines above it."""
    plain = text.removeprefix("\ufeff").replace("\0", "")
    lines = plain.splitlines()
    first = next(
        (line for line in lines[:20] if any(_is_head(line.split(delimiter)) for delimiter in _DELIMITERS)),
        lines[0] if lines else "",
    )
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        table = [tuple(row) for row in csv.reader(io.StringIO(plain), delimiter=delimiter) if any(row)]
    except csv.Error as error:
        raise Refused(errors.INVALID, "file: This is not a CSV file. Export it again as CSV.") from error
    head = next((place for place, row in enumerate(table[:20]) if _is_head(row)), 0)
    if table and len(table[head]) > MOST_COLUMNS:
        raise Refused(errors.INVALID, "file: The file may have at most %(most)s columns.", most=MOST_COLUMNS)
    return table[head:]


def _is_head(cells: Sequence[str]) -> bool:
    return {Column.DAY, Column.SPEND} <= {_column(cell) for cell in cells}


def _column(cell: str) -> Column | None:
    word = " ".join(_BRACKETS.sub(" ", cell.strip().strip('"')).casefold().split())
    return HEADERS.get(word) or HEADERS.get(" ".join(cell.strip().strip('"').casefold().split()))


def _read_row(
    cells: Mapping[Column | None, str], currency_and_mark: tuple[str, str], names: Mapping[str, int]
) -> SheetRow:
    currency, mark = currency_and_mark
    texts = {column: cell.strip().removeprefix("'") for column, cell in cells.items() if column}
    ad_name = short_name(texts.get(Column.AD_NAME, ""))
    day_text, day = texts.get(Column.DAY, ""), None
    with suppress(ValueError):
        if iso := _ISO.fullmatch(day_text):
            day = date(*map(int, iso.groups()))
        elif _SERIAL.fullmatch(day_text):
            day = _DAY_ZERO + timedelta(days=int(float(day_text)))
    if day is None or day.year not in _YEARS:
        raise _Unreadable("This is no day such as 2026-01-31; export the figures by day")
    spend = _amount(texts.get(Column.SPEND, ""), mark)
    id_text = texts.get(Column.AD_ID, "")
    number = _number(id_text)
    if number is None:
        if re.fullmatch(r"\d+(?:[.,]\d+)?[eE]\+?\d+", id_text):
            raise _Unreadable("A spreadsheet has shortened the ad's id; export it again as text")
        if id_text:
            raise _Unreadable("This is no ad's id")
        if not ad_name:
            raise _Unreadable("It names no ad")
        if ad_name not in names:
            raise _Unreadable("It has no ad's id, and no one ad has this name")
        number = names[ad_name]
    impressions, clicks = (_count(texts.get(column, "")) for column in (Column.IMPRESSIONS, Column.CLICKS))
    return SheetRow(
        model.AdDay(number, day.isoformat(), spend, impressions, clicks),
        known_currency(texts.get(Column.CURRENCY, "")) or currency,
        ad_name,
        _number(texts.get(Column.AD_GROUP_ID, "")) or 0,
        short_name(texts.get(Column.AD_GROUP_NAME, "")),
        _number(texts.get(Column.CAMPAIGN_ID, "")) or 0,
        short_name(texts.get(Column.CAMPAIGN_NAME, "")),
    )


def _number(text: str) -> int | None:
    """Read an id, which exports protect from spreadsheets by a prefix such as ``ag:``."""
    return platform_number(text.rpartition(":")[2].strip())


def _amount(text: str, mark: str) -> int:
    """Read an amount in micros; ``mark`` is the decimal mark of the file, empty if unclear."""
    digits = _digits_of(text)
    if digits is None:
        raise _Unreadable("This is no amount")
    if not mark and _TWO_WAYS.fullmatch(digits):
        raise _Unreadable("This amount can be read in two ways")
    if mark == NO_DECIMALS and _GROUPED.fullmatch(digits):
        digits = re.sub("[.,]", "", digits)
    used = mark if mark == "," else "."
    plain = digits.replace("." if used == "," else ",", "").replace(used, ".")
    if not _PLAIN.fullmatch(plain):
        raise _Unreadable("This is no amount")
    try:
        return to_micros(plain)
    except ValueError as error:
        raise _Unreadable("This is no amount") from error


def _count(text: str) -> int:
    digits = _digits_of(text)
    grouped = _GROUPED.fullmatch(digits or "")
    plain = re.sub("[.,]", "", digits or "") if grouped else (digits or "").removesuffix(".0")
    if not plain.isdecimal() or len(plain) > 15:
        raise _Unreadable("This is no count")
    return int(plain)


_TWO_WAYS: Final = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
"""Amounts that may be a thousand or a fraction."""
_GROUPED: Final = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
NO_DECIMALS: Final = "none"
"""Decimal mark of a currency without decimals."""
_PLAIN: Final = re.compile(r"\d+(?:\.\d+)?")
_NOT_DIGITS: Final = re.compile(r"[\s\u00a0\u202f'’]|[A-Z]{3}|[^\w.,\-]")


def _digits_of(text: str) -> str | None:
    """Return digits and marks of a number, without its currency; "0" for no digits, None for other text."""
    digits = _NOT_DIGITS.sub("", text)
    if not digits.strip("-"):
        return None if text.strip("-–— ") else "0"
    return digits if re.fullmatch(r"\d[\d.,]*", digits) else None


def decimal_mark(texts: Iterable[str], *, has_decimals: bool) -> str:
    """Return the decimal mark of these amounts; empty where it is unclear or they disagree.

    Without ``has_decimals`` marks only group digits; then return NO_DECIMALS.
    """
    if not has_decimals:
        return NO_DECIMALS
    marks = set()
    for text in texts:
        digits = _digits_of(text) or ""
        last = max(digits.rfind("."), digits.rfind(","))
        if last < 0:
            continue
        mark, other_mark = digits[last], "," if digits[last] == "." else "."
        if digits.count(mark) > 1:
            marks.add(other_mark)
        elif other_mark in digits or len(digits) - last - 1 != 3 or digits.startswith("0"):
            marks.add(mark)  # else the digits may be a thousand or a fraction
    return marks.pop() if len(marks) == 1 else ""
