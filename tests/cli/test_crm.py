"""The operator's commands for linked CRMs, on a real installation."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contatto.app import open_context
from contatto.audit import list_audit_entries
from contatto.cli.installation import out
from contatto.cli.main import app
from contatto.crm.actions.targets import load_ledger
from contatto.kit.db.database import Database
from contatto.kit.settings import Settings
from contatto.wiring import install
from tests import make
from tests.schema import copy_schema

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOK = ("link", "webhook", "--address", "https://hooks.example.com/leads", "--name", "Hook")


@pytest.fixture
def kopi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Database, str]]:
    monkeypatch.setenv("CONTATTO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CONTATTO_DATABASE_URL", "")
    monkeypatch.setattr(out, "width", 200)  # made when the module was loaded, by what ran first
    copy_schema(tmp_path / "contatto.sqlite3")
    context = open_context(install(Settings()))
    yield context.db, context.db.write_now(lambda tx: make.business(tx, "Kopi").id)
    context.db.close()


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["crm", *arguments], env={"CONTATTO_CRM_SECRET": SECRET})
    assert done.exit_code == code, done.output
    return done.output


def number_of(output: str) -> str:
    found = re.search(r"Linked as (\d+)", output)
    assert found is not None
    return found[1]


def test_a_crm_is_linked_listed_paused_resumed_and_removed(kopi: tuple[Database, str]) -> None:
    db, business_id = kopi
    db.write_now(lambda tx: make.lead(tx, business_id))
    number = number_of(run(*HOOK))
    listed = run("list")
    assert "Hook" in listed
    assert SECRET not in listed
    (ledger,) = db.read_now(lambda tx: load_ledger(tx, business_id)).targets
    assert (ledger.counts.total, ledger.counts.to_come, ledger.counts.adds_up) == (1, 1, True)
    run("pause", number)
    assert "paused" in run("list")
    run("resume", number)
    assert "active" in run("list")
    run("resync", number)
    run("resend", number)
    run("reconnect", number)
    address, secret = run("webhook", number).split()
    assert address.endswith(f"/integrations/webhooks/{number}")
    assert secret.startswith("whsec_")
    run("remove", number, "--yes")
    assert "No CRM is linked." in run("list")
    acts = [each.act for each in db.read_now(lambda tx: list_audit_entries(tx, business_id, (0, 20)))]
    assert "contatto crm link" in acts
    assert "contatto crm remove" in acts


def test_where_the_vendor_has_to_be_asked_the_address_to_open_is_printed(kopi: tuple[Database, str]) -> None:
    app_of_ours = {"CONTATTO_CRM_CLIENT_SECRET": "s"}
    linked = CliRunner().invoke(app, ["crm", "link", "zoho", "--set", "client_id=c"], env=app_of_ours)
    number = number_of(linked.output)
    assert f"/integrations/oauth/zoho/start?target_id={number}\n" in linked.output
    assert "/integrations/" not in run(*HOOK)


def test_what_is_wrong_is_said_and_changes_nothing(kopi: tuple[Database, str]) -> None:
    assert "address" in run("link", "webhook", "--address", "http://10.0.0.1/", code=1)
    assert "connector" in run("link", "nosuch", code=2)
    assert "history" in run(*HOOK, "--set", "secret=abc", code=2)
    assert "Connected CRM not found" in run("pause", "7", code=1)
    assert "No CRM is linked." in run("list")


def test_what_each_connector_asks_for_is_shown(kopi: tuple[Database, str]) -> None:
    shown = run("connectors")
    assert "Tryton" in shown
    assert "password" in shown
