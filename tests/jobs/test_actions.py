"""Failed work of handlers and of requests: listed, counted, replayed and dismissed, each tenant's alone."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import update

from contatto import wiring
from contatto.integrations.model import DeliveryState
from contatto.jobs import actions
from contatto.jobs.rules import FailedCounts
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import RequestState, SendFailure
from contatto.kit.outbound.queue import OutboundKind, dismiss_dead_jobs, dismiss_request, jobs, replay_request
from contatto.kit.settings import Settings
from contatto.subscriptions import store as notices
from tests import make
from tests.failing import MESSAGE_PUSH, fail_job, fail_push
from tests.outbound import claim_all, find_request
from tests.quoting import quotes

KINDS = wiring.install(Settings()).outbound


@pytest.fixture
def owner(database: Database) -> str:
    return database.write_now(lambda tx: make.business(tx).id)


def ids(database: Database, business_id: str) -> list[str]:
    found = database.read_now(lambda tx: actions.list_failed_work(tx, business_id, 99))
    return [failed.id for failed in found]


def replay_one(tx: Tx, kinds: Mapping[str, OutboundKind], business_id: str, failed_id: str) -> None:
    replay_request(tx, kinds, actions.load_failed_work(tx, business_id, failed_id).job)


def dismiss_one(tx: Tx, kinds: Mapping[str, OutboundKind], business_id: str, failed_id: str) -> None:
    dismiss_request(tx, kinds, actions.load_failed_work(tx, business_id, failed_id).job)


def counts(database: Database, business_id: str) -> FailedCounts:
    return database.read_now(lambda tx: actions.count_failed_work(tx, business_id))


def test_both_kinds_are_listed_dead_letters_first_and_nothing_quotes_people(
    database: Database, owner: str, clock: FixedClock
) -> None:
    job = fail_job(database, owner)
    clock.advance(seconds=1)
    dead = fail_push(database, owner)
    clock.advance(seconds=1)
    waiting = fail_push(database, owner, trouble=SendFailure.UNREACHED)
    assert ids(database, owner) == [dead, job, waiting]
    assert counts(database, owner) == FailedCounts(dead=2, waiting=1)
    found = database.read_now(lambda tx: actions.list_failed_work(tx, owner, 99))
    assert [failed.job.reason for failed in found] == [
        "forbidden_address", found[1].job.reason, "unreached",
    ]  # fmt: skip
    assert found[1].job.reason.startswith("LookupError at broken:")
    assert not quotes(repr(found), "81234567")
    assert [failed.is_dead for failed in found] == [True, True, False]
    assert database.read_now(lambda tx: actions.list_failed_work(tx, owner, 1)) == found[:1]


def test_another_tenant_neither_sees_nor_touches_it(database: Database, owner: str) -> None:
    other = database.write_now(lambda tx: make.business(tx, "Other").id)
    all_ids = [fail_job(database, owner), fail_push(database, owner)]
    assert ids(database, other) == []
    assert counts(database, other) == FailedCounts(0, 0)
    for failed_id in all_ids:
        for act in (replay_one, dismiss_one):
            with pytest.raises(Refused) as refused:
                database.write_now(lambda tx, act=act, of=failed_id: act(tx, KINDS, other, of))  # type: ignore[misc]
            assert refused.value.code is errors.NOT_FOUND
        with pytest.raises(Refused):
            database.read_now(lambda tx, of=failed_id: actions.load_failed_work(tx, other, of))  # type: ignore[misc]
    database.write_now(lambda tx: actions.replay_dead_work(tx, KINDS, other, 0))
    assert database.write_now(lambda tx: dismiss_dead_jobs(tx, other)) == 0
    assert sorted(ids(database, owner)) == sorted(all_ids)
    assert counts(database, owner) == FailedCounts(dead=2, waiting=0)


def replay_all(db: Database, owner: str) -> tuple[int, int, int]:
    """Replay batches until none is left; return how many were replayed and refused, and the last id."""
    done, refused, after = 0, 0, 0
    while True:
        replay = partial(actions.replay_dead_work, kinds=KINDS, business_id=owner, after=after)
        some = db.write_now(replay)
        if some.last is None:
            return done, refused, after
        done, refused, after = done + some.done, refused + some.refused, some.last


def test_all_dead_letters_are_replayed_in_batches_and_what_waits_keeps_its_time(
    database: Database, owner: str
) -> None:
    fail_job(database, owner)
    first, second = fail_push(database, owner), fail_push(database, owner)
    waiting = fail_push(database, owner, trouble=SendFailure.UNREACHED)
    assert replay_all(database, owner) == (3, 0, int(second.removeprefix("job-")))
    assert ids(database, owner) == [waiting]
    due = database.write_now(lambda tx: claim_all(tx, MESSAGE_PUSH))
    assert [f"job-{request.id}" for request, _ in due] == [first, second]


def test_a_dead_letter_that_may_not_be_sent_any_more_stays_and_holds_up_no_other(
    database: Database, owner: str
) -> None:
    first, second = fail_push(database, owner), fail_push(database, owner)

    def take_away(tx: Tx) -> None:
        number = int(first.removeprefix("job-"))
        request = find_request(tx, owner, number)
        assert request is not None
        tx.delete(notices.pushes, owner, id=int(request.subject))

    database.write_now(take_away)
    assert replay_all(database, owner) == (1, 1, int(second.removeprefix("job-")))
    assert ids(database, owner) == [first]
    with pytest.raises(Refused):
        database.write_now(lambda tx: replay_one(tx, KINDS, owner, first))
    database.write_now(lambda tx: dismiss_one(tx, KINDS, owner, first))
    assert ids(database, owner) == []
    assert second


def test_what_waits_can_be_tried_now_or_given_up_and_its_owner_hears_of_it(
    database: Database, owner: str
) -> None:
    waiting = fail_push(database, owner, trouble=SendFailure.UNREACHED)
    assert database.write_now(lambda tx: claim_all(tx, MESSAGE_PUSH)) == []
    database.write_now(lambda tx: replay_one(tx, KINDS, owner, waiting))
    number = int(waiting.removeprefix("job-"))
    request = database.read_now(lambda tx: find_request(tx, owner, number))
    assert request is not None
    assert (request.attempts, request.due_at) == (0, database.clock.now())
    again = fail_push(database, owner, trouble=SendFailure.UNREACHED)
    database.write_now(lambda tx: dismiss_one(tx, KINDS, owner, again))
    push = database.read_now(lambda tx: notices.ledger.list_entries(tx, owner))[0]
    assert (push.state, push.reason) == (DeliveryState.DEAD, "dismissed")


def test_what_is_on_its_way_is_neither_replayed_nor_dismissed(database: Database, owner: str) -> None:
    waiting = fail_push(database, owner, trouble=SendFailure.UNREACHED)
    number = int(waiting.removeprefix("job-"))
    mine = update(jobs).where(jobs.c.id == number)
    database.write_now(lambda tx: tx.execute(mine.values(due_at=tx.now)))
    assert database.write_now(lambda tx: claim_all(tx, MESSAGE_PUSH))
    before = database.read_now(lambda tx: find_request(tx, owner, number))
    for act in (replay_one, dismiss_one):
        with pytest.raises(Refused) as refused:
            database.write_now(lambda tx, act=act: act(tx, KINDS, owner, waiting))  # type: ignore[misc]
        assert refused.value.code is errors.CONFLICT
    assert database.read_now(lambda tx: find_request(tx, owner, number)) == before


def test_all_dead_letters_are_dismissed_and_what_waits_is_not(database: Database, owner: str) -> None:
    fail_job(database, owner)
    dead = fail_push(database, owner)
    waiting = fail_push(database, owner, trouble=SendFailure.UNREACHED)
    assert database.write_now(lambda tx: dismiss_dead_jobs(tx, owner)) == 2
    assert ids(database, owner) == [waiting]
    number = int(dead.removeprefix("job-"))
    request = database.read_now(lambda tx: find_request(tx, owner, number))
    assert request is not None
    assert request.state is RequestState.DISMISSED


def test_a_kind_that_nobody_knows_is_dismissed_but_not_replayed(database: Database, owner: str) -> None:
    dead = fail_push(database, owner)
    others = {name: replace(kind) for name, kind in KINDS.items() if name != MESSAGE_PUSH.name}
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: replay_one(tx, others, owner, dead))
    assert refused.value.code is errors.CONFLICT
    database.write_now(lambda tx: dismiss_one(tx, others, owner, dead))
    assert ids(database, owner) == []
