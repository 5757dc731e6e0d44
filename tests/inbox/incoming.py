"""Storing and settling deliveries, and looking at what came of them."""

from typing import Any

import msgspec

from contatto.channels.model import Platform, ReceiptCounts
from contatto.inbox.actions.incoming import conversation_id_of, post_notices, settle_receipts
from contatto.inbox.model import Conversation, Message
from contatto.inbox.store import conversations, messages
from contatto.inbox.store.conversations import count_receipts, list_notices
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import list_events
from contatto.leads.model import LeadCaptured, LeadUpdated
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store import listing
from tests import make
from tests.make import Shop

SECOND = 1_000
NUMBER = "call me on +65 9123 4567"


def deliver(db: Database, shop: Shop, *bodies: bytes, platform: Platform = Platform.TIKTOK) -> None:
    def work(tx: Tx) -> None:
        for body in bodies:
            make.receipt(tx, shop.business_id, body, platform)

    db.write_now(work)


def settle(db: Database) -> None:
    while db.write_now(settle_receipts):
        pass


def take(db: Database, shop: Shop, *bodies: bytes) -> ReceiptCounts:
    deliver(db, shop, *bodies)
    settle(db)
    return ledger(db, shop)


def ledger(db: Database, shop: Shop) -> ReceiptCounts:
    found = db.read_now(lambda tx: count_receipts(tx, shop.business_id))
    assert found.received == found.stored + found.merged + found.refused + found.waiting
    return found


def received(text: str = "Hi", user: str = "u1", at_ms: int = make.NOON_MS, **changes: Any) -> bytes:
    return make.webhook("im_receive_msg", make.said(text, user, at_ms, **changes))


def thread(db: Database, shop: Shop, user: str = "u1") -> list[Message]:
    of = conversation_id_of(shop.tiktok, f"conversation of {user}")
    return db.read_now(lambda tx: messages.list_messages(tx, shop.business_id, of))


def conversation(db: Database, shop: Shop, user: str = "u1") -> Conversation | None:
    of = conversation_id_of(shop.tiktok, f"conversation of {user}")
    return db.read_now(lambda tx: conversations.find_conversation(tx, shop.business_id, of))


def leads_of(db: Database, shop: Shop) -> list[Any]:
    return db.read_now(lambda tx: listing.list_leads(tx, shop.business_id, LeadFilter()))


def hear_leads(db: Database, shop: Shop) -> None:
    """Run the handler of notices for every event of a lead, as the worker does."""
    kinds = {"lead_captured": LeadCaptured, "lead_updated": LeadUpdated}
    for event in db.read_now(lambda tx: list_events(tx, 0, 10_000, shop.business_id)):
        if event.name in kinds:
            told = msgspec.json.decode(event.payload, type=kinds[event.name])
            db.write_now(lambda tx, told=told: post_notices(tx, [told]))  # type: ignore[misc]


def notices(db: Database, shop: Shop) -> list[tuple[str, ...]]:
    of = conversation_id_of(shop.tiktok, "conversation of u1")
    return [notice.fields for notice in db.read_now(lambda tx: list_notices(tx, shop.business_id, of))]
