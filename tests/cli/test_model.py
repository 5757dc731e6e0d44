"""The operator's commands for what delivery learned, on a real installation."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from contatto.app import open_context
from contatto.cli.main import app
from contatto.kit.clock import FixedClock
from contatto.kit.settings import Settings
from contatto.wiring import install
from tests.delivery.learning import add_market
from tests.schema import copy_schema


def test_a_model_is_judged_by_the_log(
    tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTATTO_DATA_DIR", str(tmp_path))
    copy_schema(tmp_path / "contatto.sqlite3")
    context = open_context(install(Settings()))
    market = add_market(context.db, clock)
    market.play(12)
    market.train()
    context.db.close()
    asked = ["model", "evaluate", "--wait-days", "0", "--days", "100000"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "12 decisions" in done.output
    assert "log loss" in done.output
    assert "SNIPS" in done.output
    assert CliRunner().invoke(app, [*asked, "99"]).exit_code == 1
