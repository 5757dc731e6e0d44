"""Deliveries become messages, leads and notices: hostile ones a reason, good ones once, in any order."""

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from contatto.capture.actions import turn_off_capture, turn_on_capture
from contatto.channels.model import MessageKind, Platform, Sender
from contatto.inbox import actions
from contatto.inbox.actions import conversation_id_of, message_id_of, person_id_of, settle_receipts
from contatto.inbox.model import Conversation, Ledger, Message, ReceiptState
from contatto.inbox.rules import TEXT_LIMIT, cut_segments
from contatto.inbox.store import conversations, messages, persons, receipts
from contatto.inbox.store.conversations import ConversationFilter
from contatto.inbox.store.notices import list_notices
from contatto.inbox.store.receipts import count_receipts
from contatto.kit import errors
from contatto.kit.clock import FixedClock
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.outbox import events, list_events_of
from contatto.leads.model import LeadCaptured, LeadUpdated
from contatto.leads.store import records as lead_store
from contatto.leads.store.records import LeadFilter
from contatto.measurement import store as measurement_store
from contatto.measurement.model import ConversionKind
from tests import make
from tests.make import Shop

SECOND = 1_000
NUMBER = "call me on +65 9123 4567"


@pytest.fixture
def shop(database: Database) -> Shop:
    return database.write_now(make.shop)


def deliver(db: Database, shop: Shop, *bodies: bytes, platform: Platform = Platform.TIKTOK) -> None:
    def work(tx: Tx) -> None:
        for body in bodies:
            make.receipt(tx, shop.business_id, body, platform)

    db.write_now(work)


def settle(db: Database) -> None:
    while db.write_now(settle_receipts):
        pass


def take(db: Database, shop: Shop, *bodies: bytes) -> Ledger:
    deliver(db, shop, *bodies)
    settle(db)
    return ledger(db, shop)


def ledger(db: Database, shop: Shop) -> Ledger:
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
    return db.read_now(lambda tx: lead_store.list_leads(tx, shop.business_id, LeadFilter()))


def hear_leads(db: Database, shop: Shop) -> None:
    """Run the handler of notices for every event of a lead, as the worker does."""
    kinds = {"lead_captured": LeadCaptured, "lead_updated": LeadUpdated}
    for event in db.read_now(lambda tx: list_events_of(tx, shop.business_id, 0, 10_000)):
        if event.name in kinds:
            told = msgspec.json.decode(event.payload, type=kinds[event.name])
            db.write_now(lambda tx, told=told: actions.post_notice(tx, told))  # type: ignore[misc]


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
    names = [e.name for e in database.read_now(lambda tx: list_events_of(tx, shop.business_id, 0))]
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


def inner(**changes: Any) -> bytes:
    return make.webhook("im_receive_msg", make.said() | changes)


def raw_inner(text: str) -> bytes:
    return make.webhook("im_receive_msg", text)


WHOLE = json.dumps(make.said("Hi", message_id="whole"))
REFUSED: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"not json", "unreadable_envelope"),
    "bytes": (bytes(range(256)), "unreadable_envelope"),
    "nothing": (b"", "unreadable_envelope"),
    "a list": (b"[]", "unreadable_envelope"),
    "a number": (b"1e999", "unreadable_envelope"),
    "no content": (b'{"event":"im_receive_msg","user_openid":"tt-business-1"}', "unreadable_envelope"),
    "lone surrogate in the envelope": (
        make.webhook("im_receive_msg", WHOLE).replace(b'"client_key": "key"', b'"client_key": "\\ud800"'),
        "unreadable_envelope",
    ),
    "unknown event": (make.webhook("im_new_thing", make.said()), "unknown_event"),
    "empty event": (make.webhook("", make.said()), "unknown_event"),
    "unknown account": (
        make.webhook("im_receive_msg", make.said(), user_openid="somebody else"), "unknown_account"
    ),
    "account with a control character": (
        make.webhook("im_receive_msg", make.said(), user_openid="tt-business-1\0"), "unknown_account"
    ),
    "content that is no JSON": (raw_inner("Hi"), "unreadable_content"),
    "content that is a list": (raw_inner("[]"), "unreadable_content"),
    "lone surrogate in the text": (raw_inner(WHOLE.replace("Hi", "\\ud800")), "unreadable_content"),
    "lone surrogate in an id": (raw_inner(WHOLE.replace("whole", "m\\udfff")), "unreadable_content"),
    "deep nesting": (raw_inner('{"x":' * 20_000 + "1" + "}" * 20_000), "unreadable_content"),
    "text that is a number": (inner(text={"body": 1}), "unreadable_content"),
    "no text": (inner(text=None), "missing_fields"),
    "no conversation": (inner(conversation_id=""), "missing_fields"),
    "no message id": (inner(message_id=""), "missing_fields"),
    "nobody": (inner(from_user=None, unique_identifier=""), "missing_fields"),
    "a time before all times": (inner(timestamp=-1), "missing_fields"),
    "a time after all times": (inner(timestamp=10**15), "missing_fields"),
    "a huge time": (inner(timestamp=10**30), "missing_fields"),
    "a time that is a text": (inner(timestamp="1767268800000"), "unreadable_content"),
    "a time with a fraction": (inner(timestamp=1.5), "unreadable_content"),
    "a control character in an id": (inner(message_id="m\u0007"), "unusable_id"),
    "NUL in an id": (inner(conversation_id="c\0"), "unusable_id"),
    "a very long id": (inner(message_id="x" * 1_000), "unusable_id"),
    "an ad of nobody": (make.webhook("im_referral_msg", make.tapped(make.ad())), "unknown_ad"),
    "an ad id that is too great": (
        make.webhook("im_referral_msg", make.tapped(make.ad()) | {"referral": {"ad": {"ad_id": "9" * 19}}}),
        "missing_fields",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_delivery_gets_its_reason_and_holds_up_no_other(
    database: Database, shop: Shop, name: str
) -> None:
    body, reason = REFUSED[name]
    found = take(database, shop, received("before"), body, received("after", at_ms=make.NOON_MS + SECOND))
    assert found.reasons == {reason: 1}
    assert (found.received, found.stored, found.waiting) == (3, 2, 0)
    assert [message.text for message in thread(database, shop)] == ["before", "after"]


TAKEN = {
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "control characters": "a\x00b\x07c\x1b[31m\u202e\u200d",
    "NUL alone": "\x00",
    "very long": "x" * 60_000,
    "long with contacts": "mail me at mei@example.com " + "9" * 50_000,
    "nothing": "",
    "template words": "{{ 7*7 }} ${jndi:ldap://example.com} %s",
    "many lines": "\n" * 5_000,
    "emoji": "👩‍👩‍👧‍👦" * 500,
    "many at signs": "@" * 20_000,
    "many digits and dots": "1." * 20_000,
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_strange_text_is_a_message_as_it_is(database: Database, shop: Shop, name: str) -> None:
    assert take(database, shop, received(TAKEN[name])).stored == 1
    assert [message.text for message in thread(database, shop)] == [TAKEN[name]]


def test_duplicate_keys_count_by_their_last_value(database: Database, shop: Shop) -> None:
    doubled = WHOLE[:-1] + ', "message_id": "second"}'
    assert take(database, shop, raw_inner(doubled)).stored == 1
    assert thread(database, shop)[0].id == message_id_of(shop.tiktok, "second")


def test_unknown_fields_are_no_hindrance(database: Database, shop: Shop) -> None:
    body = inner(new_thing={"deep": [1, None]}, auto_message_type="x", scene_type=3)
    assert take(database, shop, body).stored == 1


def test_an_account_of_another_business_is_unknown(database: Database, shop: Shop) -> None:
    other = database.write_now(lambda tx: make.shop(tx, open_id="tt-business-2"))
    body = make.webhook("im_receive_msg", make.said(), user_openid="tt-business-2")
    assert take(database, shop, body).reasons == {"unknown_account": 1}
    assert take(database, other, body).stored == 1
    assert ledger(database, shop).stored == 0


def test_two_platform_ids_that_only_look_alike_stay_apart(database: Database, shop: Shop) -> None:
    bodies = [received(user="u1", conversation_id="c"), received(user="u2", conversation_id="c ")]
    assert take(database, shop, *bodies).stored == 2
    assert person_id_of(shop.tiktok, "u1") != person_id_of(shop.tiktok, "u2")


def test_the_same_message_twice_is_stored_once_and_the_ledger_says_so(database: Database, shop: Shop) -> None:
    first = received("Hi", message_id="m-1")
    echo = make.webhook("im_receive_msg", make.said("Hi", message_id="m-1"), create_time=1)
    found = take(database, shop, first, first, echo)
    assert (found.received, found.stored, found.merged) == (3, 1, 2)
    assert (take(database, shop, first).received, len(thread(database, shop))) == (4, 1)


def test_the_ledger_adds_up_at_any_moment(database: Database, shop: Shop) -> None:
    bodies = [received(f"text {n}", f"u{n % 3}") for n in range(12)]
    bodies += [body for body, _ in list(REFUSED.values())[:6]]
    bodies += bodies[:5]
    random.Random(7).shuffle(bodies)  # noqa: S311
    for body in bodies:
        deliver(database, shop, body)
        ledger(database, shop)
        database.write_now(lambda tx: settle_receipts(tx, 2))
        ledger(database, shop)
    settle(database)
    found = ledger(database, shop)
    assert (found.received, found.stored, found.refused, found.waiting) == (len(bodies), 12, 6, 0)


def test_bodies_of_stored_deliveries_are_let_go_and_those_of_refused_ones_kept_sealed(
    database: Database, shop: Shop
) -> None:
    take(database, shop, received("Hi"), b"secret nonsense")
    rows = database.read_now(lambda tx: tx.execute(select(receipts.receipts)).mappings().all())
    kept = {row["state"]: row["body"] for row in rows}
    assert kept[ReceiptState.STORED] is None
    assert b"secret" not in kept[ReceiptState.REFUSED]
    opened = database.vault.open_bytes(kept[ReceiptState.REFUSED], shop.business_id)
    assert opened == b"secret nonsense"


def test_texts_are_sealed_in_the_raw_table(database: Database, shop: Shop) -> None:
    take(database, shop, received("a very private word"))
    body = database.read_now(lambda tx: tx.scalar(select(messages.messages.c.body)))
    assert b"private" not in body


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, text: str) -> None:
    """Let our own code break on the messages of one text."""
    original = actions.receive_message

    def receive(tx: Any, account: Any, chatted: Any, receipt: Any) -> Any:
        if chatted.text == text:
            messages.append_message(tx, account.business_id, Message(
                0, "half", "half", Sender.CUSTOMER, MessageKind.TEXT, text, "", chatted.at))  # fmt: skip
            raise error
        return original(tx, account, chatted, receipt)

    monkeypatch.setattr(actions, "receive_message", receive)


def test_a_delivery_that_breaks_our_code_is_tried_again_then_refused_and_leaves_nothing(
    database: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch, clock: FixedClock
) -> None:
    failing(monkeypatch, KeyError("x"), "bad")
    deliver(database, shop, received("bad"), received("good"))
    assert database.write_now(settle_receipts) == 1
    assert (ledger(database, shop).stored, ledger(database, shop).waiting) == (1, 1)
    for tries in range(1, actions.MOST_TRIES):
        clock.moment = make.NOON + timedelta(seconds=4 * tries**2, microseconds=-1)
        assert database.write_now(lambda tx: len(receipts.list_waiting_receipts(tx, 9))) == 0
        clock.moment = make.NOON + timedelta(seconds=4 * tries**2)
        settle(database)
    assert ledger(database, shop).reasons == {"processing_failed": 1}
    assert [message.text for message in thread(database, shop)] == ["good"]
    assert database.read_now(lambda tx: messages.find_message(tx, shop.business_id, "half")) is None


def test_trouble_of_the_database_refuses_no_delivery_however_long_it_lasts(
    database: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch, clock: FixedClock
) -> None:
    with monkeypatch.context() as broken:
        failing(broken, OperationalError("", None, Exception("deadlock detected")), "Hi")
        deliver(database, shop, received("Hi"))
        for _ in range(actions.MOST_TRIES + 2):
            settle(database)
            clock.advance(minutes=10)
        assert (ledger(database, shop).waiting, ledger(database, shop).refused) == (1, 0)
    settle(database)
    assert ledger(database, shop).stored == 1


def story(ad: Any) -> list[bytes]:
    """All that may happen in a chat, as deliveries."""
    return [
        make.webhook("im_referral_msg", make.tapped(ad, at_ms=make.NOON_MS - 60 * SECOND)),
        received("Hi, my name is Mei Lin", at_ms=make.NOON_MS, message_id="s1"),
        make.webhook("im_send_msg", make.answered("Hello!", at_ms=make.NOON_MS + SECOND, message_id="s2")),
        make.webhook("im_mark_read_msg", make.read_up_to(make.NOON_MS + 2 * SECOND)),
        received(NUMBER, at_ms=make.NOON_MS + 3 * SECOND, message_id="s3"),
        received("or mail mei@example.com", at_ms=make.NOON_MS + 4 * SECOND, message_id="s4"),
        received("again: +65 9123 4567", at_ms=make.NOON_MS + 5 * SECOND, message_id="s5"),
        make.webhook("im_mark_read_msg", make.read_up_to(make.NOON_MS + 6 * SECOND)),
        b"not json",
        received("Hi from another", "u2", at_ms=make.NOON_MS + 7 * SECOND, message_id="s6"),
    ]


def state_of(db: Database, shop: Shop) -> dict[str, Any]:
    """All that the deliveries led to, without random ids and the order of arrival."""

    def look(tx: Tx) -> dict[str, Any]:
        of = shop.business_id
        talks = conversations.list_conversations(tx, of, ConversationFilter())
        found = lead_store.list_leads(tx, of, LeadFilter())
        points = lead_store.list_contact_points(tx, of, {lead.id for lead in found})
        return {
            "talks": sorted(
                (t.external_id, t.started_at, t.last_message_at, t.unread, t.customer_read_at) for t in talks
            ),
            "messages": sorted(
                (m.text, m.sender, m.at) for t in talks for m in messages.list_messages(tx, of, t.id)
            ),
            "persons": sorted(
                (p.external_id, p.name, p.stated_name, p.created_at)
                for p in persons.list_persons(tx, of, {t.person_id for t in talks}).values()
            ),
            "leads": sorted(
                (lead.person_id, lead.name, lead.created_at, lead.updated_at,
                 sorted((p.field, p.value, p.created_at) for p in points[lead.id]),
                 sorted((e.start, e.raw, e.at) for e in lead_store.list_evidence_of_lead(tx, of, lead.id)))
                for lead in found
            ),
            "credits": sorted(
                (c.kind, c.ts, c.ad_id or "", c.touch_ts or 0)
                for ids in ({t.id for t in talks}, {lead.id for lead in found})
                for c in measurement_store.list_attributions(tx, of, ids).values()
            ),
        }  # fmt: skip

    return db.read_now(look)


def numbered_shops() -> Iterator[str]:
    while True:
        yield f"tt-{new_id()}"


OPEN_IDS = numbered_shops()


def played(db: Database, order: list[int], batch: int) -> tuple[dict[str, Any], Ledger]:
    """The story in an order, settled in batches, in a shop of its own; ids of the shop taken out."""

    def build(tx: Tx) -> tuple[Shop, Any]:
        made = make.shop(tx, open_id=next(OPEN_IDS))
        return made, make.published_ad(tx, made.business_id, ad_id=new_id())

    shop, ad = db.write_now(build)
    bodies = [body.replace(b"tt-business-1", shop.tiktok.external_id.encode()) for body in story(ad)]
    for number, index in enumerate(order):
        deliver(db, shop, bodies[index])
        if number % batch == 0:
            db.write_now(lambda tx: settle_receipts(tx, 3))
    settle(db)
    state = state_of(db, shop)
    anonymous = json.loads(
        json.dumps(state, default=str)
        .replace(ad.ad_id, "the ad")
        .replace(person_id_of(shop.tiktok, "u1"), "u1")
        .replace(person_id_of(shop.tiktok, "u2"), "u2")
    )
    return anonymous, ledger(db, shop)


def test_the_story_in_its_order_ends_as_one_would_tell_it(database: Database) -> None:
    state, found = played(database, list(range(10)), 100)
    assert (found.stored, found.refused, found.merged) == (9, 1, 0)
    assert [(lead[0], lead[1]) for lead in state["leads"]] == [("u1", "Mei Lin")]
    assert [(point[0], point[1]) for point in state["leads"][0][4]] == [
        ("email", "mei@example.com"), ("phone", "+6591234567")
    ]  # fmt: skip
    assert {credit[0]: credit[2] for credit in state["credits"] if credit[2]} == {
        "conversation": "the ad", "lead": "the ad"
    }  # fmt: skip


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(list(range(10)) + list(range(10))), batch=st.integers(1, 8))
def test_any_order_with_repeats_ends_in_the_same_state(
    database: Database, order: list[int], batch: int
) -> None:
    wanted, _ = played(database, list(range(10)), 100)
    found, counted = played(database, order, batch)
    assert found == wanted
    assert (counted.received, counted.stored, counted.refused, counted.merged) == (20, 9, 1, 10)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("seed", range(3))
def test_any_order_with_repeats_ends_in_the_same_state_on_postgresql(database: Database, seed: int) -> None:
    order = [*range(10), *range(10)]
    random.Random(seed).shuffle(order)  # noqa: S311
    wanted, _ = played(database, list(range(10)), 100)
    assert played(database, order, 3)[0] == wanted


def test_a_tap_alone_opens_no_thread_in_the_inbox_until_somebody_writes(
    database: Database, shop: Shop
) -> None:
    ad = database.write_now(lambda tx: make.published_ad(tx, shop.business_id))
    take(database, shop, make.webhook("im_referral_msg", make.tapped(ad)))

    def listed() -> int:
        return len(
            database.read_now(
                lambda tx: conversations.list_conversations(tx, shop.business_id, ConversationFilter())
            )
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
    database.write_now(lambda tx: actions.note_conversation_read(tx, shop.business_id, of))
    take(database, shop, received("late", at_ms=make.NOON_MS + SECOND))
    found = conversation(database, shop)
    assert found is not None
    assert found.unread == 1


def test_evidence_underlines_what_was_read_in_the_message(database: Database, shop: Shop) -> None:
    take(database, shop, received(f"🙂 {NUMBER}!"))
    message = thread(database, shop)[0]
    proofs = database.read_now(
        lambda tx: lead_store.list_evidence_of_sources(tx, shop.business_id, {message.id})
    )
    segments = cut_segments(message.text, proofs[message.id])
    assert [(s.text, s.match is not None) for s in segments] == [
        ("🙂 call me on ", False), ("+65 9123 4567", True), ("!", False)
    ]  # fmt: skip


def notices(db: Database, shop: Shop) -> list[tuple[str, ...]]:
    of = conversation_id_of(shop.tiktok, "conversation of u1")
    return [notice.fields for notice in db.read_now(lambda tx: list_notices(tx, shop.business_id, of))]


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
    mark = actions.mark_conversation_as_lead
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
    assert [lead.person_id for lead in leads_of(database, shop)] == [person_id_of(shop.tiktok, "u3")]
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
        kept = database.write_now(lambda tx: actions.send_reply(tx, shop.business_id, of, written))
        assert (kept.text, kept.author) == ("Hello", "Owner")
    said = database.read_now(lambda tx: messages.list_messages_after(tx, shop.business_id, of, 0))
    assert [message.text for message in said] == ["Hi", "Hello"]
    names = [e.name for e in database.read_now(lambda tx: list_events_of(tx, shop.business_id, 0))]
    assert names.count("message_sent") == 1


@pytest.mark.parametrize("text", ["", "  \n", "x" * (TEXT_LIMIT + 1)])
def test_an_empty_or_endless_reply_is_refused(database: Database, shop: Shop, text: str) -> None:
    deliver(database, shop, chat_body(shop), platform=Platform.WEBCHAT)
    settle(database)
    of = conversation_id_of(shop.webchat, "v1")
    with pytest.raises(Refused, match="text"):
        database.write_now(lambda tx: actions.send_reply(tx, shop.business_id, of, reply(of, text)))


def test_a_reply_where_we_cannot_send_and_one_to_another_business_are_refused(
    database: Database, shop: Shop
) -> None:
    take(database, shop, received())
    of = conversation_id_of(shop.tiktok, "conversation of u1")
    with pytest.raises(Refused, match="platform"):
        database.write_now(lambda tx: actions.send_reply(tx, shop.business_id, of, reply(of)))
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: actions.send_reply(tx, "other", of, reply(of)))
    assert refused.value.code is errors.NOT_FOUND


def test_another_business_sees_nothing_of_a_chat(database: Database, shop: Shop) -> None:
    take(database, shop, received())
    of = conversation_id_of(shop.tiktok, "conversation of u1")
    message = thread(database, shop)[0]

    def look(tx: Tx) -> list[object]:
        return [
            conversations.find_conversation(tx, "other", of),
            conversations.list_conversations(tx, "other", ConversationFilter()),
            conversations.count_conversations(tx, "other", ConversationFilter()),
            messages.list_messages(tx, "other", of),
            messages.list_messages_after(tx, "other", of, 0),
            messages.list_last_messages(tx, "other", {of}),
            messages.find_message(tx, "other", message.id),
            persons.list_persons(tx, "other", {person_id_of(shop.tiktok, "u1")}),
            list_notices(tx, "other", of),
            count_receipts(tx, "other").received,
        ]

    assert database.read_now(look) == [None, [], 0, [], [], {}, None, {}, [], 0]
    assert not database.write_now(lambda tx: conversations.record_business_read(tx, "other", of))
