"""Hostile deliveries get a reason or are kept as they are; what breaks our own code is tried again."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from contatto.channels.model import MessageKind, Sender
from contatto.inbox.actions import incoming
from contatto.inbox.actions.incoming import message_id_of, settle_receipts
from contatto.inbox.model import Message
from contatto.inbox.store import conversations, messages
from contatto.inbox.store.conversations import WAITING
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from tests import make
from tests.inbox.incoming import SECOND, deliver, ledger, received, settle, take, thread
from tests.make import Shop


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


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, text: str) -> None:
    """Let our own code break on the messages of one text."""
    original = incoming.receive_message

    def receive(threads: Any, account: Any, chatted: Any, receipt: Any) -> Any:
        if chatted.text == text:
            half = Message(0, "half", "half", Sender.CUSTOMER, MessageKind.TEXT, text, "", chatted.at)
            conversations.append_messages(threads.tx, [(account.business_id, half)])
            raise error
        return original(threads, account, chatted, receipt)

    monkeypatch.setattr(incoming, "receive_message", receive)


def test_a_delivery_that_breaks_our_code_is_tried_again_then_refused_and_leaves_nothing(
    database: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch, clock: FixedClock
) -> None:
    failing(monkeypatch, KeyError("x"), "bad")
    monkeypatch.setattr(
        incoming, "batch_seconds", lambda _tx: 60.0
    )  # both in one batch, however slow the machine
    deliver(database, shop, received("bad"), received("good"))
    assert database.write_now(settle_receipts) == 2
    assert (ledger(database, shop).stored, ledger(database, shop).waiting) == (1, 1)
    for tries in range(1, incoming.MOST_TRIES):
        clock.moment = make.NOON + timedelta(seconds=4 * tries**2, microseconds=-1)
        assert not database.read_now(WAITING.is_due)
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
        for _ in range(incoming.MOST_TRIES + 2):
            settle(database)
            clock.advance(minutes=10)
        assert (ledger(database, shop).waiting, ledger(database, shop).refused) == (1, 0)
    settle(database)
    assert ledger(database, shop).stored == 1
