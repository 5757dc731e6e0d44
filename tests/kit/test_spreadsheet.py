"""XLSX: every cell is a text, whatever it looks like."""

import zipfile
from pathlib import Path

from contatto.kit.table_export import write_sheet


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
