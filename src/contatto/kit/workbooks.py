"""Rows of workbooks, read in a child: nothing that the server itself loads may import this."""

from io import BytesIO
from typing import Final

import msgspec
from python_calamine import CalamineError, CalamineWorkbook

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.tables import unreadable_workbook

MOST_LINES: Final = 50_000
"""Lines that are read of a workbook; what may be imported of it is for its reader to say."""


def rows_of_workbook(raw: bytes) -> bytes:
    """The first sheet with anything in it as JSON: a list of lists of texts. Run this in a child.

    Raises:
        Refused: INVALID.
    """
    try:
        book = CalamineWorkbook.from_filelike(BytesIO(raw))
        for name in book.sheet_names:
            rows = book.get_sheet_by_name(name).to_python(nrows=MOST_LINES)
            if rows:
                return msgspec.json.encode([[_text(cell) for cell in row] for row in rows])
    except (CalamineError, OSError, ValueError) as error:
        raise unreadable_workbook() from error
    raise Refused(errors.INVALID, "file: the file is empty.")


def _text(cell: object) -> str:
    """A cell as it is written; a number without the point that spreadsheets keep, since it may be a phone."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    return str(cell)
