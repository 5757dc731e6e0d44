"""The machine that sends, against real servers: who is slow or down holds up nobody else."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from sqlalchemy import event, func, select

from contatto.kit.db.database import Database, open_database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.outbound import model
from contatto.kit.outbound.client import Client
from contatto.kit.outbound.machine import Limits, OutboundMachine
from contatto.kit.outbound.model import (
    Ask,
    Done,
    HttpAnswer,
    HttpRequest,
    NewRequest,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
    RetryPlan,
    Step,
    retry_after_s,
)
from contatto.kit.outbound.queue import OutboundKind, jobs, queue_request
from tests.kit.servers import outside
from tests.outbound import finish

PLAN = RetryPlan((10, 60))
PATIENCE_S = 60.0


@dataclass
class House:
    """Requests of one kind, the machine that sends them, and when each was settled."""

    db: Database
    machine: OutboundMachine
    done: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def queue(self, destination: str, *subjects: str, business_id: str = "b1", line: str = "") -> None:
        def work(tx: Tx) -> None:
            for subject in subjects:
                queue_request(tx, NewRequest(business_id, "calls", subject, destination, line), PLAN)

        self.db.write_now(work)

    async def until(self, is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < end, "it did not come so far"
            await asyncio.sleep(0.005)


def ask_for(_tx: Tx, request: OutboundRequest) -> Step:
    return Ask(HttpRequest("POST", f"http://{request.destination}/{request.subject}", {}, b""))


def read_status(_tx: Tx, _request: OutboundRequest, answer: HttpAnswer) -> Step:
    if answer.body.startswith(b"<"):
        return NotNow("not_json")
    return Done() if answer.status == 200 else NotNow(str(answer.status), retry_after_s(answer))


def play(
    db: Database,
    story: Callable[[House], Awaitable[None]],
    limits: Limits = Limits(),  # noqa: B008  # it is frozen
    answer_s: float = PATIENCE_S,
) -> None:
    async def go() -> None:
        client = Client(["127.0.0.1:*"], answer_s)
        house: House

        def settle(_tx: Tx, request: OutboundRequest, outcome: Outcome, _state: RequestState) -> None:
            house.done[request.subject] = time.monotonic()
            house.outcomes[request.subject] = outcome

        kind = OutboundKind("calls", ask_for, read_status, settle, PLAN)
        house = House(db, OutboundMachine(db, client, {"calls": kind}, limits, float))
        running = asyncio.create_task(house.machine.run())
        try:
            await story(house)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await client.close()

    asyncio.run(go())


def test_who_hangs_holds_up_nobody_else_and_takes_no_more_than_its_places(database: Database) -> None:
    async def story(house: House) -> None:
        async with outside(hangs=True) as stuck, outside() as sound:
            house.queue(stuck.host, *(f"stuck{number}" for number in range(40)))
            house.queue(sound.host, *(f"sound{number}" for number in range(40)))
            await house.machine.send_due()
            await house.until(lambda: len(house.done) == 40)
            assert all(name.startswith("sound") for name in house.done)
            assert (stuck.most_at_once, len(stuck.asked)) == (4, 4)
            assert sound.most_at_once <= 4
            stuck.hangs = False
            await house.until(lambda: len(house.done) == 80)
            assert stuck.most_at_once <= 4

    play(database, story, Limits(each_destination=4))


def test_a_place_that_comes_free_is_filled_at_once_and_not_when_all_have_ended(database: Database) -> None:
    async def story(house: House) -> None:
        async with outside(slow=frozenset({"slow"})) as there:
            house.queue(there.host, "slow", *(f"quick{number}" for number in range(12)))
            await house.machine.send_due()
            await house.until(lambda: len(house.done) == 12)
            assert "slow" not in house.done

    play(database, story, Limits(each_destination=2))


def test_businesses_have_turns_at_a_destination_that_they_share(database: Database) -> None:
    async def story(house: House) -> None:
        async with outside() as there:
            house.queue(there.host, *(f"a{number}" for number in range(20)), business_id="a")
            house.queue(there.host, "b0", "b1", business_id="b")
            house.queue(there.host, "c0", business_id="c")
            await house.machine.send_due()
            await house.until(lambda: len(house.done) == 23)
            assert set(there.asked[:6]) >= {"b0", "b1", "c0"}
            assert [path for path in there.asked if path[0] == "a"] == [f"a{number}" for number in range(20)]

    play(database, story, Limits(each_destination=1))


def test_a_business_with_many_hanging_destinations_leaves_places_for_others(database: Database) -> None:
    async def story(house: House) -> None:
        async with AsyncExitStack() as servers:
            stuck = [await servers.enter_async_context(outside(hangs=True)) for _ in range(6)]
            sound = await servers.enter_async_context(outside())
            for server in stuck:
                house.queue(server.host, f"stuck at {server.host}", business_id="a")
            house.queue(sound.host, "other", business_id="b")
            await house.machine.send_due()
            await house.until(lambda: "other" in house.done)
            assert sum(len(server.asked) for server in stuck) <= 3

    play(database, story, Limits(places=4, each_business=3))


def test_a_destination_that_is_down_is_left_alone_and_tried_with_one_request(
    database: Database, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "COOL_S", (30.0,))
    steady = SimpleNamespace(now_s=1_000.0)
    monkeypatch.setattr("contatto.kit.outbound.machine.time", SimpleNamespace(monotonic=lambda: steady.now_s))

    async def story(house: House) -> None:
        async with outside(status=503) as down, outside() as sound:
            house.queue(down.host, *(f"down{number}" for number in range(20)))
            await house.machine.send_due()
            await house.until(lambda: len(down.asked) >= model.OPENS_AFTER)
            await finish(house.machine)
            opened = len(down.asked)
            assert opened < 20
            house.queue(sound.host, "sound")
            assert await house.machine.send_due() == 1
            await finish(house.machine)
            assert (len(down.asked), "sound" in house.done) == (opened, True)
            steady.now_s += 31
            assert await house.machine.send_due() == 1
            await finish(house.machine)
            assert len(down.asked) == opened + 1
            down.status = 200
            steady.now_s += 31
            await house.machine.send_due()
            await finish(house.machine)
            clock.advance(seconds=12)
            await house.machine.send_due()
            await finish(house.machine)
            assert sum(isinstance(each, Done) for each in house.outcomes.values()) == 21

    play(database, story, Limits(each_destination=2))


def test_a_silent_destination_is_given_up_after_its_time_and_its_place_is_free_again(
    database: Database,
) -> None:
    async def story(house: House) -> None:
        async with outside(hangs=True) as stuck:
            house.queue(stuck.host, "first", "second")
            await house.machine.send_due()
            await house.until(lambda: len(house.outcomes) == 2)
            assert set(house.outcomes.values()) == {NotNow("answer_lost")}

    play(database, story, Limits(each_destination=1), answer_s=0.2)


def test_what_hangs_up_redirects_or_throttles_is_tried_later_and_nowhere_else(
    database: Database, clock: FixedClock
) -> None:
    async def story(house: House) -> None:
        async with outside(drops=True) as drops, outside() as elsewhere:
            to = f"location: http://{elsewhere.host}/led-here"
            async with (
                outside(status=307, headers=(to,)) as redirects,
                outside(status=429, headers=("retry-after: 45",)) as throttles,
                outside(status=200, body="<html>down for a while</html>") as page,
            ):
                servers = {"drops": drops, "redirects": redirects, "throttles": throttles, "page": page}
                for name, server in servers.items():
                    house.queue(server.host, name)
                house.queue("127.0.0.1:1", "refuses")
                await house.machine.send_due()
                await finish(house.machine)
                assert house.outcomes == {
                    "drops": NotNow("answer_lost"),
                    "redirects": NotNow("307"),
                    "throttles": NotNow("429", 45.0),
                    "page": NotNow("not_json"),
                    "refuses": NotNow("unreached"),
                }
                drops.drops, redirects.status, throttles.status, page.body = False, 200, 200, "{}"
                clock.advance(seconds=44)
                await house.machine.send_due()
                await finish(house.machine)
                assert {name for name, said in house.outcomes.items() if said == Done()} == {
                    "drops", "redirects", "page",
                }  # fmt: skip
                clock.advance(seconds=1)
                await house.machine.send_due()
                await finish(house.machine)
                assert (house.outcomes["throttles"], len(throttles.asked)) == (Done(), 2)
            assert elsewhere.asked == []

    play(database, story)


def test_a_request_of_an_unknown_kind_waits_and_holds_up_nothing(database: Database) -> None:
    async def story(house: House) -> None:
        async with outside() as there:
            new = NewRequest("b1", "of a later release", "x", there.host)
            house.db.write_now(lambda tx: queue_request(tx, new, PLAN))
            house.queue(there.host, "known")
            await house.machine.send_due()
            await finish(house.machine)
            assert there.asked == ["known"]

    play(database, story)
    rows = database.read_now(lambda tx: tx.execute(select(jobs.c.kind, jobs.c.state,
                                                          jobs.c.attempts)).all())  # fmt: skip
    assert ("of a later release", RequestState.DUE, 0) in [tuple(row) for row in rows]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_two_processes_send_each_request_once(database: Database) -> None:
    other = open_database(
        database.engine.url.render_as_string(hide_password=False), database.clock, database.vault
    )

    async def story(house: House) -> None:
        async with outside() as there:
            client = Client(["127.0.0.1:*"])
            second = OutboundMachine(other, client, house.machine._kinds, Limits(each_destination=3), float)
            house.queue(there.host, *(f"s{number}" for number in range(60)))
            await asyncio.gather(house.machine.send_due(), second.send_due())
            await house.until(lambda: len(house.done) == 60)
            await client.close()
            assert sorted(there.asked) == sorted(f"s{number}" for number in range(60))

    play(database, story, Limits(each_destination=3))
    other.close()


def test_what_is_on_its_way_at_the_end_may_still_arrive(database: Database) -> None:
    async def story(house: House) -> None:
        async with outside(slow=frozenset({"late"})) as there:
            house.queue(there.host, "late")
            running = asyncio.create_task(house.machine.run())
            await house.machine.send_due()
            await house.until(lambda: there.asked == ["late"])
            running.cancel()
            await asyncio.sleep(0.05)
            there.slow = frozenset()
            await asyncio.gather(running, return_exceptions=True)
            assert "late" in house.done

    play(database, story)


def test_nothing_is_due_where_nothing_waits(database: Database) -> None:
    async def story(house: House) -> None:
        assert await house.machine.send_due() == 0

    play(database, story)
    assert database.read_now(lambda tx: tx.scalar(select(func.count()).select_from(jobs))) == 0


def test_what_comes_together_shares_its_transactions_and_none_wakes_the_machine_anew(
    database: Database,
) -> None:
    commits: list[str] = []
    pokes: list[str] = []
    event.listen(database.engine, "commit", lambda _connection: commits.append("commit"))

    async def story(house: House) -> None:
        async with outside() as there:
            house.queue(there.host, *(f"s{number}" for number in range(12)))
            await asyncio.sleep(0.01)
            commits.clear()
            database.on_commit(lambda: pokes.append("poke"), {jobs.name})
            await house.machine.send_due()
            await finish(house.machine)
            assert len(house.done) == 12
            assert len(commits) <= 14  # one takes them all; however the answers come, they need no more
            assert pokes == []

    play(database, story)


def test_one_that_breaks_our_own_code_takes_nothing_from_those_that_come_with_it(database: Database) -> None:
    def begin(tx: Tx, request: OutboundRequest) -> Step:
        if request.subject == "begin":
            raise LookupError("our own fault")
        return ask_for(tx, request)

    def read(_tx: Tx, request: OutboundRequest, _answer: HttpAnswer) -> Step:
        if request.subject == "read":
            raise LookupError("our own fault")
        return Done()

    async def story(house: House) -> None:
        settle = house.machine._kinds["calls"].settle
        kind = OutboundKind("calls", begin, read, settle, PLAN)
        house.machine._kinds = {"calls": kind}
        async with outside() as there:
            house.queue(there.host, "begin", "read", "first", "second")
            await house.machine.send_due()
            await finish(house.machine)
            assert house.outcomes == {
                "begin": NotNow("broken"),
                "read": NotNow("broken"),
                "first": Done(),
                "second": Done(),
            }
            assert sorted(there.asked) == ["first", "read", "second"]

    play(database, story)


@pytest.mark.parametrize(
    "ask",
    [
        Ask(HttpRequest("POST", "http://127.0.0.1:9/x", {"Authorization": "Bearer schlüssel"}, b"")),
        Ask(HttpRequest("PO ST", "http://127.0.0.1:9/x", {"a": "b\nc"}, b"")),
        Ask(HttpRequest("POST", "http://127.0.0.1:9/x", {}, b""), progress="half\0way"),
        Ask(HttpRequest("POST", "http://127.0.0.1:9/x", {}, b""), progress="\ud800"),
    ],
    ids=["header", "method", "progress", "surrogate"],
)
def test_whatever_raises_counts_as_an_attempt_and_ends_as_a_dead_letter(
    database: Database, clock: FixedClock, ask: Ask
) -> None:
    """Neither is it sent for ever, nor does it hold up others."""
    outcomes: dict[str, list[RequestState]] = {"bad": [], "sound": []}

    def begin(_tx: Tx, request: OutboundRequest) -> Step:
        return ask if request.subject == "bad" else Done()

    def settle(_tx: Tx, request: OutboundRequest, _outcome: Outcome, state: RequestState) -> None:
        outcomes[request.subject].append(state)

    async def go() -> None:
        client = Client(["127.0.0.1:*"])
        kind = OutboundKind("calls", begin, read_status, settle, PLAN)
        machine = OutboundMachine(database, client, {"calls": kind}, Limits(), float)
        for _ in range(len(PLAN.waits_s) + 3):
            await machine.send_due()
            await finish(machine)
            clock.advance(minutes=2)
        await client.close()

    def queue(tx: Tx) -> None:
        for subject in outcomes:
            queue_request(tx, NewRequest("b1", "calls", subject, "there"), PLAN)

    database.write_now(queue)
    asyncio.run(go())
    assert outcomes["sound"] == [RequestState.DONE]
    assert outcomes["bad"] == [RequestState.DUE, RequestState.DUE, RequestState.DEAD]
    row = database.read_now(lambda tx: tx.execute(select(jobs).where(jobs.c.subject == "bad")).one())
    assert row.attempts == len(PLAN.waits_s) + 1
