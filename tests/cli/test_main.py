"""The command starts at once: it imports what the command that is called needs, and no more."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from contatto.cli.main import COMMANDS, app


def modules_after(*arguments: str) -> set[str]:
    program = (
        "import sys; from contatto.cli.main import app\n"
        f"try: app({list(arguments)!r})\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ran.stderr.split())


@pytest.mark.parametrize("arguments", [("version",), ("--help",)])
def test_the_version_and_the_list_of_commands_load_no_server(arguments: tuple[str, ...]) -> None:
    heavy = {"contatto.app", "fastapi", "sqlalchemy", "duckdb", "rich.console"}
    assert modules_after(*arguments).isdisjoint(heavy)


def test_the_detector_loads_no_server() -> None:
    assert modules_after("detect", "--help").isdisjoint({"contatto.app", "fastapi", "sqlalchemy", "duckdb"})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_found_and_says_how_it_is_used(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0
    assert name in shown.output


def test_a_command_that_does_not_exist_is_refused_with_its_name() -> None:
    shown = CliRunner().invoke(app, ["serf"])
    assert shown.exit_code == 2
    assert "serf" in shown.output


def test_the_list_shows_every_command_with_its_line() -> None:
    shown = CliRunner().invoke(app, ["--help"])
    for name, command in COMMANDS.items():
        assert name in shown.output
        assert command.help.split()[0] in shown.output
