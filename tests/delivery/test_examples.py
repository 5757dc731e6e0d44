"""Examples are what was known at a moment, as by the plainest Python; nothing later gets in."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

from contatto.delivery.engines import files as engines
from contatto.delivery.engines.files import MakeExamples, list_batches, make_examples, read_batch
from tests.delivery.logs import COUNTERS, DAY, START, Row, examples_of, random_log, write_log

MOMENTS = (START + 5 * DAY, START + 11 * DAY + 1, START + 60 * DAY)


def made(
    computing: MakeExamples, folder: Path, logs: Sequence[list[Row]], as_of_ts: int
) -> list[tuple[object, ...]]:
    """All columns of all examples."""
    sources = []
    for number, rows in enumerate(logs):
        sources.append(folder / f"log-{number}.parquet")
        write_log(sources[-1], rows)
    computing(sources, as_of_ts, folder / "examples")
    found = duckdb.execute("SELECT * FROM read_parquet(?) ORDER BY ALL", [f"{folder}/examples/*.parquet"])
    return found.fetchall()


def columns(folder: Path) -> list[str]:
    found = duckdb.execute("DESCRIBE FROM read_parquet(?)", [f"{folder}/examples/*.parquet"]).fetchall()
    return [str(name) for name, *_ in found]


@pytest.mark.parametrize("as_of_ts", MOMENTS)
def test_logs_by_lot_come_out_as_by_plain_python(tmp_path: Path, as_of_ts: int) -> None:
    for seed in range(1, 4):
        folder = tmp_path / str(seed)
        log = random_log(seed)
        rows = made(make_examples, folder, [log], as_of_ts)
        names = columns(folder)
        found = sorted((dict(zip(names, row, strict=True)) for row in rows), key=lambda row: row["nonce"])  # type: ignore[arg-type, return-value]
        wanted = examples_of(log, as_of_ts)
        assert [{name: row[name] for name in wanted[0]} for row in found] == wanted
        assert sum(row["leads"] for row in wanted) or as_of_ts < MOMENTS[-1]


def test_what_arrives_later_changes_nothing_of_what_was_known(tmp_path: Path) -> None:
    """Examples of a moment are those of the log that had arrived by then; counters never change after it."""
    log, moment = random_log(7, decisions=120), MOMENTS[1]
    until = [row for row in log if row["arrived_ts"] <= moment]
    assert len(until) < len(log)
    early = made(make_examples, tmp_path / "whole", [log], moment)
    assert early == made(make_examples, tmp_path / "cut", [until], moment)
    late = {row[1]: row for row in made(make_examples, tmp_path / "at the end", [log], MOMENTS[-1])}
    names = columns(tmp_path / "at the end")
    nonce, counters = names.index("nonce"), [names.index(name) for name in COUNTERS]
    for row in early:
        assert [row[place] for place in counters] == [late[row[nonce]][place] for place in counters]


def test_files_are_read_as_one_log(tmp_path: Path) -> None:
    log = random_log(5, decisions=200, viewers=40)
    whole = made(make_examples, tmp_path / "whole", [log], MOMENTS[-1])
    assert whole == made(make_examples, tmp_path / "parts", [log[::2], log[1::2]], MOMENTS[-1])


@pytest.mark.parametrize("rows", [1, 30, 10_000])
def test_batches_hold_each_example_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(engines, "BATCH_ROWS", rows)
    examples = made(make_examples, tmp_path, [random_log(5, decisions=200, viewers=40)], MOMENTS[-1])
    parts = list_batches(tmp_path / "examples")
    batches = [read_batch(tmp_path / "examples", each) for each in parts]
    assert sum(len(batch["ts"]) for batch in batches) == len(examples) > 100
    assert (len(batches) > 1) is (rows < 10_000)
    assert [each.stop for each in parts[:-1]] <= [each.start for each in parts[1:]]


def test_of_no_examples_there_is_an_empty_batch(tmp_path: Path) -> None:
    assert made(make_examples, tmp_path, [random_log(5)], START - DAY) == []
    (parts,) = list_batches(tmp_path / "examples")
    assert len(read_batch(tmp_path / "examples", parts)["ts"]) == 0
