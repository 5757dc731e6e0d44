"""Every benchmark takes --quick and --json FILE, and the harness that it stands on measures truly."""

import json
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import harness
from bench.decision_parts.parts import PARTS
from bench.delivery_parts import without

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path for path in (ROOT / "bench").glob("*.py") if path.stem not in {"harness", "__init__"})


def takes_both_options(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> bool:
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    says = capsys.readouterr().out
    return ended.value.code == 0 and "--quick" in says and "--json FILE" in says


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_benchmark_takes_quick_and_json(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert takes_both_options(script, monkeypatch, capsys)


def test_the_parts_of_an_answer_that_are_timed_exist() -> None:
    assert [name for _, place, name in PARTS if not hasattr(place, name)] == []


@pytest.mark.parametrize("part", without.PARTS)
def test_every_part_of_delivery_can_be_taken_away(part: str) -> None:
    with without.engine_without(part):
        pass


def test_a_benchmark_without_the_options_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("import argparse; argparse.ArgumentParser().parse_args()")
    assert not takes_both_options(planted, monkeypatch, capsys)


def test_measuring_counts_the_work_and_not_the_waiting() -> None:
    with harness.measured() as cost:
        time.sleep(0.2)
    assert cost.wall_s >= 0.2
    assert cost.cpu_s < 0.1
    assert cost.peak_rss_mib > 1


def test_the_peak_of_memory_is_this_programs_own_and_not_its_parents() -> None:
    held = bytearray(b"x") * (300 * harness.MIB)
    code = "from bench.harness import measured\nwith measured() as cost: pass\nprint(cost.peak_rss_mib)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(held) == 300 * harness.MIB
    assert float(done.stdout) < 200


def test_the_figures_of_a_benchmark_can_be_read_back(tmp_path: Path) -> None:
    options = harness.options("says", ["--quick", "--json", str(tmp_path / "out.json")])
    report = harness.Report("planted", "two rows", options)
    report.add("a floor", us_per_row=1.5)
    report.add("ours", us_per_row=2.5, rows=options.size(full=1000, quick=10))
    report.finish()
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["quick"] is True
    assert [row["case"] for row in written["rows"]] == ["a floor", "ours"]
    assert written["rows"][1]["rows"] == 10
