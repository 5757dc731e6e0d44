"""Tables out of files of strangers: workbooks in a child, and texts in the encodings that programs write."""

from typing import Final

from contatto.kit import errors
from contatto.kit.errors import Refused

ROWS: Final = "contatto.kit.workbooks:rows_of_workbook"
"""What a child does with a workbook."""
TABLE_LIMIT: Final = 4 * 1024 * 1024
"""Largest file that is read, in bytes."""
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
"""How XLSX and ODS begin, which are archives, and the older XLS."""
_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def is_workbook(raw: bytes) -> bool:
    return raw.startswith(_WORKBOOKS)


def unreadable_workbook() -> Refused:
    return Refused(errors.INVALID, "file: the file cannot be read. Save it as XLSX or CSV and try again.")


def text_of(raw: bytes) -> str:
    """A text: UTF-8, UTF-16 with its mark, or else Windows-1252, which Excel writes in the west."""
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(encoding, "replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")
