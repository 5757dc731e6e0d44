"""Tables out of files of strangers: workbooks in a child, and texts in the encodings that programs write."""

from io import BytesIO
from typing import Final

import msgspec
from python_calamine import CalamineError, CalamineWorkbook

from contatto.kit import errors
from contatto.kit.errors import Refused

TABLE_LIMIT: Final = 4 * 1024 * 1024
"""Largest file that is read, in bytes."""
MOST_LINES: Final = 50_000
"""Lines that are read of a workbook; what may be imported of it is for its reader to say."""
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
"""How XLSX and ODS begin, which are archives, and the older XLS."""
_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def is_workbook(raw: bytes) -> bool:
    return raw.startswith(_WORKBOOKS)


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
    raise Refused(errors.INVALID, "file: it is empty.")


def unreadable_workbook() -> Refused:
    return Refused(errors.INVALID, "file: it cannot be read. Save it as XLSX or CSV and try again.")


def _text(cell: object) -> str:
    """A cell as it is written; a number without the point that spreadsheets keep, since it may be a phone."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    return str(cell)


def text_of(raw: bytes) -> str:
    """A text: UTF-8, UTF-16 with its mark, or else Windows-1252, which Excel writes in the west."""
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(encoding, "replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")
