"""The outbox: no event without its change, every handler once, retries, dead letters, and leases."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import select

from contatto.accounts.store import businesses
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.ids import new_id
from contatto.kit.outbound.model import RequestState
from contatto.kit.outbound.queue import jobs, list_failed_jobs, purge_jobs, replay_request
from contatto.kit.outbox import (
    KEEP,
    LATER,
    LEASE,
    RETRY_AFTER,
    UNKNOWN,
    After,
    Drain,
    emit,
    event_name,
    events,
    last_seq,
    list_events,
    purge_events,
)


@dataclass(frozen=True, slots=True)
class CupFilled:
    business_id: str
    cup: str
    full: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NobodyHears:
    business_id: str


async def drain(db: Database, after: After) -> int:
    """Run due jobs once, and return how many."""
    return await Drain(after, 200).run_batch(db)


class Listener:
    """A handler that notes what it heard and fails as often as it is told to."""

    __module__ = "contatto.tests"

    def __init__(self, name: str, failures: int = 0) -> None:
        self.__qualname__ = name
        self.failures = failures
        self.heard: list[CupFilled] = []

    def __call__(self, tx: Tx, event: CupFilled) -> None:
        tx.insert(businesses, {"id": new_id(), "name": self.__qualname__, "created_at": tx.now})
        if self.failures:
            self.failures -= 1
            raise ValueError("spilled")
        self.heard.append(event)


def told(*listeners: Listener) -> After:
    """The table of an event that these hear, each under its own name."""
    return {CupFilled: {listener.__qualname__: listener for listener in listeners}}


def fill(db: Database, cup: str = "a", business_id: str = "b1") -> None:
    db.write_now(lambda tx: emit(tx, business_id, CupFilled(business_id, cup, ("tea",))))


def run(db: Database, after: After) -> int:
    """Drain until nothing is due; say how many jobs ran."""

    async def until_quiet() -> int:
        total = 0
        while done := await drain(db, after):
            total += done
        return total

    return asyncio.run(until_quiet())


def effects(db: Database, name: str) -> int:
    """How often a handler's effect was kept."""
    mine = select(businesses).where(businesses.c.name == name)
    return len(db.read_now(lambda tx: tx.execute(mine).all()))


def states(db: Database) -> list[tuple[str, RequestState, int]]:
    rows = db.read_now(lambda tx: tx.execute(select(jobs).order_by(jobs.c.id)).mappings().all())
    return [(row["kind"].rpartition(".")[2], row["state"], row["attempts"]) for row in rows]


def replay_dead(tx: Tx, business_id: str) -> int:
    dead = [job for job in list_failed_jobs(tx, business_id, 9) if job.state is RequestState.DEAD]
    for job in dead:
        replay_request(tx, {}, job)
    return len(dead)


def purge_settled(tx: Tx) -> None:
    purge_jobs(tx, tx.now - KEEP)
    purge_events(tx)


def count(db: Database) -> int:
    return len(db.read_now(lambda tx: tx.execute(select(events)).all()))


def test_an_event_is_named_after_its_class() -> None:
    assert event_name(CupFilled) == "cup_filled"


def test_a_change_that_is_taken_back_takes_its_event_with_it(database: Database) -> None:
    def fail(tx: Tx) -> None:
        emit(tx, "b1", CupFilled("b1", "a"))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.write_now(fail)
    assert count(database) == 0


def test_every_handler_hears_an_event_once_as_it_was_told(database: Database) -> None:
    first, second = Listener("first"), Listener("second")
    after: After = told(first, second)
    fill(database)
    assert run(database, after) == 2
    assert run(database, after) == 0
    assert first.heard == second.heard == [CupFilled("b1", "a", ("tea",))]
    assert states(database) == [("first", RequestState.DONE, 1), ("second", RequestState.DONE, 1)]


def test_events_are_heard_in_their_order(database: Database) -> None:
    listener = Listener("first")
    for cup in "abcde":
        fill(database, cup)
    run(database, told(listener))
    assert [event.cup for event in listener.heard] == list("abcde")


def test_an_event_that_nobody_hears_stays_for_the_live_feed(database: Database) -> None:
    database.write_now(lambda tx: emit(tx, "b1", NobodyHears("b1")))
    assert run(database, {NobodyHears: {}}) == 0
    assert count(database) == 1


def test_a_failed_handler_leaves_no_effect_and_holds_up_no_other(database: Database) -> None:
    broken, sound = Listener("broken", failures=1), Listener("sound")
    fill(database)
    run(database, told(broken, sound))
    assert effects(database, "broken") == 0
    assert effects(database, "sound") == 1
    assert states(database) == [("broken", RequestState.DUE, 1), ("sound", RequestState.DONE, 1)]


def test_a_failed_job_waits_as_the_table_says_and_is_dead_at_its_end(
    database: Database, clock: FixedClock
) -> None:
    broken = Listener("broken", failures=100)
    after: After = told(broken)
    fill(database)
    for tries, wait_s in enumerate(RETRY_AFTER, 1):
        assert run(database, after) == 1
        assert states(database) == [("broken", RequestState.DUE, tries)]
        clock.advance(seconds=wait_s, microseconds=-1)
        assert run(database, after) == 0
        clock.advance(microseconds=1)
    assert run(database, after) == 1
    assert states(database) == [("broken", RequestState.DEAD, len(RETRY_AFTER) + 1)]
    clock.advance(days=6)
    assert run(database, after) == 0


def test_a_failure_is_noted_by_its_place_and_not_by_its_words(database: Database) -> None:
    fill(database)
    run(database, told(Listener("broken", failures=1)))
    noted = database.read_now(lambda tx: tx.scalar(select(jobs.c.reason)))
    assert noted.startswith("ValueError at ")
    assert "spilled" not in noted


def test_a_dead_letter_is_heard_when_it_is_replayed(database: Database, clock: FixedClock) -> None:
    broken = Listener("broken", failures=len(RETRY_AFTER) + 1)
    after: After = told(broken)
    fill(database)
    for wait_s in (*RETRY_AFTER, 0):
        run(database, after)
        clock.advance(seconds=wait_s)
    assert states(database)[0][1] is RequestState.DEAD
    assert database.write_now(lambda tx: replay_dead(tx, "another")) == 0
    assert database.write_now(lambda tx: replay_dead(tx, "b1")) == 1
    assert run(database, after) == 1
    assert len(broken.heard) == 1
    assert states(database)[0][1] is RequestState.DONE


def test_a_job_of_a_handler_that_is_not_known_here_waits_and_loses_no_try(
    database: Database, clock: FixedClock
) -> None:
    before, now = Listener("before", failures=1), Listener("before")
    fill(database)
    run(database, told(before))
    clock.advance(seconds=RETRY_AFTER[0])
    for _ in range(2 * len(RETRY_AFTER)):
        assert run(database, told(Listener("another"))) == 1
        assert states(database) == [("before", RequestState.DUE, 1)]
        [failed] = database.read_now(lambda tx: list_failed_jobs(tx, "b1", 9))
        assert failed.reason == UNKNOWN
        clock.advance(seconds=LATER.total_seconds())
    run(database, told(now))
    assert len(now.heard) == 1


def test_a_name_outlives_the_function_that_was_called_by_it(database: Database, clock: FixedClock) -> None:
    fill(database)
    run(database, {CupFilled: {"kept name": Listener("old", failures=1)}})
    clock.advance(seconds=RETRY_AFTER[0])
    moved = Listener("elsewhere")
    run(database, {CupFilled: {"kept name": moved}})
    assert len(moved.heard) == 1


def test_an_event_that_is_not_known_here_waits_for_who_knows_it(database: Database) -> None:
    fill(database)
    assert run(database, {NobodyHears: {}}) == 0
    listener = Listener("first")
    assert run(database, told(listener)) == 1
    assert len(listener.heard) == 1


def crash(db: Database, after: After) -> None:
    """Claim what is due and die before anything is run."""

    class Killed(BaseException):
        pass

    async def claim_and_die() -> None:
        original = db.write
        calls: list[int] = []

        async def dying[T](work: Callable[[Tx], T], **how: bool) -> T:
            calls.append(1)
            if len(calls) > 1:
                raise Killed
            return await original(work, **how)

        db.write = dying  # type: ignore[method-assign]
        try:
            await drain(db, after)
        finally:
            db.write = original  # type: ignore[method-assign]

    with pytest.raises(Killed):
        asyncio.run(claim_and_die())


def test_a_claimed_job_is_nobody_elses_until_its_lease_ends(database: Database, clock: FixedClock) -> None:
    listener = Listener("first")
    after: After = told(listener)
    fill(database)
    crash(database, after)
    assert run(database, after) == 0
    clock.advance(seconds=LEASE.total_seconds())
    assert run(database, after) == 1
    assert len(listener.heard) == 1


def test_a_job_that_two_workers_hold_has_one_effect(database: Database, clock: FixedClock) -> None:
    """The first worker is slow: its lease ends while it works, and a second one does the job meanwhile."""
    second = Listener("slow")

    class Slow(Listener):
        def __call__(self, tx: Tx, event: CupFilled) -> None:
            super().__call__(tx, event)

    slow = Slow("slow")
    after_first: After = told(slow)
    fill(database)

    async def overlap() -> None:
        original = database.write
        held: list[Callable[[Tx], None]] = []

        async def late[T](work: Callable[[Tx], T], **how: bool) -> T:
            if not held:
                held.append(work)  # type: ignore[arg-type]
                return await original(work)
            clock.advance(seconds=LEASE.total_seconds())
            database.write = original  # type: ignore[method-assign]
            assert await drain(database, told(second)) == 1
            return await original(work)

        database.write = late  # type: ignore[method-assign]
        await drain(database, after_first)

    asyncio.run(overlap())
    assert effects(database, "slow") == 1
    assert len(second.heard) + len(slow.heard) == 1


def test_what_was_heard_long_ago_is_forgotten_and_what_waits_is_kept(
    database: Database, clock: FixedClock
) -> None:
    heard, broken = Listener("heard"), Listener("broken", failures=100)
    fill(database, "old", "b1")
    run(database, told(heard))
    fill(database, "stuck", "b2")
    for _ in range(len(RETRY_AFTER) + 1):
        run(database, told(broken))
        clock.advance(hours=7)
    clock.advance(seconds=(KEEP + timedelta(days=1)).total_seconds())
    fill(database, "fresh", "b1")
    database.write_now(purge_settled)
    left = database.read_now(
        lambda tx: [*list_events(tx, 0, business_id="b1"), *list_events(tx, 0, business_id="b2")]
    )
    assert ["fresh" in left[0].payload, "stuck" in left[1].payload] == [True, True]
    assert len(left) == 2
    database.write_now(lambda tx: replay_dead(tx, "b2"))
    broken.failures = 0
    run(database, told(broken))
    assert sorted(event.cup for event in broken.heard) == ["fresh", "stuck"]


def test_a_number_never_comes_twice_however_long_it_is_quiet(database: Database, clock: FixedClock) -> None:
    fill(database, "a")
    run(database, told(Listener("first")))
    before = database.read_now(last_seq)
    clock.advance(seconds=2 * KEEP.total_seconds())
    database.write_now(purge_settled)
    fill(database, "b")
    assert database.read_now(last_seq) > before


def test_events_are_listed_for_their_business_only(database: Database) -> None:
    fill(database, "mine", "b1")
    fill(database, "theirs", "b2")
    mine = database.read_now(lambda tx: list_events(tx, 0, business_id="b1"))
    assert ["mine" in event.payload for event in mine] == [True]
