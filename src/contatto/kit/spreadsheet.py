"""Tables as XLSX, written row by row: memory stays flat, and a cell is a text unless it is to be a number."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

import xlsxwriter

MOST_ROWS: Final = 1_048_576
"""Rows of one sheet; a larger table goes on in the next."""
_CELL_LIMIT: Final = 32_767


def write_sheet(
    path: Path, head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int] = ()
) -> int:
    """Write a table; say how many rows it has below its head.

    No cell is a formula or a link, whatever it holds, and none a number but those in the columns ``numbers``:
    a phone number keeps its plus.
    """
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True, "in_memory": False})
    count, line = 0, 0
    sheet = None
    for row in rows:
        if sheet is None or line == MOST_ROWS:
            sheet, line = _new_sheet(book, head), 1
        for column, cell in enumerate(row):
            if cell and column in numbers:
                sheet.write_number(line, column, float(cell))
            elif cell:
                sheet.write_string(line, column, cell[:_CELL_LIMIT])
        count, line = count + 1, line + 1
    if sheet is None:
        _new_sheet(book, head)
    book.close()
    return count


def _new_sheet(book: xlsxwriter.Workbook, head: Sequence[str]) -> xlsxwriter.worksheet.Worksheet:
    sheet = book.add_worksheet()
    sheet.freeze_panes(1, 0)
    bold = book.add_format({"bold": True})
    for column, cell in enumerate(head):
        sheet.write_string(0, column, cell, bold)
    return sheet
