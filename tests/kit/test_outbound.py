"""Requests to outside systems as rows: steps, retries, dead letters, polls and leases, on both engines."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from contatto.kit.outbound.machine import LEASE
from contatto.kit.outbound.model import (
    Ask,
    Done,
    Failed,
    HttpAnswer,
    HttpRequest,
    NewRequest,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
    RetryPlan,
    SendFailure,
    Step,
)
from contatto.kit.outbound.queue import (
    Claimed,
    OutboundKind,
    dismiss_request,
    expire_requests,
    jobs,
    list_failed_jobs,
    purge_jobs,
    queue_request,
    renew_claims,
    replay_request,
)
from tests.outbound import answer, claim_all, find_request, next_step

PLAN = RetryPlan((10, 60), timedelta(hours=1))
OK = HttpAnswer(200, {}, b"")
LOST = SendFailure.LOST


@dataclass
class Owner:
    """An owner of requests that writes down what it is told."""

    is_repeatable: bool = True
    next: Step = field(default_factory=Done)
    told: list[tuple[str, Outcome, RequestState]] = field(default_factory=list)
    keeps_progress: bool = False

    @property
    def kind(self) -> OutboundKind:
        return OutboundKind(
            "calls",
            self.begin,
            lambda tx, request, given: self.next,
            self.settle,
            PLAN,
            None,
            self.keeps_progress,
        )

    def begin(self, _tx: Tx, request: OutboundRequest) -> Step:
        ask = HttpRequest("POST", f"https://{request.destination}/{request.subject}", {}, b"")
        return Ask(ask, request.progress, self.is_repeatable)

    def settle(self, _tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
        self.told.append((request.subject, outcome, state))


def queue(
    db: Database, subject: str = "s1", line: str = "", business_id: str = "b1", destination: str = "there"
) -> None:
    new = NewRequest(business_id, "calls", subject, destination, line)
    db.write_now(lambda tx: queue_request(tx, new, PLAN))


def claim(db: Database, owner: Owner) -> list[Claimed]:
    return db.write_now(lambda tx: claim_all(tx, owner.kind))


def give(db: Database, owner: Owner, claimed: Claimed, given: HttpAnswer | SendFailure = OK) -> Ask | None:
    return db.write_now(lambda tx: answer(tx, owner.kind, claimed, given))


def found(db: Database, request_id: int = 1) -> OutboundRequest:
    request = db.read_now(lambda tx: find_request(tx, "b1", request_id))
    assert request is not None
    return request


def test_a_request_is_claimed_by_one_and_done_by_its_answer(database: Database) -> None:
    owner = Owner()
    queue(database)
    (claimed,) = claim(database, owner)
    assert claimed[1].request.url == "https://there/s1"
    assert claim(database, owner) == []
    give(database, owner, claimed)
    assert owner.told == [("s1", Done(), RequestState.DONE)]
    assert (found(database).state, found(database).claim) == (RequestState.DONE, None)


def test_what_is_not_taken_now_waits_longer_each_time_and_is_dead_at_the_end(
    database: Database, clock: FixedClock
) -> None:
    owner = Owner(next=NotNow("busy"))
    queue(database)
    first = clock.now()
    for wait_s in PLAN.waits_s:
        (claimed,) = claim(database, owner)
        give(database, owner, claimed)
        assert (found(database).state, found(database).reason) == (RequestState.DUE, "busy")
        clock.advance(seconds=wait_s, microseconds=-1)
        assert claim(database, owner) == []
        clock.advance(microseconds=1)
    (claimed,) = claim(database, owner)
    give(database, owner, claimed)
    dead = found(database)
    assert (dead.state, dead.attempts, dead.failed_at) == (RequestState.DEAD, 3, first)
    assert [state for _, _, state in owner.told] == [RequestState.DUE, RequestState.DUE, RequestState.DEAD]
    clock.advance(days=1)
    assert claim(database, owner) == []


@pytest.mark.parametrize(
    ("chance", "asked_s", "waits_s"), [(0.0, None, 10), (1.0, None, 12), (0.5, 40.0, 40)]
)
def test_chance_spreads_the_tries_and_none_comes_before_the_other_side_wants_it(
    database: Database, chance: float, asked_s: float | None, waits_s: float
) -> None:
    owner = Owner(next=NotNow("busy", asked_s))
    queue(database)
    (claimed,) = claim(database, owner)
    request, ask = claimed
    database.write_now(lambda tx: next_step(tx, owner.kind, request, (ask, OK), lambda: chance))
    assert found(database).due_at == database.clock.now() + timedelta(seconds=waits_s)


@pytest.mark.parametrize(
    ("trouble", "is_repeatable", "outcome"),
    [
        (SendFailure.UNREACHED, True, NotNow("unreached")),
        (SendFailure.UNREACHED, False, NotNow("unreached")),
        (SendFailure.LOST, True, NotNow("answer_lost")),
        (SendFailure.LOST, False, Failed("answer_lost")),
        (SendFailure.FORBIDDEN, True, Failed("forbidden_address")),
    ],
)
def test_a_lost_answer_is_asked_for_again_only_where_that_does_no_harm(
    database: Database, trouble: SendFailure, is_repeatable: bool, outcome: Outcome
) -> None:
    owner = Owner(is_repeatable=is_repeatable)
    queue(database)
    (claimed,) = claim(database, owner)
    give(database, owner, claimed, trouble)
    state = RequestState.DUE if isinstance(outcome, NotNow) else RequestState.DEAD
    assert owner.told == [("s1", outcome, state)]


@pytest.mark.parametrize("is_repeatable", [True, False])
def test_after_a_crash_another_takes_it_up_or_says_that_it_may_have_arrived(
    database: Database, clock: FixedClock, is_repeatable: bool
) -> None:
    owner = Owner(is_repeatable=is_repeatable)
    queue(database)
    claim(database, owner)
    clock.advance(seconds=LEASE.total_seconds() - 1)
    assert claim(database, owner) == []
    clock.advance(seconds=1)
    assert len(claim(database, owner)) == is_repeatable
    expected = [] if is_repeatable else [("s1", Failed("answer_lost"), RequestState.DEAD)]
    assert owner.told == expected


def test_a_lease_that_is_renewed_keeps_others_away(database: Database, clock: FixedClock) -> None:
    owner = Owner()
    queue(database)
    ((request, _),) = claim(database, owner)
    assert request.claim
    clock.advance(seconds=LEASE.total_seconds() - 1)
    database.write_now(lambda tx: renew_claims(tx, [request.claim or ""], tx.now + LEASE))
    clock.advance(seconds=LEASE.total_seconds() - 1)
    assert claim(database, owner) == []


def test_an_answer_that_comes_after_the_lease_counts_only_if_it_was_taken(
    database: Database, clock: FixedClock
) -> None:
    owner = Owner(is_repeatable=False, next=NotNow("busy"))
    queue(database)
    (slow,) = claim(database, owner)
    clock.advance(seconds=LEASE.total_seconds())
    claim(database, owner)
    give(database, owner, slow)
    assert found(database).reason == "answer_lost"
    owner.next = Done()
    give(database, owner, slow)
    assert (found(database).state, owner.told[-1][1]) == (RequestState.DONE, Done())


def test_requests_of_a_line_keep_their_order_and_other_lines_go_on(
    database: Database, clock: FixedClock
) -> None:
    owner = Owner(next=NotNow("busy"))
    for subject, line in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("free", "")):
        queue(database, subject, line)
    claimed = claim(database, owner)
    assert [request.subject for request, _ in claimed] == ["a1", "b1", "free"]
    give(database, owner, claimed[0])
    owner.next = Done()
    give(database, owner, claimed[1])
    assert claim(database, owner) == []
    clock.advance(seconds=10)
    ((request, ask),) = claim(database, owner)
    assert request.subject == "a1"
    give(database, owner, (request, ask))
    assert [request.subject for request, _ in claim(database, owner)] == ["a2"]


def test_a_dead_one_lets_the_next_of_its_line_through(database: Database) -> None:
    owner = Owner(next=Failed("no"))
    queue(database, "a1", "a")
    queue(database, "a2", "a")
    (claimed,) = claim(database, owner)
    give(database, owner, claimed)
    assert [request.subject for request, _ in claim(database, owner)] == ["a2"]


def test_what_breaks_our_own_code_concerns_one_request_and_says_so(database: Database) -> None:
    owner = Owner()
    queue(database, "sound")
    queue(database, "broken")
    right = owner.begin

    def fail(tx: Tx, request: OutboundRequest) -> Step:
        if request.subject == "broken":
            tx.insert(jobs, {"business_id": "half done"})
        return right(tx, request)

    owner.begin = fail  # type: ignore[assignment]
    assert [request.subject for request, _ in claim(database, owner)] == ["sound"]
    assert owner.told == [("broken", NotNow("broken"), RequestState.DUE)]


@pytest.mark.parametrize("outcome", [Done(), NotNow("busy"), Failed("no")])
def test_an_owner_that_cannot_be_told_has_it_neither_sent_again_at_once_nor_holds_up_others(
    database: Database, outcome: Outcome
) -> None:
    owner = Owner(next=outcome)
    queue(database, "broken")
    right = owner.settle

    def fail(tx: Tx, request: OutboundRequest, given: Outcome, state: RequestState) -> None:
        right(tx, request, given, state)
        if request.subject == "broken":
            tx.insert(jobs, {"business_id": "half done"})

    owner.settle = fail  # type: ignore[assignment]
    (claimed,) = claim(database, owner)
    give(database, owner, claimed)
    queue(database, "sound")
    assert [request.subject for request, _ in claim(database, owner)] == ["sound"]
    kept = found(database)
    assert (kept.claim, owner.told) == (None, [("broken", outcome, kept.state)])


def test_what_cannot_even_begin_and_whose_owner_is_broken_holds_up_no_other(database: Database) -> None:
    owner = Owner()
    for subject in ("broken", "sound"):
        queue(database, subject)
    right = owner.begin

    def begin(tx: Tx, request: OutboundRequest) -> Step:
        return Failed("no") if request.subject == "broken" else right(tx, request)

    def settle(tx: Tx, *_told: object) -> None:
        raise LookupError("the owner has a fault")

    owner.begin, owner.settle = begin, settle  # type: ignore[method-assign, assignment]
    assert [request.subject for request, _ in claim(database, owner)] == ["sound"]
    assert (found(database).state, found(database).reason) == (RequestState.DEAD, "no")


def test_a_dead_letter_is_replayed_from_its_first_step_or_dismissed(
    database: Database, clock: FixedClock
) -> None:
    owner = Owner(next=Failed("no"))
    for subject in ("again", "enough"):
        queue(database, subject)
    for claimed in claim(database, owner):
        give(database, owner, claimed)
    kinds = {"calls": owner.kind}
    enough, again = database.read_now(lambda tx: list_failed_jobs(tx, "b1", 9))
    assert database.read_now(lambda tx: list_failed_jobs(tx, "b2", 9)) == []
    database.write_now(lambda tx: dismiss_request(tx, kinds, enough))
    database.write_now(lambda tx: replay_request(tx, kinds, again))
    assert database.read_now(lambda tx: list_failed_jobs(tx, "b1", 9)) == []
    (claimed,) = claim(database, owner)
    assert (claimed[0].subject, claimed[0].attempts) == ("again", 1)
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: replay_request(tx, kinds, claimed[0]))
    assert refused.value.code is errors.CONFLICT
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: dismiss_request(tx, kinds, replace(claimed[0], id=99)))
    assert refused.value.code is errors.CONFLICT
    owner.next = Done()
    give(database, owner, claimed)
    clock.advance(days=8)
    assert database.write_now(lambda tx: purge_jobs(tx, tx.now - timedelta(days=7))) == 2


def test_what_was_never_tried_in_its_lifetime_is_given_up(database: Database, clock: FixedClock) -> None:
    owner = Owner()
    kinds = {"calls": owner.kind}
    queue(database)
    clock.advance(hours=1, microseconds=-1)
    assert database.write_now(lambda tx: expire_requests(tx, kinds)) == 0
    clock.advance(microseconds=1)
    assert database.write_now(lambda tx: expire_requests(tx, {})) == 0
    assert database.write_now(lambda tx: expire_requests(tx, kinds)) == 1
    assert owner.told == [("s1", Failed("expired"), RequestState.DEAD)]


def test_a_try_that_would_come_after_the_lifetime_is_not_waited_for(
    database: Database, clock: FixedClock
) -> None:
    owner = Owner(next=NotNow("busy"))
    queue(database)
    clock.advance(minutes=59, seconds=55)
    (claimed,) = claim(database, owner)
    give(database, owner, claimed)
    assert found(database).state is RequestState.DEAD


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_destinations_are_found_without_reading_what_waits_for_each(database: Database) -> None:
    for number in range(30):
        queue(database, f"s{number}", destination="there" if number else "elsewhere")

    def work(tx: Tx) -> list[str]:
        asked: list[str] = []
        stop = watch(tx, asked.append)
        claim_all(tx, Owner().kind)
        stop()
        plans: list[Any] = []
        for sql in asked:
            if sql.startswith(("WITH RECURSIVE", "SELECT jobs")):
                given = (1,) * sql.count("?")
                plans += tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given).all()
        return [row[3] for row in plans if "jobs" in row[3]]

    steps = database.write_now(work)
    assert steps
    assert not [step for step in steps if "INDEX ix_jobs" not in step]


def watch(tx: Tx, note: Callable[[str], None]) -> Callable[[], None]:
    def keep(*told: object) -> None:
        note(str(told[2]))

    event.listen(tx.connection, "before_cursor_execute", keep)
    return lambda: event.remove(tx.connection, "before_cursor_execute", keep)
