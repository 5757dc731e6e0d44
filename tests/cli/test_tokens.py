"""The operator's commands for access tokens, on a real installation."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from contatto.accounts.actions import redeem_auth_code
from contatto.accounts.model import Permission
from contatto.accounts.store import find_token
from contatto.app import open_context
from contatto.cli.main import app
from contatto.kit.db.tx import Tx
from contatto.kit.ids import hash_secret
from contatto.kit.settings import Settings
from contatto.wiring import install
from tests import make
from tests.schema import copy_schema


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONTATTO_DATA_DIR", str(tmp_path))
    copy_schema(tmp_path / "contatto.sqlite3")
    context = open_context(install(Settings()))
    context.db.write_now(make.business)
    context.db.close()
    return tmp_path


def command(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["token", *words])
    return done.exit_code, done.output


def look[T](work: object, data_dir: Path) -> T:
    context = open_context(install(Settings(data_dir=data_dir)))
    try:
        return context.db.write_now(work)
    finally:
        context.db.close()


def test_a_token_is_made_listed_and_revoked(data_dir: Path) -> None:
    code, said = command("make", "Nightly export", "--scope", "leads.read")
    token = said.strip()
    assert (code, token.startswith("contatto_")) == (0, True)

    def kept(tx: Tx) -> tuple[str, tuple[str, ...]] | None:
        found = find_token(tx, hash_secret(token))
        return (found[0].id, found[0].scopes) if found else None

    token_id, scopes = look(kept, data_dir)
    assert scopes == ("leads.read",)
    assert "Nightly" in command("list")[1]
    assert token not in command("list")[1]
    assert command("revoke", token_id)[0] == 0
    assert look(kept, data_dir) is None
    assert "Nightly" not in command("list")[1]


def test_an_auth_code_becomes_a_token(data_dir: Path) -> None:
    code, said = command("code", "script")
    assert code == 0
    kept, _ = look(lambda tx: redeem_auth_code(tx, said.strip()), data_dir)
    assert kept.scopes == tuple(Permission)


def test_what_cannot_be_done_says_why_and_changes_nothing(data_dir: Path) -> None:
    for words, says in (
        (("make", "x", "--scope", "weather"), "scopes: choose some of"),
        (("make", "x", "--business", "Nobody"), "use one of Kopi and Co"),
        (("revoke", "nothing"), "Nothing was changed"),
    ):
        code, said = command(*words)
        assert (code, says in said) == (1, True), said
