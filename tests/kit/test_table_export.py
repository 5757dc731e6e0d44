"""Tables as CSV and XLSX."""

import csv
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.kit.table_export import BOM, csv_lines, safe_cell, write_sheet


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_what_would_start_a_formula_gets_an_apostrophe(start: str) -> None:
    assert safe_cell(f"{start}cmd|'/c calc'!A1") == f"'{start}cmd|'/c calc'!A1"


@pytest.mark.parametrize("phone", ["+6581234567", "+390612345678", "+1234567", "+123456789012345"])
def test_a_whole_phone_number_stays_as_it_is(phone: str) -> None:
    assert safe_cell(phone) == phone


@pytest.mark.parametrize(
    "text",
    [
        "+65 8123 4567",
        "+6581234567-1",
        "+0123456789",
        "+1234567890123456",
        "+123456",
        "+6581234567\n",
        "+٦٥٨١٢٣٤٥٦",
    ],
)
def test_what_only_resembles_a_phone_number_does_not(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Mei", "mei@example.com", "a=b", "'=x", " =x"])
def test_plain_text_is_not_touched(text: str) -> None:
    assert safe_cell(text) == text


def test_many_rows_come_in_parts_and_in_order() -> None:
    parts = list(csv_lines(([str(number)] for number in range(501)), bom=True))
    assert parts[0] == BOM
    assert len(parts) == 4
    rows = list(csv.reader(io.StringIO(b"".join(parts[1:]).decode())))
    assert rows == [[str(number)] for number in range(501)]


def test_no_rows_make_no_bytes() -> None:
    assert list(csv_lines([])) == []


@given(
    st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4), max_size=5)
)
def test_every_cell_is_read_back_as_it_was_made_safe(rows: list[list[str]]) -> None:
    written = b"".join(csv_lines(rows)).decode()
    read = list(csv.reader(io.StringIO(written, newline="")))
    wanted = [[safe_cell(cell) for cell in row] for row in rows]
    assert read == wanted


def test_a_lone_surrogate_does_not_end_the_file() -> None:
    assert b"".join(csv_lines([["a\ud800b"]])) == b"a?b\r\n"


def test_numbers_formulas_and_links_are_kept_as_the_texts_that_they_are(tmp_path: Path) -> None:
    path = tmp_path / "table.xlsx"
    cells = ["+393312345678", "=1+1", "@SUM(A1)", "https://example.com", "007", "<b>&\x01", ""]
    write_sheet(path, ["a"] * 7, [cells, cells])
    with zipfile.ZipFile(path) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
        assert not [name for name in book.namelist() if "rels" in name and "worksheets" in name]
    assert "<f>" not in sheet
    assert "<v>" not in sheet.replace('t="inlineStr"', "")
    for text in ("+393312345678", "=1+1", "@SUM(A1)", "https://example.com", "007", "&lt;b&gt;&amp;"):
        assert sheet.count(f">{text}") == 2


def test_an_empty_table_still_has_its_head(tmp_path: Path) -> None:
    path = tmp_path / "table.xlsx"
    write_sheet(path, ["name", "phone"], [])
    with zipfile.ZipFile(path) as book:
        assert "phone" in book.read("xl/worksheets/sheet1.xml").decode()
