"""Deliveries become messages, conversations, leads and notices; replies go out once."""

import json
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from contatto.capture.actions import turn_off_capture, turn_on_capture
from contatto.channels.model import MessageKind, Platform, Sender
from contatto.inbox.actions.incoming import conversation_id_of, person_id_of
from contatto.inbox.actions.replies import send_reply
from contatto.inbox.actions.threads import mark_conversation_as_lead, note_conversation_read
from contatto.inbox.model import Message, ReceiptState
from contatto.inbox.rules import TEXT_LIMIT, cut_segments
from contatto.inbox.store import conversations, desk, messages
from contatto.inbox.store.conversations import count_receipts, list_notices
from contatto.inbox.store.desk import ConversationFilter
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx, sealed_place
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.outbox import events, list_events
from contatto.leads.actions.annotations import merge_leads, undo_merge
from contatto.leads.model import Actor, Picks
from contatto.leads.store.records import list_evidence_of_sources
from contatto.measurement import store as measurement_store
from contatto.measurement.model import ConversionKind
from tests import make
from tests.inbox.incoming import (
    NUMBER,
    SECOND,
    conversation,
    deliver,
    hear_leads,
    leads_of,
    ledger,
    notices,
    received,
    settle,
    take,
    thread,
)
from tests.make import Shop


def test_a_customers_message_is_stored_unread_and_starts_the_conversation(
    database: Database, shop: Shop
) -> None:
    assert take(database, shop, received("Hi 🙂")).stored == 1
    assert [(m.text, m.sender, m.kind, m.at) for m in thread(database, shop)] == [
        ("Hi 🙂", Sender.CUSTOMER, MessageKind.TEXT, make.NOON)
    ]
    found = conversation(database, shop)
    assert found is not None
    assert (found.unread, found.started_at, found.last_message_at) == (1, make.NOON, make.NOON)
    credit = database.read_now(
        lambda tx: measurement_store.find_attribution(
            tx, shop.business_id, found.id, ConversionKind.CONVERSATION
        )
    )
    assert credit is not None
    names = [e.name for e in database.read_now(lambda tx: list_events(tx, 0, business_id=shop.business_id))]
    assert names == ["conversation_started", "message_received"]


def test_the_businesss_own_message_starts_nothing_and_is_read_for_no_contacts(
    database: Database, shop: Shop
) -> None:
    take(database, shop, make.webhook("im_send_msg", make.answered(NUMBER)))
    found = conversation(database, shop)
    assert found is not None
    assert (found.unread, found.started_at) == (0, None)
    assert leads_of(database, shop) == []
    assert [m.sender for m in thread(database, shop)] == [Sender.BUSINESS]


def test_an_account_of_another_business_is_unknown(database: Database, shop: Shop) -> None:
    other = database.write_now(lambda tx: make.shop(tx, open_id="tt-business-2"))
    body = make.webhook("im_receive_msg", make.said(), user_openid="tt-business-2")
    assert take(database, shop, body).reasons == {"unknown_account": 1}
    assert take(database, other, body).stored == 1
    assert ledger(database, shop).stored == 0


def test_two_platform_ids_that_only_look_alike_stay_apart(database: Database, shop: Shop) -> None:
    bodies = [received(user="u1", conversation_id="c"), received(user="u2", conversation_id="c ")]
    assert take(database, shop, *bodies).stored == 2
    assert person_id_of(database.vault, shop.tiktok, "u1") != person_id_of(database.vault, shop.tiktok, "u2")


def test_bodies_of_stored_deliveries_are_let_go_and_those_of_refused_ones_kept_sealed(
    database: Database, shop: Shop
) -> None:
    take(database, shop, received("Hi"), b"secret nonsense")
    rows = database.read_now(lambda tx: tx.execute(select(conversations.receipts)).mappings().all())
    kept = {row["state"]: row for row in rows}
    assert kept[ReceiptState.STORED]["body"] is None
    refused = kept[ReceiptState.REFUSED]
    assert b"secret" not in refused["body"]
    place = sealed_place(conversations.receipts.c.body, refused)
    assert database.vault.open_bytes(refused["body"], *place) == b"secret nonsense"


def test_texts_are_sealed_in_the_raw_table(database: Database, shop: Shop) -> None:
    take(database, shop, received("a very private word"))
    body = database.read_now(lambda tx: tx.scalar(select(conversations.messages.c.body)))
    assert b"private" not in body


def test_a_tap_alone_opens_no_thread_in_the_inbox_until_somebody_writes(
    database: Database, shop: Shop
) -> None:
    ad = database.write_now(lambda tx: make.published_ad(tx, shop.business_id))
    take(database, shop, make.webhook("im_referral_msg", make.tapped(ad)))

    def listed() -> int:
        return len(
            database.read_now(lambda tx: desk.list_conversations(tx, shop.business_id, ConversationFilter()))
        )

    assert listed() == 0
    take(database, shop, received(at_ms=make.NOON_MS + SECOND))
    assert listed() == 1


def test_a_message_that_comes_in_late_is_unread_however_old_it_is(
    database: Database, shop: Shop, clock: FixedClock
) -> None:
    take(database, shop, received("first"))
    clock.advance(minutes=5)
    of = conversation_id_of(shop.tiktok, "conversation of u1")
    database.write_now(lambda tx: note_conversation_read(tx, shop.business_id, of, "m1"))
    take(database, shop, received("late", at_ms=make.NOON_MS + SECOND))
    found = conversation(database, shop)
    assert found is not None
    assert found.unread == 1


def test_evidence_underlines_what_was_read_in_the_message(database: Database, shop: Shop) -> None:
    take(database, shop, received(f"🙂 {NUMBER}!"))
    message, talk = thread(database, shop)[0], conversation(database, shop)
    assert talk is not None
    proofs = database.read_now(
        lambda tx: list_evidence_of_sources(tx, shop.business_id, talk.person_id, {message.id})
    )
    segments = cut_segments(message.text, proofs[message.id])
    assert [(part, match is not None) for part, match in segments] == [
        ("🙂 call me on ", False), ("+65 9123 4567", True), ("!", False)
    ]  # fmt: skip


def test_each_new_detail_posts_one_notice_however_often_its_event_is_heard(
    database: Database, shop: Shop
) -> None:
    take(database, shop, received(NUMBER), received("mei@example.com", at_ms=make.NOON_MS + SECOND))
    for _ in range(3):
        hear_leads(database, shop)
    assert sorted(notices(database, shop)) == [("email",), ("phone",)]
    take(database, shop, received(NUMBER, at_ms=make.NOON_MS + 2 * SECOND))
    hear_leads(database, shop)
    assert len(notices(database, shop)) == 2
    posted = database.read_now(
        lambda tx: tx.execute(select(events).where(events.c.name == "notice_posted")).all()
    )
    assert len(posted) == 2
    found = conversation(database, shop)
    assert found is not None
    assert found.lead_id == leads_of(database, shop)[0].id


def test_a_new_conversation_has_the_lead_that_it_made_from_its_first_moment(
    database: Database, shop: Shop
) -> None:
    take(database, shop, received("Hi"), received(NUMBER, at_ms=make.NOON_MS + SECOND))
    take(database, shop, received("Hello", user="u2"))
    found, other = (conversation(database, shop, user) for user in ("u1", "u2"))
    assert found is not None
    assert other is not None
    assert (found.lead_id, other.lead_id) == (leads_of(database, shop)[0].id, None)


def test_notices_stay_in_their_thread_wherever_the_lead_of_its_person_went(
    database: Database, shop: Shop
) -> None:
    take(database, shop, received(NUMBER), received("lin@example.com", user="u2", at_ms=make.NOON_MS + 1))
    own, other = sorted(leads_of(database, shop), key=lambda lead: lead.created_at)
    actor = Actor(shop.business_id, "", "Owner")
    wish = (other.id, own.id, Picks(), "")
    made = database.write_now(lambda tx: merge_leads(tx, actor, *wish))
    take(database, shop, received("mei@example.com", at_ms=make.NOON_MS + SECOND))
    hear_leads(database, shop)
    assert notices(database, shop) == [("phone",), ("email",)]
    database.write_now(lambda tx: undo_merge(tx, actor, made.id))
    assert notices(database, shop) == [("phone",), ("email",)]


def test_a_notice_is_no_message_anywhere(database: Database, shop: Shop) -> None:
    take(database, shop, received(NUMBER))
    hear_leads(database, shop)
    of = conversation_id_of(shop.tiktok, "conversation of u1")

    def all_texts(tx: Tx) -> list[str]:
        mine = shop.business_id
        found = [*messages.list_messages(tx, mine, of), *messages.list_messages_after(tx, mine, of, 0)]
        return [message.text for message in [*found, *messages.list_last_messages(tx, mine, {of}).values()]]

    assert database.read_now(all_texts) == [NUMBER] * 3


def test_a_lead_by_hand_posts_no_notice(database: Database, shop: Shop) -> None:
    take(database, shop, received("Hi"))
    of = conversation_id_of(shop.tiktok, "conversation of u1")
    mark = mark_conversation_as_lead
    lead = database.write_now(lambda tx: mark(tx, shop.business_id, of, "Owner"))
    assert database.write_now(lambda tx: mark(tx, shop.business_id, of, "Owner")) == lead
    hear_leads(database, shop)
    assert notices(database, shop) == []
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: mark(tx, "other", of, "Owner"))
    assert refused.value.code is errors.NOT_FOUND


def test_with_capture_off_nothing_is_detected_and_turning_on_reads_no_old_message(
    database: Database, clock: FixedClock
) -> None:
    shop = database.write_now(lambda tx: make.shop(tx, capture_on=False))
    take(database, shop, received(NUMBER, "u1"))
    assert leads_of(database, shop) == []
    deliver(database, shop, received(NUMBER, "u2"))  # it waits while the switch is turned
    clock.advance(seconds=1)
    database.write_now(lambda tx: turn_on_capture(tx, shop.business_id, shop.tiktok.id, make.COMPANY))
    settle(database)
    take(database, shop, received("Hi", "u1", make.NOON_MS + SECOND))
    assert leads_of(database, shop) == []
    assert ledger(database, shop).stored == 3
    take(database, shop, received(NUMBER, "u3"))
    third = person_id_of(database.vault, shop.tiktok, "u3")
    assert [lead.person_id for lead in leads_of(database, shop)] == [third]
    database.write_now(lambda tx: turn_off_capture(tx, shop.business_id, shop.tiktok.id))
    take(database, shop, received(NUMBER, "u4"))
    assert len(leads_of(database, shop)) == 1


def reply(conversation_id: str, text: str = "Hello", reply_id: str = "", at: datetime = make.NOON) -> Message:
    return Message(
        0, reply_id or new_id(), conversation_id, Sender.BUSINESS, MessageKind.TEXT, text, "Owner", at
    )


def chat_body(shop: Shop, text: str = "Hi") -> bytes:
    return json.dumps({"account_id": shop.webchat.id, "visitor": "v1", "client_message_id": "message-1",
                       "text": text, "ts": make.NOON_MS * 1_000}).encode()  # fmt: skip


def test_a_reply_on_our_chat_page_is_stored_once_and_told(database: Database, shop: Shop) -> None:
    deliver(database, shop, chat_body(shop), platform=Platform.WEBCHAT)
    settle(database)
    of = conversation_id_of(shop.webchat, "v1")
    written = reply(of, at=make.NOON + timedelta(seconds=1))
    for _ in range(2):
        kept = database.write_now(lambda tx: send_reply(tx, shop.business_id, of, written))
        assert (kept.text, kept.author) == ("Hello", "Owner")
    said = database.read_now(lambda tx: messages.list_messages_after(tx, shop.business_id, of, 0))
    assert [message.text for message in said] == ["Hi", "Hello"]
    names = [e.name for e in database.read_now(lambda tx: list_events(tx, 0, business_id=shop.business_id))]
    assert names.count("message_sent") == 1


@pytest.mark.parametrize("text", ["", "  \n", "x" * (TEXT_LIMIT + 1)])
def test_an_empty_or_endless_reply_is_refused(database: Database, shop: Shop, text: str) -> None:
    deliver(database, shop, chat_body(shop), platform=Platform.WEBCHAT)
    settle(database)
    of = conversation_id_of(shop.webchat, "v1")
    with pytest.raises(Refused, match="text"):
        database.write_now(lambda tx: send_reply(tx, shop.business_id, of, reply(of, text)))


def test_a_reply_where_we_cannot_send_and_one_to_another_business_are_refused(
    database: Database, shop: Shop
) -> None:
    take(database, shop, received())
    of = conversation_id_of(shop.tiktok, "conversation of u1")
    with pytest.raises(Refused, match="no access token"):
        database.write_now(lambda tx: send_reply(tx, shop.business_id, of, reply(of)))
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: send_reply(tx, "other", of, reply(of)))
    assert refused.value.code is errors.NOT_FOUND


def test_another_business_sees_nothing_of_a_chat(database: Database, shop: Shop) -> None:
    take(database, shop, received())
    of = conversation_id_of(shop.tiktok, "conversation of u1")
    message = thread(database, shop)[0]

    def look(tx: Tx) -> list[object]:
        return [
            conversations.find_conversation(tx, "other", of),
            desk.list_conversations(tx, "other", ConversationFilter()),
            desk.count_conversations(tx, "other", ConversationFilter()),
            messages.list_messages(tx, "other", of),
            messages.list_messages_after(tx, "other", of, 0),
            messages.list_last_messages(tx, "other", {of}),
            messages.find_message(tx, "other", message.id),
            conversations.list_persons(tx, "other", {person_id_of(database.vault, shop.tiktok, "u1")}),
            list_notices(tx, "other", of),
            count_receipts(tx, "other").received,
        ]

    assert database.read_now(look) == [None, [], 0, [], [], {}, None, {}, [], 0]
    with pytest.raises(Refused):
        database.write_now(lambda tx: note_conversation_read(tx, "other", of))
