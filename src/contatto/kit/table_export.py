"""Tables as CSV that opens safely in a spreadsheet and streams line by line."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_STARTS_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_PHONES: Final = re.compile(r"\+[1-9]\d{6,14}(?:, \+[1-9]\d{6,14})*", re.ASCII)
BOM: Final = b"\xef\xbb\xbf"
"""Tells spreadsheets that the bytes are UTF-8."""
_CHUNK_ROWS: Final = 200


def safe_cell(value: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before what would start one.

    A wholly valid E.164 number keeps its plus, and so do several with commas between them: they can do
    nothing, and an apostrophe would spoil the import.

    Source: OWASP, "CSV Injection"; ITU-T E.164 (a plus and 7 to 15 digits).
    """
    if value.startswith(_STARTS_FORMULA) and not _PHONES.fullmatch(value):
        return "'" + value
    return value


def csv_lines(rows: Iterable[Sequence[str]], *, bom: bool = False) -> Iterator[bytes]:
    """Rows as CSV in UTF-8 (RFC 4180), a few hundred rows at a time; every cell is made safe."""
    if bom:
        yield BOM
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    waiting = 0
    for row in rows:
        writer.writerow([safe_cell(cell) for cell in row])
        waiting += 1
        if waiting == _CHUNK_ROWS:
            yield _taken(buffer)
            waiting = 0
    if waiting:
        yield _taken(buffer)


def _taken(buffer: io.StringIO) -> bytes:
    taken = buffer.getvalue().encode("utf-8", "replace")
    buffer.seek(0)
    buffer.truncate()
    return taken
