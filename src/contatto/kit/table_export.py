"""Table downloads as CSV and XLSX, streamed row by row."""

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from importlib import import_module
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Final

_STARTS_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_PHONES: Final = re.compile(r"\+[1-9]\d{6,14}(?:, \+[1-9]\d{6,14})*", re.ASCII)
BOM: Final = b"\xef\xbb\xbf"
"""Prefix that makes spreadsheets read the bytes as UTF-8."""
_CHUNK_ROWS: Final = 200


def safe_cell(value: str) -> str:
    """Return a cell that no spreadsheet evaluates: put an apostrophe before the start of a formula.

    E.164 numbers, alone or in a list with commas, keep their plus. They are harmless, and an apostrophe
    would spoil an import.

    Source: OWASP, "CSV Injection"; ITU-T E.164 (a plus and 7 to 15 digits).
    """
    if value.startswith(_STARTS_FORMULA) and not _PHONES.fullmatch(value):
        return "'" + value
    return value


def csv_lines(rows: Iterable[Sequence[str]], *, bom: bool = False) -> Iterator[bytes]:
    """Yield rows as CSV in UTF-8 (RFC 4180), 200 rows at a time; `safe_cell` treats every cell."""
    if bom:
        yield BOM
    for chunk in batched(rows, _CHUNK_ROWS):
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        for row in chunk:
            writer.writerow([safe_cell(cell) for cell in row])
        yield buffer.getvalue().encode("utf-8", "replace")


if TYPE_CHECKING:
    import xlsxwriter

MOST_ROWS: Final = 1_048_576
"""Most rows of one sheet; a larger table continues in another sheet."""
_CELL_LIMIT: Final = 32_767


class SheetFile:
    """XLSX file, written some rows at a time; close it afterwards.

    Only the columns ``numbers`` contain numbers. All other cells are text, never formulas or links, so a
    phone number keeps its plus.
    """

    def __init__(self, path: Path, head: Sequence[str], numbers: Collection[int] = ()) -> None:
        workbook = import_module("xlsxwriter").Workbook  # 16 MiB that a process without exports does without
        self._book: xlsxwriter.Workbook = workbook(str(path), {"constant_memory": True, "in_memory": False})
        self._head = head
        self._numbers = frozenset(numbers)
        self._sheet = _new_sheet(self._book, head)
        self._line = 1

    def add_rows(self, rows: Iterable[Sequence[str]]) -> None:
        for row in rows:
            if self._line == MOST_ROWS:
                self._sheet, self._line = _new_sheet(self._book, self._head), 1
            for column, cell in enumerate(row):
                if cell and column in self._numbers:
                    self._sheet.write_number(self._line, column, float(cell))
                elif cell:
                    self._sheet.write_string(self._line, column, cell[:_CELL_LIMIT])
            self._line += 1

    def close(self) -> None:
        self._book.close()


def write_sheet(
    path: Path, head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int] = ()
) -> None:
    """Write a whole table; see ``SheetFile``."""
    sheet = SheetFile(path, head, numbers)
    sheet.add_rows(rows)
    sheet.close()


def _new_sheet(book: "xlsxwriter.Workbook", head: Sequence[str]) -> "xlsxwriter.worksheet.Worksheet":
    sheet = book.add_worksheet()
    sheet.freeze_panes(1, 0)
    bold = book.add_format({"bold": True})
    for column, cell in enumerate(head):
        sheet.write_string(0, column, cell, bold)
    return sheet
