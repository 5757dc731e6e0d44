"""The tutorials for operators and developers run as they are written, from an empty folder."""

import csv
from pathlib import Path

import pytest

from tests.tutorials.running import TUTORIALS, command_folder, follow, pattern_of


@pytest.fixture
def programs(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    """Return an empty folder for the command, while all commands work in the folder of the test."""
    monkeypatch.setenv("CONTATTO_DATA_DIR", str(tmp_path / ".contatto"))
    monkeypatch.chdir(tmp_path)
    return tmp_path_factory.mktemp("bin")


def test_an_operator_goes_from_an_empty_folder_to_the_first_charged_view(
    tmp_path: Path, programs: Path
) -> None:
    with command_folder(programs):
        follow("first-charged-view", tmp_path, programs)
    rows = list(csv.DictReader((tmp_path / "statement.csv").read_text().splitlines()))
    assert [row["amount"] for row in rows if row["note"] == "transfer"] == ["100.000000"] * 2
    (charged,) = [row for row in rows if row["placement"]]
    assert charged["business"] in ("Kopi", "Teh")
    assert float(charged["balance"]) == pytest.approx(100 + float(charged["amount"]))


def test_a_developer_goes_from_messages_to_a_report_and_to_the_api(tmp_path: Path, programs: Path) -> None:
    with command_folder(programs):
        follow("first-report-from-code", tmp_path, programs)


def test_every_tutorial_is_followed_by_a_test() -> None:
    pages = {page.stem for page in TUTORIALS.glob("*.md")} - {"index"}
    assert pages == {"first-charged-view", "first-report-from-code", "first-lead"}


def test_a_command_that_fails_and_another_output_are_found(tmp_path: Path, programs: Path) -> None:
    (tmp_path / "messages.csv").mkdir()  # the page writes a file of this name
    with pytest.raises(AssertionError, match="Is a directory"), command_folder(programs):
        follow("first-report-from-code", tmp_path, programs)
    assert pattern_of("1 … leads\n") == "1\\ .*\\ leads"
