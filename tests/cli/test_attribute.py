"""`contatto attribute` and `contatto report` as a user runs them."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from contatto import attribute, report
from contatto.cli.main import app
from contatto.measurement.engines import staging
from contatto.measurement.engines.events import MalformedLine
from tests.measurement import oracle
from tests.measurement.cases import world

Row = dict[str, Any]
GOOD: list[Row] = [
    {"type": "business", "business_id": "b", "timezone": "Asia/Bangkok"},
    {"type": "adgroup", "adgroup_id": "g", "campaign_id": "c", "business_id": "b", "goal": "lead"},
    {"type": "touch", "touch_id": 1, "user_id": "u", "adgroup_id": "g", "ad_id": "a", "kind": "click",
     "ts": 0, "cost_micros": 5},
    {"type": "conversion", "conversion_id": 1, "user_id": "u", "business_id": "b", "kind": "lead", "ts": 1},
]  # fmt: skip


def text(rows: list[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def in_order(output: str | list[Row]) -> list[Row]:
    rows = [json.loads(line) for line in output.splitlines()] if isinstance(output, str) else output
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))


def run(*arguments: str, given: str | bytes) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments), input=given)
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("policy", ["click_first", "last_touch"])
def test_standard_input_to_standard_output_agrees_with_brute_force(policy: str) -> None:
    rows: list[Row] = [{"type": "config", "policy": policy}, *world(1), *world(2)]
    code, out, err = run("attribute", given=text(rows))
    assert (code, err) == (0, "")
    assert in_order(out) == in_order(oracle.answer(rows))


def test_the_option_wins_over_the_file() -> None:
    rows: list[Row] = [{"type": "config", "policy": "click_first"}, *world(3)]
    _, out, _ = run("attribute", "--policy", "last_touch", given=text(rows))
    assert in_order(out) == in_order(oracle.answer(rows, "last_touch"))


def test_a_real_process_reads_a_pipe_and_writes_a_file(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "contatto.cli.main", "attribute", "--memory-limit", "200MB"]
    code = "from contatto.cli.main import app; app()"
    command = [sys.executable, "-c", code, *command[3:], "--output", str(target)]
    rows = world(4)
    subprocess.run(command, input=text(rows), text=True, check=True, cwd=tmp_path)
    assert in_order(target.read_text()) == in_order(oracle.answer(rows))


def test_the_report_leaves_the_single_conversions_out(tmp_path: Path) -> None:
    source = tmp_path / "events.jsonl"
    source.write_text(text(GOOD))
    code, out, _ = run("report", str(source), given="")
    assert code == 0
    assert {row["type"] for row in in_order(out)} == {"report", "total", "unattributed"}
    assert in_order(out) == in_order([row for row in oracle.answer(GOOD) if row["type"] != "attribution"])


BAD: Final = (
    ("{", "truncated"),
    ("[]", "Expected `object`"),
    ('{"type": "touched"}', "Invalid value 'touched' - at `$.type`"),
    ('{"type": "config", "policy": "first_touch"}', "first_touch"),
    (json.dumps(GOOD[2] | {"ts": "0"}), "Expected `int`, got `str` - at `$.ts`"),
    (json.dumps(GOOD[2] | {"touch_id": 1.5}), "$.touch_id"),
    (json.dumps(GOOD[2] | {"touch_id": 2**63}), "$.touch_id"),
    (json.dumps(GOOD[2] | {"ts": 2**60}), "$.ts"),
    (json.dumps(GOOD[2] | {"cost_micros": None}), "$.cost_micros"),
    (json.dumps(GOOD[2] | {"kind": "look"}), "Invalid enum value 'look' - at `$.kind`"),
    (json.dumps({"type": "touch", "touch_id": 3}), "missing required field"),
    (json.dumps(GOOD[2] | {"touch_id": 3, "adgroup_id": "unheard"}), "adgroup_id 'unheard' has no row"),
    (json.dumps(GOOD[3] | {"conversion_id": 3, "business_id": "x"}), "business_id 'x' has no row"),
    (json.dumps(GOOD[1] | {"adgroup_id": "h", "business_id": "x"}), "business_id 'x' has no row"),
    ('{"type": "business", "business_id": "x", "timezone": "Mars/Base"}', "Mars/Base"),
    ('{"type": "window", "adgroup_id": "x", "from_ts": 0, "click_s": 1, "view_s": 1}', "'x' has no row"),
    ('{"type": "touch", "more": ' + "[" * 100_000, "nested too deeply"),
    (text([GOOD[0]]).strip() * 2, "malformed"),
    ("\udcff".join(text([GOOD[2]]).split("u", 1)), "UTF-8"),
)


def test_each_bad_line_is_named_and_skipped_and_the_rest_counts() -> None:
    rows, bad = text(GOOD).splitlines(), [line.strip() for line, _ in BAD]
    given = "\n".join([*rows[:2], *bad, "", *rows[2:]]).encode("utf-8", "surrogateescape")
    code, out, err = run("attribute", given=given)
    assert code == 1
    told = dict(re.findall(r"^line (\d+): (.*)$", err, re.M))
    for number, (_, says) in enumerate(BAD, start=3):
        assert says in told.pop(str(number)), BAD[number - 3]
    assert not told
    assert f"{len(BAD)} lines skipped" in err
    assert in_order(out) == in_order(oracle.answer(GOOD))


def test_one_bad_line_is_one() -> None:
    code, out, err = run("attribute", given="{\n" + text(GOOD))
    assert (code, err.startswith("line 1: "), "1 line skipped" in err) == (1, True, True)
    assert in_order(out) == in_order(oracle.answer(GOOD))


def test_faults_beyond_a_hundred_are_counted_and_not_shown() -> None:
    code, _, err = run("attribute", given="x\n" * 250)
    assert code == 1
    assert err.count("line ") == 100
    assert "250 lines skipped (100 are shown)" in err


def test_configuration_may_come_last_and_a_file_may_be_empty() -> None:
    code, out, _ = run("attribute", given=text(list(reversed(GOOD))))
    assert (code, in_order(out)) == (0, in_order(oracle.answer(GOOD)))
    assert run("attribute", given="") == (0, "", "")


def test_an_engine_or_file_that_is_not_there_is_refused() -> None:
    assert run("attribute", "--engine", "abacus", given="")[0] == 2
    assert run("attribute", "nowhere.jsonl", given="")[0] == 2


@pytest.mark.parametrize("chunk", [200, 250, 300, 10_000])
def test_lines_are_whole_however_the_file_is_cut(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(staging, "CHUNK", chunk)
    faults: list[tuple[int, str]] = []
    reader = staging.LineReader(lambda line, fault: faults.append((line, fault)))
    given = [*GOOD[:2], "x" * 11_000, *GOOD[2:]]
    source = io.BytesIO(b"\xef\xbb\xbf" + text(given).encode())
    found = [events for _, events in reader.events(source)]
    rows: list[Any] = [event for batch in found for event in (*batch.touches, *batch.conversions)]
    numbers = [row.line for row in rows]
    assert numbers == [4, 5]
    assert (len(reader.setup.businesses), len(reader.setup.adgroups)) == (1, 1)
    assert [line for line, _ in faults] == [3]


def test_python_gets_typed_rows_and_hears_of_a_bad_line() -> None:
    (row,) = attribute(GOOD)
    assert (row.conversion_id, row.touch_id, row.adgroup_id, row.via) == (1, 1, "g", "click")
    found = report(io.BytesIO(text(GOOD).encode()))
    assert [(day.day, day.leads, day.cost_per_conversion_micros) for day in found.days] == [
        ("1970-01-01", 1, 5)
    ]
    with pytest.warns(MalformedLine, match="line 5"):
        assert report([*GOOD, {"type": "touch"}]) == found
    with pytest.warns(MalformedLine, match="line 5"):
        assert list(attribute([*GOOD, {"type": "touch"}])) == [row]
    with pytest.raises(ValueError, match="abacus"):
        report(GOOD, engine="abacus")
