"""The command starts at once: it imports what the command that is called needs, and no more."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from contatto.app import open_context
from contatto.cli.main import COMMANDS, app
from contatto.kit.settings import Settings
from contatto.wiring import install
from tests import make
from tests.schema import copy_schema

LONG_EMAIL = "somebody.with.a.long.name@department.example.com"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The data folder of an installation with one business and one member."""
    folder = tmp_path / "shop"
    copy_schema(folder / "contatto.sqlite3")
    context = open_context(install(Settings(data_dir=folder)))
    context.db.write_now(lambda tx: make.member(tx, make.business(tx).id, LONG_EMAIL))
    context.db.close()
    return folder


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


def run_command(*arguments: str, data_dir: Path) -> tuple[int, str, set[str]]:
    """Return the exit code, the printed text and the loaded modules of a command in its own process."""
    program = (
        "import sys; from contatto.cli.main import app\n"
        f"try: app({list(arguments)!r})\n"
        "except SystemExit as end: code = end.code or 0\n"
        "print('modules:', code, *sys.modules, file=sys.stderr)"
    )
    env = os.environ | {"CONTATTO_DATA_DIR": str(data_dir), "COLUMNS": "80"}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    code, *modules = ran.stderr.partition("modules: ")[2].split()
    return int(code), ran.stdout, set(modules)


SMALL = (
    "member list", "member deactivate nobody@example.com", "token list", "balance show", "operator list",
    "ads list", "capture list", "jobs list",
)  # fmt: skip


@pytest.mark.parametrize("line", SMALL)
def test_a_small_command_loads_no_server(line: str, shop: Path) -> None:
    code, _, modules = run_command(*line.split(), data_dir=shop)
    assert code == (1 if "nobody" in line else 0)
    server = {"contatto.app", "contatto.wiring", "contatto.worker", "contatto.simulator"}
    libraries = {"fastapi", "uvicorn", "alembic", "duckdb", "numba", "lightgbm", "PIL", "psycopg", "httpx2"}
    assert modules.isdisjoint(server | libraries)


def test_a_command_that_goes_through_all_tables_loads_them_all(shop: Path) -> None:
    modules = run_command("keys", "list", data_dir=shop)[2]
    assert {"contatto.wiring", "contatto.leads.store.records", "contatto.inbox.store.messages"} <= modules
    assert "contatto.app" not in modules


def test_a_worker_loads_no_web_app() -> None:
    assert "contatto.app" not in modules_after("worker", "--help")


def test_a_small_command_brings_an_older_database_up_to_date(tmp_path: Path) -> None:
    code, _, modules = run_command("operator", "list", data_dir=tmp_path)
    assert code == 0
    assert "alembic" in modules
    assert "alembic" not in run_command("operator", "list", data_dir=tmp_path)[2]


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.opens_data])
def test_every_command_on_an_installation_takes_the_data_folder_in_the_same_way(name: str) -> None:
    command = typer.main.get_command(app).get_command(None, name)  # type: ignore[attr-defined]
    parts = [[part] for part in getattr(command, "commands", ())] or [[]]
    for part in parts:
        assert "--data-dir" in CliRunner().invoke(app, [name, *part, "--help"]).output


def test_a_data_folder_on_the_command_line_wins_over_the_environment(shop: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert run_command("member", "list", "--data-dir", str(shop), data_dir=elsewhere)[0] == 0
    assert not elsewhere.exists()


def test_no_id_address_or_link_is_cut_in_a_narrow_table(shop: Path) -> None:
    said = run_command("member", "list", data_dir=shop)[1]
    assert LONG_EMAIL in said
    assert re.search(r" [0-9a-f]{8}-[0-9a-f-]{27} ", said)
    assert "…" not in said
