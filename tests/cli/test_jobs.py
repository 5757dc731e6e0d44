"""The operator's commands for failed jobs, on a real installation of either engine."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contatto.app import open_context
from contatto.audit import list_audit_entries
from contatto.cli.installation import out
from contatto.cli.main import app
from contatto.jobs import actions
from contatto.kit.db.database import Database
from contatto.kit.outbound.client import Client
from contatto.kit.outbound.model import SendFailure
from contatto.kit.settings import Settings
from contatto.wiring import install
from tests import make
from tests.background import send_all_due
from tests.failing import fail_job, fail_push
from tests.quoting import quotes
from tests.schema import copy_schema
from tests.subscriptions.receiver import running_receiver
from tests.unchanged import nothing_changes


@dataclass
class Installation:
    """Two businesses, and the storage that the commands open by their settings."""

    db: Database
    kopi: str
    other: str

    def ids(self, business_id: str = "") -> list[str]:
        of = business_id or self.kopi
        return [each.id for each in self.db.read_now(lambda tx: actions.list_failed_work(tx, of, 99))]

    def last_entry(self) -> tuple[str, str, str]:
        (entry,) = self.db.read_now(lambda tx: list_audit_entries(tx, self.kopi, (0, 1)))
        return entry.actor, entry.act, entry.object


@pytest.fixture(params=["sqlite", "postgresql"])
def installation(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_copy")
    monkeypatch.setenv("CONTATTO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CONTATTO_DATABASE_URL", url)
    monkeypatch.setattr(out, "width", 200)  # made when the module was loaded, by what ran first
    copy_schema(tmp_path / "contatto.sqlite3")
    context = open_context(install(Settings()))
    kopi, other = context.db.write_now(
        lambda tx: (make.business(tx, "Kopi").id, make.business(tx, "Other").id)
    )
    yield Installation(context.db, kopi, other)
    context.db.close()


def command(*words: str, says: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(app, ["jobs", *words], input=says)
    return done.exit_code, done.output


def test_where_nothing_failed_the_list_says_so(installation: Installation) -> None:
    assert command("list") == (0, "No failed jobs.\n")


def test_the_list_names_what_failed_since_when_and_why_by_business(installation: Installation) -> None:
    db = installation.db
    job, push = fail_job(db, installation.kopi), fail_push(db, installation.other)
    fail_push(db, installation.kopi, trouble=SendFailure.UNREACHED)
    code, said = command("list")
    assert code == 0
    assert "Kopi: 1 given up, 1 tried again." in said
    assert "Other: 1 given up, 0 tried again." in said
    row = next(line for line in said.splitlines() if job in line)
    for shown in ("Delete the data of a removed lead", "given up", "LookupError at broken"):
        assert shown in row
    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d", row)
    assert not quotes(said, "81234567")
    assert push not in command("list", "--business", "Kopi")[1]


def test_one_is_shown_with_what_it_concerns(installation: Installation) -> None:
    job, push = fail_job(installation.db, installation.kopi), fail_push(installation.db, installation.kopi)
    code, said = command("show", job, "--business", "Kopi")
    assert (code, "lead_id" in said, "forget_lead_pushes" in said) == (0, True, True)
    code, said = command("show", push, "--business", "Kopi")
    assert (code, "push.example.com" in said, "(forbidden_address)" in said) == (0, True, True)
    for wrong in ("request-999", "7"):
        code, said = command("show", wrong, "--business", "Kopi")
        assert (code, "Failed job not found" in said) == (1, True)


def test_a_dead_letter_is_replayed_and_arrives(installation: Installation) -> None:
    with running_receiver() as receiver:
        push = fail_push(installation.db, installation.kopi, f"{receiver.url}/cli")
        job = fail_job(installation.db, installation.kopi)
        code, said = command("replay", push, job, "--business", "Kopi")
        assert (code, said) == (0, "2 jobs are due again.\n")
        assert installation.ids() == []

        async def send() -> None:
            client = Client(["127.0.0.1:*"])
            await send_all_due(installation.db, install(Settings()), client)
            await client.close()

        asyncio.run(send())
        assert [each.path for each in receiver.received] == ["/cli"]
    named = f"failed_id={push} failed_id={job}"
    assert installation.last_entry() == ("operator", "contatto jobs replay", named)


def test_all_of_one_business_are_replayed_and_those_of_others_stay(installation: Installation) -> None:
    db = installation.db
    theirs = {fail_job(db, installation.other), fail_push(db, installation.other)}
    fail_job(db, installation.kopi)
    for _ in range(2):
        fail_push(db, installation.kopi)
    waiting = fail_push(db, installation.kopi, trouble=SendFailure.UNREACHED)
    assert command("replay", "--all", "--business", "Kopi") == (0, "3 jobs are due again.\n")
    assert installation.ids() == [waiting]
    assert set(installation.ids(installation.other)) == theirs


def test_they_are_dismissed_after_a_question(installation: Installation) -> None:
    db = installation.db
    job, push = fail_job(db, installation.kopi), fail_push(db, installation.kopi)
    theirs = fail_push(db, installation.other)
    with nothing_changes(db):
        code, _ = command("dismiss", job, "--business", "Kopi", says="n\n")
        assert code == 1
    code, said = command("dismiss", job, "--business", "Kopi", says="y\n")
    assert (code, "1 jobs are dismissed." in said) == (0, True)
    assert installation.ids() == [push]
    assert command("dismiss", "--all", "--yes", "--business", "Kopi") == (0, "1 jobs are dismissed.\n")
    assert installation.ids() == []
    assert installation.last_entry() == ("operator", "contatto jobs dismiss", "")
    assert installation.ids(installation.other) == [theirs]


@pytest.mark.parametrize("act", ["replay", "dismiss"])
def test_what_is_refused_changes_nothing(installation: Installation, act: str) -> None:
    own, theirs = fail_job(installation.db, installation.kopi), fail_job(installation.db, installation.other)
    more = ["--yes"] if act == "dismiss" else []
    with nothing_changes(installation.db):
        for words in ([own, theirs], [own, "job-0"], [theirs]):  # all of them, or none
            code, said = command(act, *words, *more, "--business", "Kopi")
            assert (code, "Nothing was changed." in said) == (1, True)
        assert command(act, own, *more)[0] == 1  # there are two businesses
        assert command(act, *more, "--business", "Kopi")[0] == 2
        assert command(act, own, "--all", *more, "--business", "Kopi")[0] == 2
