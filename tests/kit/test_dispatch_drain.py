"""Draining: businesses in turn, batches by time, and what a person may do with a job that failed."""

import asyncio
from functools import partial

import pytest

from contatto.kit import outbox as drain_module
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, in_time
from contatto.kit.outbound.model import RequestState
from contatto.kit.outbound.queue import dismiss_request, list_failed_jobs, replay_request
from contatto.kit.outbox import KEEP, RETRY_AFTER, Drain, list_events
from tests.kit.test_outbox import Listener, drain, fill, purge_settled, run, states, told


def test_a_business_with_many_events_holds_up_no_other(database: Database, clock: FixedClock) -> None:
    listener = Listener("first")
    for number in range(150):
        fill(database, f"a{number}", "b1")
    fill(database, "x", "b2")
    fill(database, "y", "b3")
    draining = Drain(told(listener), claimed=6)
    assert asyncio.run(draining.run_batch(database)) == 4
    assert [event.cup for event in listener.heard] == ["a0", "x", "y", "a1"]
    fill(database, "z", "b2")
    clock.advance(seconds=1)
    asyncio.run(draining.run_batch(database))
    assert "z" in [event.cup for event in listener.heard[4:]]
    while asyncio.run(draining.run_batch(database)):
        pass
    mine = [event.cup for event in listener.heard if event.business_id == "b1"]
    assert mine == [f"a{number}" for number in range(150)]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_jobs_are_run_together_only_as_long_as_a_batch_may_take(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener("first")
    for _ in range(6):
        fill(database)
    monkeypatch.setattr(drain_module, "in_time", partial(in_time, seconds=0))
    commits: list[int] = []
    database.on_commit(lambda: commits.append(len(listener.heard)))
    assert asyncio.run(drain(database, told(listener))) == 6
    assert commits[:6] == [0, 1, 2, 3, 4, 5]  # the last is told of once all is done


def test_what_failed_is_told_with_since_when_and_why_and_to_its_business_alone(
    database: Database, clock: FixedClock
) -> None:
    broken, sound = Listener("broken", failures=2), Listener("sound")
    fill(database, "mine", "b1")
    first = clock.now()
    run(database, told(broken, sound))
    clock.advance(seconds=RETRY_AFTER[0])
    run(database, told(broken, sound))
    [failed] = database.read_now(lambda tx: list_failed_jobs(tx, "b1", 9))
    assert failed.kind == "broken"
    assert (failed.attempts, failed.failed_at) == (2, first)
    assert failed.reason.startswith("ValueError at ")
    before = (failed.event_seq or 0) - 1
    assert '"mine"' in database.read_now(lambda tx: list_events(tx, before, 1))[0].payload
    assert database.read_now(lambda tx: list_failed_jobs(tx, "b2", 9)) == []
    database.write_now(lambda tx: replay_request(tx, {}, failed))
    run(database, told(broken, sound))
    assert [event.cup for event in broken.heard] == ["mine"]
    assert database.read_now(lambda tx: list_failed_jobs(tx, "b1", 9)) == []


def test_a_job_that_is_dismissed_is_never_run_again_and_goes_after_its_time(
    database: Database, clock: FixedClock
) -> None:
    broken = Listener("broken", failures=1)
    fill(database)
    run(database, told(broken))
    [failed] = database.read_now(lambda tx: list_failed_jobs(tx, "b1", 9))
    database.write_now(lambda tx: dismiss_request(tx, {}, failed))
    clock.advance(days=1)
    assert run(database, told(broken)) == 0
    assert states(database) == [("broken", RequestState.DISMISSED, 1)]
    clock.advance(seconds=KEEP.total_seconds())
    fill(database, "fresh")
    database.write_now(purge_settled)
    assert states(database) == []
