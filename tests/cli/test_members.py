"""The operator's commands for members, on a real installation; each is in the audit log."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from contatto.accounts import actions, store
from contatto.accounts.model import Member, Role
from contatto.app import open_context
from contatto.audit import list_audit_entries
from contatto.cli.main import app
from contatto.kit.db.tx import Tx
from contatto.kit.settings import Settings
from contatto.people.actions import count_login, start_session
from contatto.wiring import install
from tests import make
from tests.schema import copy_schema

MEI, OWNER = "mei@example.com", "owner@example.com"
NEW = "another long password"


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONTATTO_DATA_DIR", str(tmp_path))
    copy_schema(tmp_path / "contatto.sqlite3")
    context = open_context(install(Settings()))

    def build(tx: Tx) -> None:
        business = make.business(tx)
        make.member(tx, business.id, OWNER)
        mei = make.member(tx, business.id, MEI, Role.ADMIN, "Mei")
        attempt = count_login(tx, MEI, "198.51.100.1", "")
        start_session(tx, attempt, attempt.candidates[0], 14, "device_1")
        actions.issue_token(tx, business.id, "script", ["leads.read"], mei.id)

    context.db.write_now(build)
    context.db.close()
    return tmp_path


def command(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["member", *words])
    return done.exit_code, done.output


def look[T](data_dir: Path, work: object) -> T:
    context = open_context(install(Settings(data_dir=data_dir)))
    try:
        return context.db.read_now(work)  # type: ignore[arg-type]
    finally:
        context.db.close()


def found(data_dir: Path, email: str = MEI) -> Member | None:
    return look(data_dir, lambda tx: next(iter(store.list_members_by_email(tx, email)), None))


def last_entry(data_dir: Path) -> tuple[str, str, str]:
    def work(tx: Tx) -> tuple[str, str, str]:
        (business,) = store.list_businesses(tx)
        (entry,) = list_audit_entries(tx, business.id, (0, 1))
        return entry.actor, entry.act, entry.object

    return look(data_dir, work)


def test_members_are_listed_with_their_sessions(data_dir: Path) -> None:
    code, said = command("list")
    assert code == 0
    row = next(line for line in said.splitlines() if "Mei" in line)
    assert "admin" in row
    assert "1" in row


def test_a_role_is_set_and_the_log_says_so(data_dir: Path) -> None:
    code, said = command("set-role", MEI, "analyst")
    assert (code, "1 sessions and 1 access tokens" in said) == (0, True)
    mei = found(data_dir)
    assert mei is not None
    assert mei.role is Role.ANALYST
    assert last_entry(data_dir) == ("operator", "contatto member set-role", f"member_id={mei.id}")


def test_a_password_is_reset(data_dir: Path) -> None:
    assert command("reset-password", MEI, "--password", "short")[0] == 2
    code, said = command("reset-password", MEI.upper(), "--password", NEW)
    assert (code, "1 sessions and 1 access tokens" in said) == (0, True)
    mei = found(data_dir)
    assert mei is not None
    assert actions.password_fits(mei, NEW)
    assert NEW not in said
    assert last_entry(data_dir)[1] == "contatto member reset-password"


def test_tokens_go_on_where_it_is_said(data_dir: Path) -> None:
    said = command("reset-password", MEI, "--password", NEW, "--keep-tokens")[1]
    assert "1 sessions and 0 access tokens" in said


def test_a_member_is_deactivated_and_reactivated(data_dir: Path) -> None:
    mei = found(data_dir)
    assert mei is not None
    code, said = command("deactivate", mei.id)
    assert (code, "1 sessions and 1 access tokens" in said) == (0, True)
    assert found(data_dir) is None
    assert command("reactivate", mei.id)[0] == 0
    again = found(data_dir)
    assert again is not None
    assert (again.id, again.role, again.password_hash) == (mei.id, mei.role, mei.password_hash)


def test_a_member_is_signed_out(data_dir: Path) -> None:
    assert "1 sessions have ended" in command("sign-out", MEI)[1]
    assert "0 sessions have ended" in command("sign-out", MEI)[1]


def test_the_last_owner_stays(data_dir: Path) -> None:
    for words in (("set-role", OWNER, "agent"), ("deactivate", OWNER)):
        code, said = command(*words)
        assert (code, "Nothing was changed" in said) == (1, True)
    assert found(data_dir, OWNER) is not None


def test_who_is_not_there_is_said_so(data_dir: Path) -> None:
    code, said = command("deactivate", "nobody@example.com")
    assert (code, "Member not found" in said) == (1, True)
    assert command("set-role", MEI, "king")[0] == 2


def test_links_of_commands_carry_the_address_of_the_last_server_or_the_one_that_is_set(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = ("reset-password", MEI, "--link")
    assert command(*link)[1].startswith("http://127.0.0.1:8000/password/reset/")
    Settings(data_dir=data_dir, port=8123).record_address()
    assert command(*link)[1].startswith("http://127.0.0.1:8123/password/reset/")
    monkeypatch.setenv("CONTATTO_BASE_URL", "https://leads.example.com/")
    assert command(*link)[1].startswith("https://leads.example.com/password/reset/")
