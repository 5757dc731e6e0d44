"""The operator's commands for keys, on a real installation with a key file, or with configured keys."""

import base64
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contatto.app import open_context
from contatto.channels.actions import register_app
from contatto.channels.model import ChannelApp, Platform
from contatto.channels.store import find_app
from contatto.cli.main import app
from contatto.kit.settings import Settings
from contatto.kit.vault import KEY_FILE, SecretKey, Vault, load_keys
from contatto.wiring import install
from tests import make
from tests.schema import copy_schema

KEPT = ChannelApp("app", "b1", Platform.TIKTOK, "a secret")


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONTATTO_DATA_DIR", str(tmp_path))
    _fill(tmp_path)
    return tmp_path


def _fill(folder: Path) -> None:
    copy_schema(folder / "contatto.sqlite3")
    context = open_context(install(Settings()))
    context.db.write_now(make.business)
    context.db.write_now(lambda tx: register_app(tx, KEPT))
    context.db.close()


def command(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["keys", *words], env={"COLUMNS": "200"})
    return done.exit_code, done.output


def _vault_and_secret() -> tuple[Vault, str]:
    context = open_context(install(Settings()))
    found = context.db.read_now(lambda tx: find_app(tx, KEPT.business_id, KEPT.app_id))
    context.db.close()
    return context.vault, found.secret if found else ""


def test_a_key_that_leaked_is_replaced_by_rotating_and_retiring(data_dir: Path) -> None:
    (leaked,) = load_keys((), data_dir)
    thief = Vault({leaked.id: leaked.raw})
    signed, index = thief.signer("tracking").sign("forged"), thief.blind("+6591234567", "b1")
    assert command("rotate")[0] == 0
    assert _vault_and_secret()[0].signer("tracking").unsign(signed) == b"forged"
    code, said = command("retire", leaked.id)
    assert (code, "oldest key, so it must stay" in said) == (0, True)
    vault, secret = _vault_and_secret()
    assert secret == KEPT.secret
    assert not vault.signer("tracking").validate(signed)
    assert vault.blind("+6591234567", "b1") == index
    assert [key.is_retired for key in load_keys((), data_dir)] == [False, True]


def test_a_key_between_is_retired_and_need_not_stay(data_dir: Path) -> None:
    command("rotate")
    leaked = load_keys((), data_dir)[0]
    command("rotate")
    code, said = command("retire", leaked.id)
    assert (code, "oldest" in said, "backups" in said) == (0, False, True)
    kept = [line for line in (data_dir / KEY_FILE).read_text().split() if not line.startswith(leaked.id)]
    (data_dir / KEY_FILE).write_text("\n".join(kept))
    assert _vault_and_secret()[1] == KEPT.secret


def test_a_key_that_is_needed_is_not_retired(data_dir: Path) -> None:
    (only,) = load_keys((), data_dir)
    assert command("rotate", "--no-new-key")[0] == 0
    for wanted, why in ((only.id, "newest key"), ("other", "no key other")):
        code, said = command("retire", wanted)
        assert (code, why in said) == (1, True), said
    fresh = SecretKey("fresh", bytes(range(32)))
    (data_dir / KEY_FILE).write_text(f"{fresh.line()}\n{only.line()}\n")
    code, said = command("retire", only.id)
    assert (code, "1 values are still sealed with it" in said) == (1, True)
    assert load_keys((), data_dir) == (fresh, only)
    assert _vault_and_secret()[1] == KEPT.secret


def test_the_list_says_what_each_key_is_for_and_shows_no_key(data_dir: Path) -> None:
    (oldest,) = load_keys((), data_dir)
    command("rotate")
    newest = load_keys((), data_dir)[0]
    rows = {line.split()[1]: line for line in command("list")[1].splitlines() if "│" in line}
    assert "1" in rows[newest.id].split()
    assert "seals and signs" in rows[newest.id]
    assert "opens and verifies; index and derived ids" in rows[oldest.id]
    command("retire", oldest.id)
    code, said = command("list")
    assert (code, "retired; index and derived ids" in said) == (0, True)
    assert not any(base64.b64encode(key.raw).decode() in said for key in (oldest, newest))
    assert command("retire", oldest.id)[0] == 1


def test_configured_keys_are_changed_by_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = SecretKey("new", bytes(range(32))), SecretKey("old", bytes(32))
    monkeypatch.setenv("CONTATTO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CONTATTO_SECRET_KEYS", old.line())
    _fill(tmp_path)
    monkeypatch.setenv("CONTATTO_SECRET_KEYS", f"{new.line()},{old.line()}")
    assert command("retire", "old")[0] == 1
    assert command("rotate")[0] == 0
    code, said = command("retire", "old")
    assert (code, "Write :retired behind the key old" in said) == (0, True)
    monkeypatch.setenv("CONTATTO_SECRET_KEYS", f"{new.line()},{old.line()}:retired")
    assert _vault_and_secret()[1] == KEPT.secret
    assert not (tmp_path / KEY_FILE).exists()
