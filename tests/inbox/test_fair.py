"""Deliveries are settled in turn by business, in batches that are sized by time."""

from collections.abc import Iterable
from functools import partial

import pytest

from contatto.inbox.actions import incoming
from contatto.inbox.actions.incoming import conversation_id_of, settle_receipts
from contatto.inbox.store.conversations import WAITING, count_receipts
from contatto.inbox.store.messages import list_messages
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx, in_time
from contatto.kit.fair_queue import Turns
from tests import make
from tests.make import Shop


def one_each[T](items: Iterable[T], *_: object) -> Iterable[T]:
    """A batch whose time is up at once: it settles one delivery."""
    return in_time(items, 0)


def time_enough[T](items: Iterable[T], *_: object) -> Iterable[T]:
    """A busy machine makes no batch smaller."""
    return items


@pytest.fixture(autouse=True)
def slow_machines_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "in_time", time_enough)


@pytest.fixture
def shops(database: Database) -> list[Shop]:
    """Three businesses by their ids; the first of them is flooded."""

    def build(tx: Tx) -> list[Shop]:
        found = [make.shop(tx, open_id=make.OPEN_ID) for _ in range(3)]
        return sorted(found, key=lambda shop: shop.business_id)

    return database.write_now(build)


def write(db: Database, shop: Shop, count: int, user: str = "u1") -> None:
    def work(tx: Tx) -> None:
        for number in range(count):
            content = make.said(f"line {number}", user, make.NOON_MS + number)
            make.receipt(tx, shop.business_id, make.webhook("im_receive_msg", content))

    db.write_now(work)


def waiting(db: Database, shops: list[Shop]) -> list[int]:
    return db.read_now(lambda tx: [count_receipts(tx, shop.business_id).waiting for shop in shops])


def test_one_delivery_of_another_is_settled_with_the_first_batch_of_a_flood(
    database: Database, shops: list[Shop]
) -> None:
    write(database, shops[0], 60)
    write(database, shops[1], 1)
    write(database, shops[2], 2)
    database.write_now(lambda tx: settle_receipts(tx, 6))
    left = waiting(database, shops)
    assert left[0] >= 58
    assert left[1:] == [0, 0]


def test_batches_that_hold_one_delivery_go_round(
    database: Database, shops: list[Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "in_time", one_each)
    write(database, shops[0], 4)
    write(database, shops[1], 1)
    write(database, shops[2], 2)
    turns = Turns(WAITING)
    seen = []
    while database.write_now(lambda tx: settle_receipts(tx, turns=turns)):
        seen.append(waiting(database, shops))
    assert seen == [[3, 1, 2], [3, 0, 2], [3, 0, 1], [2, 0, 1], [2, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_messages_of_a_business_keep_their_order_through_all_turns(
    database: Database, shops: list[Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "in_time", one_each)
    for shop in shops:
        write(database, shop, 5)
    turns = Turns(WAITING)
    while database.write_now(lambda tx: settle_receipts(tx, 3, turns)):
        pass

    def texts(tx: Tx, shop: Shop) -> list[str]:
        thread = conversation_id_of(shop.tiktok, "conversation of u1")
        return [each.text for each in list_messages(tx, shop.business_id, thread)]

    for shop in shops:
        assert database.read_now(partial(texts, shop=shop)) == [f"line {number}" for number in range(5)]


def test_deliveries_that_fail_take_no_turn_from_those_of_another(
    database: Database, shops: list[Shop], monkeypatch: pytest.MonkeyPatch, clock: FixedClock
) -> None:
    right = incoming.receive_message

    def fail(threads: object, account: object, *rest: object) -> object:
        if account.business_id == shops[0].business_id:  # type: ignore[attr-defined]
            raise ValueError("broken")
        return right(threads, account, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(incoming, "receive_message", fail)
    write(database, shops[0], 30)
    write(database, shops[1], 3)
    turns = Turns(WAITING)
    database.write_now(lambda tx: settle_receipts(tx, 10, turns))
    assert waiting(database, shops)[1] == 0
    while database.write_now(lambda tx: settle_receipts(tx, 10, turns)):
        pass
    assert waiting(database, shops) == [30, 0, 0]
    assert not database.read_now(WAITING.is_due)
    clock.advance(seconds=4)
    assert database.read_now(WAITING.is_due)
