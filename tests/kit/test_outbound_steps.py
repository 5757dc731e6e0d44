"""Requests of several steps, and polls: each goes on where it stood, whatever happened in between."""

import json

from sqlalchemy import select

from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.outbound.machine import LEASE
from contatto.kit.outbound.model import (
    Ask,
    Done,
    HttpAnswer,
    HttpRequest,
    Later,
    NewRequest,
    NotNow,
    OutboundRequest,
    RequestState,
    Step,
)
from contatto.kit.outbound.queue import OutboundKind, expire_requests, jobs, queue_request, replay_request
from tests.kit.test_outbound import PLAN, Owner, claim, found, give, queue
from tests.outbound import answer, claim_all


class Crm:
    """A kind of several requests: refresh the token, look up, then write; what each told is kept at once."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.kind = OutboundKind("crm", self.begin, self.read, lambda *told: None, PLAN)

    def begin(self, _tx: Tx, request: OutboundRequest) -> Step:
        progress = json.loads(request.progress) if request.progress else {"step": "refresh"}
        return self._ask(progress)

    def _ask(self, progress: dict[str, str]) -> Ask:
        step = progress["step"]
        headers = {"token": progress.get("token", "")}
        request = HttpRequest("POST", f"https://crm/{step}", headers, progress.get("id", "").encode())
        return Ask(request, json.dumps(progress), is_repeatable=step != "write")

    def read(self, _tx: Tx, request: OutboundRequest, given: HttpAnswer) -> Step:
        progress = json.loads(request.progress)
        if given.status != 200:
            return NotNow(str(given.status))
        if progress["step"] == "refresh":
            self.tokens.append(given.body.decode())
            return self._ask({"step": "find", "token": given.body.decode()})
        if progress["step"] == "find":
            return self._ask(progress | {"step": "write", "id": given.body.decode()})
        return Done()


def test_a_sequence_of_requests_each_knows_what_those_before_it_told(database: Database) -> None:
    crm = Crm()
    database.write_now(lambda tx: queue_request(tx, NewRequest("b1", "crm", "lead", "crm"), PLAN))
    ((request, ask),) = database.write_now(lambda tx: claim_all(tx, crm.kind))
    asked = []
    step: Ask | None = ask
    for said in (b"token-1", b"id-7", b""):
        assert step is not None
        asked.append((step.request.url, dict(step.request.headers)["token"], step.request.body))
        of, given = (request, step), HttpAnswer(200, {}, said)
        step = database.write_now(lambda tx, of=of, given=given: answer(tx, crm.kind, of, given))  # type: ignore[misc]
    assert step is None
    assert asked == [
        ("https://crm/refresh", "", b""),
        ("https://crm/find", "token-1", b""),
        ("https://crm/write", "token-1", b"id-7"),
    ]
    assert found(database).state is RequestState.DONE


def test_a_sequence_that_was_cut_off_goes_on_where_it_stood_and_writes_nothing_twice(
    database: Database, clock: FixedClock
) -> None:
    crm = Crm()
    database.write_now(lambda tx: queue_request(tx, NewRequest("b1", "crm", "lead", "crm"), PLAN))
    (claimed,) = database.write_now(lambda tx: claim_all(tx, crm.kind))
    database.write_now(lambda tx: answer(tx, crm.kind, claimed, HttpAnswer(200, {}, b"token-1")))
    clock.advance(seconds=LEASE.total_seconds())
    (again,) = database.write_now(lambda tx: claim_all(tx, crm.kind))
    assert again[1].request.url == "https://crm/find"
    assert crm.tokens == ["token-1"]
    database.write_now(lambda tx: answer(tx, crm.kind, again, HttpAnswer(200, {}, b"id-7")))
    clock.advance(seconds=LEASE.total_seconds())  # cut off while it writes
    assert database.write_now(lambda tx: claim_all(tx, crm.kind)) == []
    assert (found(database).state, found(database).reason) == (RequestState.DEAD, "answer_lost")


def test_what_a_step_has_to_know_is_sealed(database: Database) -> None:
    crm = Crm()
    database.write_now(lambda tx: queue_request(tx, NewRequest("b1", "crm", "lead", "crm"), PLAN))
    (claimed,) = database.write_now(lambda tx: claim_all(tx, crm.kind))
    database.write_now(lambda tx: answer(tx, crm.kind, claimed, HttpAnswer(200, {}, b"a-secret-token")))
    rows = database.read_now(lambda tx: tx.execute(select(jobs)).all())
    assert "a-secret-token" not in str(rows)
    assert "a-secret-token" not in repr(found(database))
    assert "a-secret-token" in found(database).progress


def test_a_poll_that_goes_on_lives_on(database: Database, clock: FixedClock) -> None:
    owner = Owner(keeps_progress=True, next=Later("page-2", 50 * 60))
    queue(database)
    for _ in range(3):
        (claimed,) = claim(database, owner)
        give(database, owner, claimed)
        clock.advance(minutes=50)
        assert database.write_now(lambda tx: expire_requests(tx, {"calls": owner.kind})) == 0
    clock.advance(hours=1)  # nobody got there for as long as a poll may wait
    assert database.write_now(lambda tx: expire_requests(tx, {"calls": owner.kind})) == 1


def test_a_poll_goes_on_from_its_cursor_for_ever(database: Database, clock: FixedClock) -> None:
    owner = Owner(keeps_progress=True)
    queue(database)
    for cursor in ("page-2", "page-3"):
        (claimed,) = claim(database, owner)
        owner.next = Later(cursor, 30)
        give(database, owner, claimed)
        assert (found(database).progress, found(database).attempts) == (cursor, 0)
        assert claim(database, owner) == []
        clock.advance(seconds=30)
    owner.next = NotNow("down")
    for _ in range(len(PLAN.waits_s) + 1):
        (claimed,) = claim(database, owner)
        assert claimed[0].progress == "page-3"
        give(database, owner, claimed)
        clock.advance(minutes=2)
    assert found(database).state is RequestState.DEAD
    database.write_now(lambda tx: replay_request(tx, {"calls": owner.kind}, found(database)))
    (claimed,) = claim(database, owner)
    assert claimed[0].progress == "page-3"
