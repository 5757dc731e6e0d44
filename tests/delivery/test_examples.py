"""Examples are what was known at a moment, as by the plainest Python; nothing later gets in."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

from contatto.delivery.engines.computing import SHARDS, Computing, Embedded
from tests.delivery.logs import COUNTERS, DAY, START, Row, examples_of, random_log, write_log

MOMENTS = (START + 5 * DAY, START + 11 * DAY + 1, START + 60 * DAY)


def made(
    computing: Computing, folder: Path, logs: Sequence[list[Row]], as_of_ts: int
) -> list[tuple[object, ...]]:
    """All columns of all examples, with the shard in which they are."""
    sources = []
    for number, rows in enumerate(logs):
        sources.append(folder / f"log-{number}.parquet")
        write_log(sources[-1], rows)
    computing.make_examples(sources, as_of_ts, folder / "examples")
    return duckdb.execute(
        "SELECT * FROM read_parquet(?, hive_types = {'shard': BIGINT}) ORDER BY ALL",
        [f"{folder}/examples/*/*.parquet"],
    ).fetchall()


def columns(folder: Path) -> list[str]:
    found = duckdb.execute("DESCRIBE FROM read_parquet(?)", [f"{folder}/examples/*/*.parquet"]).fetchall()
    return [str(name) for name, *_ in found]


@pytest.mark.parametrize("as_of_ts", MOMENTS)
def test_logs_by_lot_come_out_as_by_plain_python(tmp_path: Path, as_of_ts: int) -> None:
    for seed in range(1, 4):
        folder = tmp_path / str(seed)
        log = random_log(seed)
        rows = made(Embedded(), folder, [log], as_of_ts)
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
    early = made(Embedded(), tmp_path / "whole", [log], moment)
    assert early == made(Embedded(), tmp_path / "cut", [until], moment)
    late = {row[1]: row for row in made(Embedded(), tmp_path / "at the end", [log], MOMENTS[-1])}
    names = columns(tmp_path / "at the end")
    nonce, counters = names.index("nonce"), [names.index(name) for name in COUNTERS]
    for row in early:
        assert [row[place] for place in counters] == [late[row[nonce]][place] for place in counters]


def test_a_viewer_is_in_one_shard_and_files_are_read_as_one_log(tmp_path: Path) -> None:
    log = random_log(5, decisions=200, viewers=40)
    whole = made(Embedded(), tmp_path / "whole", [log], MOMENTS[-1])
    assert whole == made(Embedded(), tmp_path / "parts", [log[::2], log[1::2]], MOMENTS[-1])
    names = columns(tmp_path / "whole")
    viewer, shard = names.index("user_id"), names.index("shard")
    homes = {(row[viewer], row[shard]) for row in whole if row[viewer]}
    assert len(homes) == len({name for name, _ in homes}) == 40
    assert len({row[shard] for row in whole}) > SHARDS // 2
