"""Several workers at once, on PostgreSQL: each delivery is settled once, and none is lost to a deadlock."""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from contatto.channels.model import ReceiptCounts
from contatto.inbox.actions.incoming import settle_receipts
from contatto.inbox.store.conversations import count_receipts, list_waiting_receipts
from contatto.inbox.store.desk import ConversationFilter, list_conversations
from contatto.inbox.store.messages import list_messages
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.kit.outbox import list_events
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_contact_points, list_leads
from tests import make
from tests.make import Shop

USERS, TURNS = 6, 12


def deliveries() -> list[bytes]:
    """Chats of some persons, in one pile: each shares one number and one address of mail."""
    texts = ["Hi", "call +65 9123 456{}", "again +65 9123 456{}", "u{}@example.com"]
    pile = [
        make.webhook(
            "im_receive_msg",
            make.said(
                texts[turn % 4].format(user), f"u{user}", make.NOON_MS + turn, message_id=f"{user}-{turn}"
            ),
        )
        for user in range(USERS)
        for turn in range(TURNS)
    ]
    random.Random(3).shuffle(pile)  # noqa: S311
    return pile


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_workers_that_settle_at_once_lose_and_double_nothing(database: Database) -> None:
    shop = database.write_now(make.shop)

    def store_all(tx: Tx) -> None:
        for body in deliveries():
            make.receipt(tx, shop.business_id, body)

    database.write_now(store_all)

    def ledger() -> ReceiptCounts:
        return database.read_now(lambda tx: count_receipts(tx, shop.business_id))

    def work(_worker: int) -> None:
        while ledger().waiting:
            database.write_now(lambda tx: settle_receipts(tx, 9))

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, range(3)))
    assert (ledger().stored, ledger().refused) == (USERS * TURNS, 0)
    database.read_now(lambda tx: check_outcome(tx, shop))


def check_outcome(tx: Tx, shop: Shop) -> None:
    talks = list_conversations(tx, shop.business_id, ConversationFilter())
    assert [len(list_messages(tx, shop.business_id, talk.id)) for talk in talks] == [TURNS] * USERS
    assert [talk.unread for talk in talks] == [TURNS] * USERS
    leads = list_leads(tx, shop.business_id, LeadFilter())
    points: Any = list_contact_points(tx, shop.business_id, {lead.id for lead in leads})
    assert sorted(len(points[lead.id]) for lead in leads) == [2] * USERS
    names = [event.name for event in list_events(tx, 0, 10_000, shop.business_id)]
    counts = {name: names.count(name) for name in set(names)}
    assert counts == {
        "conversation_started": USERS, "message_received": USERS * TURNS, "lead_captured": USERS,
        "lead_updated": USERS,
    }  # fmt: skip


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_batch_leaves_the_accounts_that_it_does_not_need_to_others(database: Database) -> None:
    business_id, names = new_id(), ("first", "second", "third")

    def store_all(tx: Tx) -> None:
        for number in range(12 * len(names)):
            name = names[0] if number < 12 else names[1 + number % 2]
            body = make.webhook("im_receive_msg", make.said("Hi", "u1", message_id=f"m{number}"))
            make.receipt(tx, business_id, body.replace(b"tt-business-1", name.encode()))

    def claim(tx: Tx) -> set[str]:
        claimed = list_waiting_receipts(tx, business_id, 8)
        assert [each.id for each in claimed] == sorted(each.id for each in claimed)
        return {each.account for each in claimed}

    def claim_all(tx: Tx) -> list[set[str]]:
        ours = claim(tx)
        with ThreadPoolExecutor(1) as threads:
            return [ours, *threads.submit(database.write_now, claim_beside).result()]

    def claim_beside(tx: Tx) -> list[set[str]]:
        ours = claim(tx)
        with ThreadPoolExecutor(1) as threads:
            return [ours, threads.submit(database.write_now, claim).result()]

    database.write_now(store_all)
    assert sorted(map(tuple, database.write_now(claim_all))) == [("first",), ("second",), ("third",)]
