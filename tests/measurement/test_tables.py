"""Events as Parquet and CSV give what the same events give as JSON Lines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from contatto import report
from contatto.measurement.engines.events import EngineOptions, EventReport, answered, load_report
from contatto.measurement.engines.staging import MissingTable
from tests.measurement.cases import world

Row = dict[str, Any]
NUMBERS = {"touch_id", "conversion_id", "ts", "from_ts", "cost_micros", "click_s", "view_s"}
TYPES = ("business", "adgroup", "window", "touch", "conversion")


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [row for seed in (11, 12, 13) for row in world(seed)]


def write(rows: list[Row], target: Path, form: str) -> None:
    source = target.parent / "rows.jsonl"
    target.parent.mkdir(parents=True, exist_ok=True)
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {name: "BIGINT" if name in NUMBERS else "VARCHAR" for row in rows for name in row}
    duckdb.sql(f"COPY (FROM read_json('{source}', columns = {columns})) TO '{target}' (FORMAT {form})")
    source.unlink()


def as_folder(rows: list[Row], folder: Path) -> Path:
    for name in TYPES:
        form = "csv" if name in {"adgroup", "conversion"} else "parquet"
        write([row for row in rows if row["type"] == name], folder / f"{name}.{form}", form)
    return folder


def as_daily_files(rows: list[Row], folder: Path) -> Path:
    as_folder(rows, folder)
    (folder / "touch.parquet").unlink()
    touches = [row for row in rows if row["type"] == "touch"]
    for day in range(3):
        write(touches[day::3], folder / "touch" / f"day={day}" / "part-1.parquet", "parquet")
    return folder


def as_one(form: str) -> Callable[[list[Row], Path], Path]:
    def build(rows: list[Row], folder: Path) -> Path:
        write(rows, folder / f"events.{form}", form)
        return folder / f"events.{form}"

    return build


@pytest.mark.parametrize("build", [as_folder, as_daily_files, as_one("parquet"), as_one("csv")])
def test_tables_give_what_lines_give(
    rows: list[Row], tmp_path: Path, build: Callable[[list[Row], Path], Path]
) -> None:
    assert in_order(report(build(rows, tmp_path / "in"))) == in_order(report(rows))


def in_order(found: EventReport) -> list[list[Any]]:
    return [sorted(rows, key=str) for rows in (found.days, found.totals, found.unattributed)]


def test_rows_that_cannot_be_read_are_told_by_number(rows: list[Row], tmp_path: Path) -> None:
    folder = as_folder(rows, tmp_path)
    (folder / "conversion.csv").write_text(
        "conversion_id,user_id,business_id,kind,ts\n1,u,b11-0,lead,1.5\n,u,b11-0,lead,0\n3,u,b11-0,sale,0\n"
    )
    faults: list[tuple[int, str]] = []
    with answered(folder, EngineOptions(), lambda line, fault: faults.append((line, fault))) as staged:
        assert sum(row.leads + row.conversations for row in load_report(staged).unattributed) == 0
    assert sorted(faults) == [
        (1, "conversion: ts is not a whole number of microseconds within the years 1 to 9999"),
        (2, "conversion: conversion_id is not a whole number of 64 bits"),
        (3, "conversion: kind is not conversation or lead"),
    ]


def test_a_table_or_column_that_is_missing_is_named(rows: list[Row], tmp_path: Path) -> None:
    folder = as_folder(rows, tmp_path)
    (folder / "conversion.csv").write_text("conversion_id,user_id\n1,u\n")
    with pytest.raises(MissingTable, match="`conversion` has no column business_id, kind, ts"):
        report(folder)
    (folder / "conversion.csv").unlink()
    with pytest.raises(MissingTable, match="no table `conversion`"):
        report(folder)
