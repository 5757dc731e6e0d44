"""The operator's commands for applications for capture, on a real installation."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from contatto.app import open_context
from contatto.capture.actions import save_company_data
from contatto.capture.model import Review
from contatto.capture.store import find_switch
from contatto.cli.main import app
from contatto.kit.settings import Settings
from contatto.wiring import install
from tests import make
from tests.schema import copy_schema


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONTATTO_DATA_DIR", str(tmp_path))
    copy_schema(tmp_path / "contatto.sqlite3")
    context = open_context(install(Settings()))
    context.db.write_now(lambda tx: save_company_data(tx, "b1", "a1", make.COMPANY, needs_review=True))
    context.db.close()
    return tmp_path


def command(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["capture", *words])
    return done.exit_code, done.output


def review_of(data_dir: Path) -> Review | None:
    context = open_context(install(Settings(data_dir=data_dir)))
    switch = context.db.read_now(lambda tx: find_switch(tx, "b1", "a1"))
    context.db.close()
    return switch.review if switch else None


def test_an_application_is_listed_and_approved(data_dir: Path) -> None:
    code, said = command("list")
    assert (code, "a1" in said) == (0, True)
    assert command("approve", "a1") == (0, "Approved Kopi and Co (a1).\n")
    assert review_of(data_dir) is Review.APPROVED
    assert command("list") == (0, "No application waits.\n")


def test_an_application_is_refused_with_a_reason(data_dir: Path) -> None:
    assert command("refuse", "a1", "--reason", "The policy cannot be read.")[0] == 0
    assert review_of(data_dir) is Review.REFUSED


def test_an_unknown_account_changes_nothing(data_dir: Path) -> None:
    assert command("approve", "nobody")[0] == 1
    assert review_of(data_dir) is Review.PENDING
