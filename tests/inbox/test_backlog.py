"""Platforms are answered a moment later while too much waits to be settled."""

import asyncio

import pytest

from contatto.inbox.actions import backlog
from contatto.inbox.actions.backlog import Backlog
from contatto.inbox.actions.incoming import settle_receipts
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from tests import make


def store(tx: Tx, count: int) -> None:
    business_id = make.shop(tx).business_id
    for number in range(count):
        said = make.said("Hi", f"u{number}", message_id=f"m{number}")
        make.receipt(tx, business_id, make.webhook("im_receive_msg", said))


@pytest.fixture(name="rests")
def fixture_rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moments that deliveries were let wait."""
    rests = list[float]()

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(backlog, "MOST_WAITING", 2)
    monkeypatch.setattr(backlog, "LOOK_EVERY", 3)
    monkeypatch.setattr("contatto.inbox.actions.backlog.asyncio.sleep", rest)
    return rests


async def hold(waiting: Backlog, count: int) -> None:
    for _ in range(count):
        await waiting.hold()


def test_nobody_waits_while_little_waits(database: Database, rests: list[float]) -> None:
    database.write_now(lambda tx: store(tx, 1))
    asyncio.run(hold(Backlog(database), 9))
    assert rests == []


def test_while_too_much_waits_each_delivery_is_stored_a_moment_later(
    database: Database, rests: list[float]
) -> None:
    database.write_now(lambda tx: store(tx, 2))
    asyncio.run(hold(Backlog(database), 5))
    assert len(rests) == 3, "the third looks, and those after it know"
    assert all(0 < seconds <= backlog.HOLD_S for seconds in rests)


def test_once_that_is_settled_nobody_waits_any_more(
    database: Database, rests: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "HOLD_S", 0.0)
    database.write_now(lambda tx: store(tx, 2))
    looked = list[int]()

    async def settle_meanwhile() -> None:
        waiting = Backlog(database)
        await hold(waiting, 3)
        looked.append(database.write_now(settle_receipts))
        monkeypatch.setattr(backlog, "HOLD_S", 60.0)
        await hold(waiting, 5)

    asyncio.run(settle_meanwhile())
    assert (looked, rests) == ([2], [])
