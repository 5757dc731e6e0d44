"""The operator's commands for what delivery learned, on a real installation."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from contatto.app import open_context
from contatto.cli.main import app
from contatto.cli.models import seal_files
from contatto.delivery.actions.ledger import decision_sealing_job
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.settings import Settings
from contatto.wiring import install
from tests.delivery.learning import add_market
from tests.schema import copy_schema


@pytest.fixture
def db(tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> Database:
    """That of an installation in which a dozen decisions were learned."""
    monkeypatch.setenv("CONTATTO_DATA_DIR", str(tmp_path))
    copy_schema(tmp_path / "contatto.sqlite3")
    context = open_context(install(Settings()))
    market = add_market(context.db, clock)
    market.play(12)
    market.train()
    return context.db


def test_a_model_is_judged_by_the_log(db: Database) -> None:
    db.close()
    asked = ["model", "evaluate", "--wait-days", "0", "--days", "100000"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "12 decisions" in done.output
    assert "log loss" in done.output
    assert "SNIPS" in done.output
    assert CliRunner().invoke(app, [*asked, "99"]).exit_code == 1


def test_a_model_is_learned_again_from_sealed_files(db: Database, tmp_path: Path) -> None:
    asked = ["model", "relearn"]
    assert "no sealed file" in CliRunner().invoke(app, asked).output
    seal_files(db, decision_sealing_job(tmp_path / "sealed", 0, 90))
    db.close()
    judged = CliRunner().invoke(app, [*asked, "--hold-out-days", "4000", "--wait-days", "0"])
    assert judged.exit_code == 0, judged.output
    assert "views of ads, learned in" in judged.output
    assert "log loss" in judged.output
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "Model 2 is published" in done.output
    refused = CliRunner().invoke(app, [*asked, "--connection", "spark://head:7077"])
    assert refused.exit_code == 1
    assert "takes no --connection" in refused.output
