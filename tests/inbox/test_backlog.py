"""Platforms are answered a moment later while too much waits to be settled."""

import asyncio
from typing import Literal

import pytest

from contatto.inbox.actions.incoming import settle_receipts
from contatto.inbox.store import conversations
from contatto.inbox.store.conversations import Backlog
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from tests import make


def store(tx: Tx, count: int) -> None:
    business_id = make.shop(tx).business_id
    for number in range(count):
        said = make.said("Hi", f"u{number}", message_id=f"m{number}")
        make.receipt(tx, business_id, make.webhook("im_receive_msg", said))


@pytest.fixture(name="rests")
def fixture_rests(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.Event]:
    """What deliveries were let wait for; nobody is kept by it."""
    rests = list[asyncio.Event]()

    class Moment(asyncio.Event):
        async def wait(self) -> Literal[True]:
            rests.append(self)
            return True

    monkeypatch.setattr(conversations, "MOST_WAITING", 2)
    monkeypatch.setattr(conversations, "LOOK_EVERY", 3)
    monkeypatch.setattr("contatto.inbox.store.conversations.asyncio.Event", Moment)
    return rests


async def hold(waiting: Backlog, count: int) -> None:
    for _ in range(count):
        await waiting.hold()


def test_nobody_waits_while_little_waits(database: Database, rests: list[asyncio.Event]) -> None:
    database.write_now(lambda tx: store(tx, 1))
    asyncio.run(hold(Backlog(database), 9))
    assert rests == []


def test_while_too_much_waits_each_delivery_is_stored_a_moment_later(
    database: Database, rests: list[asyncio.Event]
) -> None:
    database.write_now(lambda tx: store(tx, 2))
    asyncio.run(hold(Backlog(database), 5))
    assert len(rests) == 3, "the third looks, and those after it know"
    assert len(set(rests)) == 1, "they wait for the same moment"


def test_those_that_wait_go_on_once_the_moment_has_come(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "MOST_WAITING", 2)
    monkeypatch.setattr(conversations, "LOOK_EVERY", 1)
    database.write_now(lambda tx: store(tx, 2))

    async def seconds() -> float:
        waiting, loop = Backlog(database), asyncio.get_running_loop()
        began = loop.time()
        await asyncio.wait_for(waiting.hold(), 60)
        return loop.time() - began

    assert asyncio.run(seconds()) >= conversations.HOLD_S


def test_once_that_is_settled_nobody_waits_any_more(
    database: Database, rests: list[asyncio.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "HOLD_S", 0.0)
    database.write_now(lambda tx: store(tx, 2))
    looked = list[int]()

    async def settle_meanwhile() -> None:
        waiting = Backlog(database)
        await hold(waiting, 3)
        looked.append(database.write_now(settle_receipts))
        monkeypatch.setattr(conversations, "HOLD_S", 60.0)
        await hold(waiting, 5)

    asyncio.run(settle_meanwhile())
    assert (looked, rests) == ([2], [])
