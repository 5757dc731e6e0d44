"""`contatto simulate` plays a world, prints a table, and writes plots and figures that stand alone."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from contatto.cli.simulate import simulate_command
from contatto.simulator.worlds.simulation import Player
from tests.simulator import reference

app = typer.Typer()
app.command()(simulate_command)
run = CliRunner().invoke
QUICK = ["--size", "tiny", "--days", "2", "--world-setting", "requests=1500", "--world-setting", "late_day=1"]


def test_a_run_prints_a_table_and_writes_plots_and_figures(tmp_path: Path) -> None:
    plots, figures = tmp_path / "run.html", tmp_path / "run.json"
    done = run(app, [*QUICK, "--seed", "4", "--plots", str(plots), "--json", str(figures)])
    assert done.exit_code == 0, done.output
    for word in ("Conversation", "any ad", "oracle", "cost per lead", "pacing error"):
        assert word in done.output
    told = json.loads(figures.read_text())
    assert (told["world"], told["seed"], told["days"], told["goal"]) == ("linear", 4, 2, "lead")
    assert set(told["players"]) == set(Player)
    lead = told["players"]["lead"]
    assert lead["faults"] == {}
    assert lead["leads"] == pytest.approx(sum(lead["leads_by_day"]))
    assert told["players"]["oracle"]["leads"] > told["players"]["random"]["leads"]
    page = plots.read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") >= 8
    assert not re.search(r"<script|https?://|url\(|@import|\bsrc=|\bhref=", page)
    for title in ("Leads so far", "Cost per lead by day", "Predicted over true leads", "Spend so far"):
        assert title in page


def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    told: list[Any] = []
    for seed in ("4", "4", "5"):
        file = tmp_path / f"{len(told)}.json"
        goal = ["--alone", "--goal", "conversation", "--world", "thresholds"]
        sized = ["--size", "tiny", "--days", "2", "--world-setting", "requests=1500"]
        assert run(app, [*sized, *goal, "--seed", seed, "--json", str(file)]).exit_code == 0
        read = json.loads(file.read_text())
        told.append(read["players"])
        assert set(told[-1]) == {"conversation"}
    assert told[0] == told[1] != told[2]


def test_a_program_plays_beside_the_engine_and_one_that_fails_is_named(tmp_path: Path) -> None:
    figures, program = tmp_path / "run.json", Path(reference.__file__)
    commands = ["--command", f"'{program}'", "--command", f"'{program}' --fault dies"]
    small = ["--size", "tiny", "--days", "2", "--world-setting", "requests=400"]
    done = run(app, [*small, "--world-setting", "late_day=1", "--alone", *commands, "--json", str(figures)])
    assert done.exit_code == 1
    said = re.sub(r"\s+", " ", done.output)
    assert "reference 2 lead could not play to the end" in said
    assert "out of ideas" in said
    written = json.loads(figures.read_text())
    assert set(written["players"]) == {"lead", "reference lead"}
    assert set(written["longest_wait_s"]) == set(written["requests_per_s"]) == set(written["players"])
    assert "reference lead" in said


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--goal", "clicks"], "lead or conversation"),
        (["--world-setting", "drift=1"], "none of the settings of linear"),
        (["--world-setting", "tension"], "NAME=VALUE"),
        (["--world-setting", "viewers=0"], "viewers is a number"),
        (["--setting", "nonsense=1"], "nonsense"),
        (["--command", "'player"], "No closing quotation"),
        (["--days", "61"], "less than or equal to 60"),
        (["--world", "flat"], "flat"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(given: list[str], says: str) -> None:
    done = run(app, [*QUICK, *given])
    assert done.exit_code == 2
    assert says in re.sub(r"[\s│]+", " ", done.output)
