"""The page of failed jobs, as its owner and as others open it: seen, sent again, given up."""

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import func, select

from contatto import wiring
from contatto.accounts.actions import NewMember, add_member
from contatto.accounts.model import BusinessId, Role
from contatto.audit import list_audit_entries
from contatto.inbox.model import REPLY
from contatto.jobs import actions
from contatto.kit.db.tx import Tx, metadata
from contatto.kit.outbound.client import Client
from contatto.kit.outbound.model import SendFailure
from contatto.kit.outbound.queue import jobs, purge_jobs
from contatto.kit.outbox import Drain
from tests import make
from tests.background import do_all_due, send_all_due
from tests.failing import fail_job, fail_push
from tests.journeys.running import PASSWORD, House, csrf_of, message, running_house, weak_hash
from tests.outbound import answer, claim_all
from tests.quoting import quotes
from tests.subscriptions.receiver import running_receiver
from tests.unchanged import nothing_changes

PATH = "/settings/jobs"


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """One business without its background work, its owner signed in."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_copy")
    with running_house(tmp_path, database_url=url, worker="separate") as running:
        running.sign_in()
        yield running


def press(house: House, path: str) -> httpx2.Response:
    form = {"csrf_token": csrf_of(house.client.get("/settings").text)}
    return house.client.post(PATH + path, data=form, follow_redirects=False)


def work_off(house: House) -> None:
    """Run handlers, and send what is due to receivers of this machine."""

    async def work() -> None:
        client = Client(["127.0.0.1:*"])
        await Drain(wiring.AFTER).run_all(house.context.db)
        await send_all_due(house.context.db, house.context.installation, client)
        await client.close()

    asyncio.run(work())


def failed_ids(house: House, business_id: str = "") -> list[str]:
    of = business_id or house.business_id
    return [each.id for each in house.context.db.read_now(lambda tx: actions.list_failed_work(tx, of, 99))]


def shown_ids(house: House) -> list[str]:
    return re.findall(r'id="(job-\d+)"', house.client.get(PATH).text)


def test_where_nothing_failed_the_page_says_so(house: House) -> None:
    page = house.client.get(PATH)
    assert page.status_code == 200
    assert "No failed jobs" in page.text
    assert "Retry all" not in page.text
    assert PATH in house.client.get("/settings").text


def test_the_page_says_what_failed_since_when_why_and_how_many(house: House) -> None:
    job, push = fail_job(house.context.db, house.business_id), fail_push(house.context.db, house.business_id)
    fail_push(house.context.db, house.business_id, trouble=SendFailure.UNREACHED)
    page = house.client.get(PATH).text
    for said in (
        "Delete the data of a removed lead", "LookupError at broken", "Send a message to a webhook",
        "Address not allowed", "Server not reached", "push.example.com", "2 jobs have no retries left.",
        "1 job is retried automatically.",
    ):  # fmt: skip
        assert said in page, said
    assert set(shown_ids(house)) >= {job, push}
    assert not quotes(page, "81234567")
    assert str(house.context.clock.now().year) in page


def test_a_dead_letter_is_sent_again_by_its_button_and_arrives(house: House) -> None:
    with running_receiver() as receiver:
        failed_id = fail_push(house.context.db, house.business_id, f"{receiver.url}/again")
        assert press(house, f"/{failed_id}/replay").status_code == 303
        assert receiver.received == []
        work_off(house)
        assert [each.path for each in receiver.received] == ["/again"]
    assert failed_ids(house) == []
    assert press(house, f"/{failed_id}/replay").status_code == 404
    entry = house.context.db.read_now(lambda tx: list_audit_entries(tx, house.business_id, (0, 1)))[0]
    assert (entry.act, entry.object) == (f"POST {PATH}/{{failed_id}}/replay", f"failed_id={failed_id}")


def test_a_job_of_a_handler_is_done_again(house: House) -> None:
    failed_id = fail_job(house.context.db, house.business_id)
    assert press(house, f"/{failed_id}/replay").status_code == 303
    assert failed_ids(house) == []
    work_off(house)
    assert failed_ids(house) == []


def test_all_dead_letters_are_sent_again_and_the_log_has_one_entry_for_it(house: House) -> None:
    db = house.context.db
    with running_receiver() as receiver:
        fail_job(db, house.business_id)
        for _ in range(3):
            fail_push(db, house.business_id, f"{receiver.url}/all")
        before = count_entries(house)
        assert press(house, "/replay").status_code == 303
        assert count_entries(house) == before + 1
        work_off(house)
        assert len(receiver.received) == 3
    assert failed_ids(house) == []
    assert "No failed jobs" in house.client.get(PATH).text


def test_one_is_dismissed_then_all_are(house: House) -> None:
    job, push = fail_job(house.context.db, house.business_id), fail_push(house.context.db, house.business_id)
    page = house.client.get(PATH).text
    assert page.count("data-confirm=") == 3  # each of the two, and all
    assert press(house, f"/{job}/dismiss").status_code == 303
    assert failed_ids(house) == [push]
    assert press(house, "/dismiss").status_code == 303
    assert failed_ids(house) == []


def test_another_tenant_neither_sees_nor_touches_it(house: House) -> None:
    db = house.context.db
    other = db.write_now(lambda tx: make.business(tx, "Other").id)
    theirs = {fail_job(db, other), fail_push(db, other)}
    own = fail_job(db, house.business_id)
    assert shown_ids(house) == [own]
    with nothing_changes(db, "audit_entries"):
        for failed_id in theirs:
            for act in ("replay", "dismiss"):
                assert press(house, f"/{failed_id}/{act}").status_code == 404
    press(house, "/replay")
    press(house, "/dismiss")
    assert set(failed_ids(house, other)) == theirs


@pytest.mark.parametrize("role", [Role.MANAGER, Role.AGENT, Role.ANALYST])
def test_who_does_not_administer_changes_nothing(house: House, role: Role) -> None:
    db = house.context.db
    failed_id = fail_push(db, house.business_id)

    def join(tx: Tx) -> None:
        new = NewMember("other@example.com", "Other", role)
        add_member(tx, BusinessId(house.business_id), new, weak_hash(PASSWORD))

    db.write_now(join)
    house.client.cookies.clear()
    page = house.client.get("/login").text
    form = {"email": "other@example.com", "password": PASSWORD, "csrf_token": csrf_of(page)}
    assert house.client.post("/login", data=form, follow_redirects=False).status_code == 303
    assert PATH not in house.client.get("/settings").text
    assert house.client.get(PATH).status_code == 403
    with nothing_changes(db):
        for path in ("/replay", "/dismiss", f"/{failed_id}/replay", f"/{failed_id}/dismiss"):
            assert press(house, path).status_code == 403


@pytest.mark.parametrize(
    "path", ["/job-0/replay", "/job-99999/replay", "/request-1/replay", "/lead-1/dismiss", "/7/dismiss"]
)
def test_what_is_not_there_changes_nothing(house: House, path: str) -> None:
    fail_push(house.context.db, house.business_id)
    with nothing_changes(house.context.db):
        assert press(house, path).status_code == 404


def test_without_the_token_of_a_form_nothing_changes(house: House) -> None:
    failed_id = fail_push(house.context.db, house.business_id)
    with nothing_changes(house.context.db):
        for path in ("/replay", "/dismiss", f"/{failed_id}/replay", f"/{failed_id}/dismiss"):
            assert house.client.post(PATH + path, data={}).status_code == 403


def test_a_reply_that_may_not_be_sent_any_more_says_so_and_stays(house: House) -> None:
    conversation, failed_id = fail_reply(house)
    assert "may have been delivered" in house.client.get(PATH).text
    token = {"csrf_token": csrf_of(house.client.get("/settings").text)}
    rows = metadata.tables["conversations"]
    revision = house.context.db.read_now(lambda tx: tx.scalar(select(rows.c.revision)))
    form = token | {"revision": str(revision)}
    assert house.client.post(f"/inbox/{conversation}/block", data=form).status_code < 400
    with nothing_changes(house.context.db):
        refused = press(house, f"/{failed_id}/replay")
        assert refused.status_code == 409
        assert "This person is blocked" in refused.text
    assert press(house, "/replay").status_code == 303
    assert failed_ids(house) == [failed_id]


def test_a_reply_that_was_dismissed_and_forgotten_is_still_sent_when_a_member_tries_again(
    house: House,
) -> None:
    conversation, failed_id = fail_reply(house)
    assert press(house, f"/{failed_id}/dismiss").status_code == 303
    db = house.context.db
    assert db.write_now(lambda tx: purge_jobs(tx, tx.now + timedelta(seconds=1))) == 1
    rows = metadata.tables["sends"]
    sent = db.read_now(lambda tx: tx.scalar(select(rows.c.message_id)))
    token = {"csrf_token": csrf_of(house.client.get("/settings").text)}
    again = house.client.post(f"/inbox/{conversation}/messages/{sent}/retry", data=token)
    assert again.status_code < 400, again.text
    ((request, _),) = db.write_now(lambda tx: claim_all(tx, house.context.installation.outbound[REPLY]))
    assert (request.subject, request.line) == (sent, conversation)


def fail_reply(house: House) -> tuple[str, str]:
    """A reply to a person on the platform whose answer is lost: its conversation, and its id."""

    async def settle() -> None:
        await do_all_due(house.context.db, house.context.installation)

    now_ms = int(house.context.clock.now().timestamp() * 1_000)
    house.webhook("im_receive_msg", message("hello", "u1", now_ms))
    asyncio.run(settle())
    conversations = metadata.tables["conversations"]
    conversation = house.context.db.read_now(lambda tx: tx.scalar(select(conversations.c.id)))
    token = {"csrf_token": csrf_of(house.client.get("/settings").text)}
    account = f"/settings/channels/accounts/{house.tiktok_id}/token"
    assert house.client.post(account, data=token | {"access_token": "token-1"}).status_code < 400
    said = {"text": "hi", "client_message_id": "message-0001"}
    answered = house.client.post(f"/inbox/{conversation}/messages", data=token | said)
    assert answered.status_code < 400, answered.text
    kind = house.context.installation.outbound[REPLY]

    def lose(tx: Tx) -> str:
        (claimed,) = claim_all(tx, kind)
        answer(tx, kind, claimed, SendFailure.LOST)
        return f"job-{claimed[0].id}"

    return conversation, house.context.db.write_now(lose)


def count_entries(house: House) -> int:
    return len(house.context.db.read_now(lambda tx: list_audit_entries(tx, house.business_id, (0, 500))))


def test_the_list_ends_somewhere_and_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contatto.jobs.pages.MOST_ROWS", 2)
    for _ in range(3):
        fail_push(house.context.db, house.business_id)
    assert len(shown_ids(house)) == 2
    assert "Showing the latest 2." in house.client.get(PATH).text
    assert house.context.db.read_now(lambda tx: tx.scalar(select(func.count()).select_from(jobs))) == 3
