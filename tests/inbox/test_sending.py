"""Replies on their way to a platform, over real HTTP: once, in order, never silently lost or doubled."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, update

from contatto.channels.actions import disconnect_account, set_access_token
from contatto.channels.model import ChannelAccount, MessageKind, Platform, Sender
from contatto.channels.store import CONNECTORS, channel_tokens
from contatto.inbox.actions.incoming import conversation_id_of, settle_receipts
from contatto.inbox.actions.replies import load_window, retry_reply, send_reply
from contatto.inbox.model import REPLY, Message, Send, SendState
from contatto.inbox.rules import RETRY_AFTER_S
from contatto.inbox.store import conversations, messages
from contatto.inbox.store.conversations import count_receipts
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.outbound.machine import LEASE
from contatto.kit.outbound.model import OutboundRequest
from contatto.kit.outbound.queue import list_requests_of
from contatto.kit.settings import Settings
from contatto.wiring import install, outbound_kinds
from contatto.worker import Worker
from tests import make, unchanged
from tests.channels.vendor import Vendor, running_vendor
from tests.outbound import start_request

FIXTURES = Path(__file__).parent.parent / "fixtures" / "channels"
TOKEN = "a-token-of-the-account"


@dataclass
class Desk:
    """A business whose TikTok account may send, one person who wrote, and the platform."""

    db: Database
    clock: FixedClock
    vendor: Vendor
    account: ChannelAccount
    conversation_id: str

    def reply(self, text: str) -> str:
        written = make_message(self.conversation_id, text, self.clock)
        self.db.write_now(lambda tx: send_reply(tx, self.account.business_id, self.conversation_id, written))
        return written.id

    def work(self, answer_s: float = 5.0) -> int:
        """Do what the worker does at outside systems, once."""
        return self.vendor.take_due(self.db, answer_s)

    def send_of(self, message_id: str) -> Send:
        found = self.db.read_now(
            lambda tx: messages.find_send(tx, self.account.business_id, message_id=message_id)
        )
        assert found
        return found

    def request_of(self, message_id: str) -> OutboundRequest:
        """The request that gives a reply to the platform."""
        of = (self.account.business_id, REPLY, [message_id])
        (found,) = self.db.read_now(lambda tx: list_requests_of(tx, *of))
        return found

    def claim(self, message_id: str) -> None:
        """Begin to send a reply as a worker does that dies right then."""
        request = self.request_of(message_id)
        kind = outbound_kinds(Settings())[REPLY]

        def work(tx: Tx) -> None:
            assert start_request(tx, kind, request, tx.now + LEASE, float) is not None

        self.db.write_now(work)

    def texts(self) -> list[str]:
        def read(tx):  # type: ignore[no-untyped-def]
            return messages.list_messages(tx, self.account.business_id, self.conversation_id)

        return [message.text for message in self.db.read_now(read)]

    def hear(self, body: bytes) -> None:
        """Take a delivery of the platform and settle it."""

        def take(tx):  # type: ignore[no-untyped-def]
            for piece in CONNECTORS[self.account.platform].split(body):
                make.receipt(tx, self.account.business_id, piece, self.account.platform)
            settle_receipts(tx)

        self.db.write_now(take)


def make_message(conversation_id: str, text: str, clock: FixedClock) -> Message:
    return Message(
        0, new_id(), conversation_id, Sender.BUSINESS, MessageKind.TEXT, text, "Owner", clock.now()
    )


@pytest.fixture
def desk(database: Database, clock: FixedClock) -> Iterator[Desk]:
    shop = database.write_now(make.shop)
    with running_vendor() as vendor:
        made = Desk(
            database, clock, vendor, shop.tiktok, conversation_id_of(shop.tiktok, "conversation of u1")
        )
        made.hear(make.webhook("im_receive_msg", make.said("Hi")))
        database.write_now(lambda tx: set_access_token(tx, shop.business_id, shop.tiktok.id, f" {TOKEN} "))
        yield made


def test_a_reply_goes_to_the_platform_with_the_accounts_token_and_is_sent(desk: Desk) -> None:
    sent = desk.reply("We open at nine 🙂")
    assert desk.send_of(sent).state is SendState.DUE
    assert desk.work() == 1
    (asked,) = desk.vendor.taken
    assert asked.path == "/open_api/v1.3/business/message/send/"
    assert asked.headers["access-token"] == TOKEN
    assert asked.body == {
        "business_id": make.OPEN_ID, "recipient_type": "CONVERSATION", "recipient": "conversation of u1",
        "message_type": "TEXT", "text": {"body": "We open at nine 🙂"},
    }  # fmt: skip
    assert desk.send_of(sent).state is SendState.SENT
    assert desk.work() == 0


def test_a_reply_that_does_not_open_any_more_fails_and_nothing_is_sent_in_its_place(desk: Desk) -> None:
    sent = desk.reply("We open at nine")
    body = update(conversations.messages).where(conversations.messages.c.id == sent).values(body=b"damaged")
    desk.db.write_now(lambda tx: tx.execute(body))
    desk.work()
    assert desk.vendor.taken == []
    assert (desk.send_of(sent).state, desk.send_of(sent).reason) == (SendState.FAILED, "broken")


def test_the_token_is_sealed_and_can_be_taken_away(desk: Desk) -> None:
    kept = desk.db.read_now(lambda tx: tx.execute(select(channel_tokens)).mappings().one())
    assert TOKEN.encode() not in kept["access_token"]
    desk.db.write_now(lambda tx: disconnect_account(tx, desk.account.business_id, desk.account.id))
    with pytest.raises(Refused, match="no access token"):
        desk.reply("Hello")
    for token in ("a b", "é", "x" * 2_001, "a\nb"):
        with pytest.raises(Refused, match="Paste the token"):
            desk.db.write_now(lambda tx, token=token: set_access_token(  # type: ignore[misc]
                tx, desk.account.business_id, desk.account.id, token))  # fmt: skip
    with pytest.raises(Refused):
        desk.db.write_now(lambda tx: set_access_token(tx, "other", desk.account.id, TOKEN))


def test_replies_of_one_conversation_keep_their_order_while_the_first_waits(desk: Desk) -> None:
    first, second = desk.reply("first"), desk.reply("second")
    desk.vendor.plays = ["500"]
    desk.work()
    assert (desk.send_of(first).state, desk.request_of(second).attempts) == (SendState.DUE, 0)
    desk.clock.advance(seconds=RETRY_AFTER_S[0])
    desk.work()
    assert [asked.body["text"]["body"] for asked in desk.vendor.taken] == ["first", "second"]


@pytest.mark.parametrize("play", ["500", "429", "too fast"])
def test_temporary_trouble_waits_and_is_tried_again(desk: Desk, play: str) -> None:
    sent = desk.reply("Hello")
    desk.vendor.plays = [play]
    desk.work()
    assert (desk.send_of(sent).state, desk.request_of(sent).claim) == (SendState.DUE, None)
    wait_s = 90 if play == "429" else RETRY_AFTER_S[0]
    desk.clock.advance(seconds=wait_s - 1)
    assert desk.work() == 0
    desk.clock.advance(seconds=1)
    desk.work()
    assert desk.send_of(sent).state is SendState.SENT
    assert len(desk.vendor.taken) == 1


def test_trouble_that_lasts_ends_as_dead_and_a_person_may_try_again(desk: Desk) -> None:
    sent = desk.reply("Hello")
    desk.vendor.plays = ["500"] * (len(RETRY_AFTER_S) + 1)
    for wait_s in (0, *RETRY_AFTER_S):
        desk.clock.advance(seconds=wait_s)
        desk.work()
    assert (desk.send_of(sent).state, desk.send_of(sent).reason) == (SendState.DEAD, "http_500")
    assert desk.work() == 0
    of = (desk.account.business_id, desk.conversation_id, sent)
    desk.db.write_now(lambda tx: retry_reply(tx, *of))
    desk.work()
    assert desk.send_of(sent).state is SendState.SENT
    with pytest.raises(Refused) as refused:
        desk.db.write_now(lambda tx: retry_reply(tx, *of))
    assert refused.value.code is errors.CONFLICT


def test_a_refused_token_fails_at_once(desk: Desk) -> None:
    sent = desk.reply("Hello")
    desk.vendor.plays = ["401"]
    desk.work()
    assert (desk.send_of(sent).state, desk.send_of(sent).reason) == (SendState.FAILED, "token_refused")
    assert "channel_lost" in repr(unchanged.all_rows(desk.db)["events"])
    desk.clock.advance(hours=1)
    assert desk.work() == 0


@pytest.mark.parametrize("play", ["lose the answer", "slow", "reset"])
def test_a_lost_answer_is_never_followed_by_a_second_message(desk: Desk, play: str) -> None:
    sent = desk.reply("Hello")
    desk.vendor.plays = [play]
    desk.work(answer_s=0.3)
    assert (desk.send_of(sent).state, desk.send_of(sent).reason) == (SendState.FAILED, "answer_lost")
    desk.clock.advance(hours=5)
    assert desk.work() == 0
    assert len(desk.vendor.asked) == 1


def echo(text: str, message_id: str = "sent-1") -> bytes:
    return make.webhook("im_send_msg", make.answered(text, message_id=message_id))


def test_after_a_lost_answer_the_platforms_own_news_settle_it_without_a_second_bubble(desk: Desk) -> None:
    sent = desk.reply("Hello")
    desk.vendor.plays = ["lose the answer"]
    desk.work()
    desk.hear(echo("Hello"))
    assert (desk.send_of(sent).state, desk.send_of(sent).reason) == (SendState.SENT, None)
    assert desk.texts() == ["Hi", "Hello"]


def test_the_echo_of_a_sent_reply_makes_no_second_bubble_in_whichever_order_it_comes(desk: Desk) -> None:
    desk.reply("one")
    desk.work()
    desk.hear(echo("one"))
    second = desk.reply("two")
    desk.claim(second)
    desk.hear(echo("two", "sent-2"))
    assert desk.texts() == ["Hi", "one", "two"]
    ledger = desk.db.read_now(lambda tx: count_receipts(tx, desk.account.business_id))
    assert (ledger.stored, ledger.merged, ledger.waiting) == (1, 2, 0)


def test_what_the_business_writes_on_the_platform_itself_is_a_message_of_its_own(desk: Desk) -> None:
    desk.reply("one")
    desk.work()
    desk.hear(echo("one", "written-there"))
    assert desk.texts() == ["Hi", "one", "one"]


def test_a_claim_whose_worker_died_is_not_sent_again(desk: Desk) -> None:
    sent = desk.reply("Hello")
    desk.claim(sent)
    assert desk.work() == 0
    desk.clock.advance(seconds=61)
    desk.work()
    assert (desk.send_of(sent).state, desk.send_of(sent).reason) == (SendState.FAILED, "answer_lost")
    assert desk.vendor.asked == []


def test_ten_messages_may_follow_and_the_eleventh_is_refused_until_the_person_writes(desk: Desk) -> None:
    for number in range(10):
        desk.reply(f"message {number}")
    with pytest.raises(Refused, match="all messages that") as refused:
        desk.reply("one more")
    assert refused.value.code is errors.TOO_FAST
    assert len(desk.texts()) == 11
    desk.clock.advance(minutes=1)
    desk.hear(make.webhook("im_receive_msg", make.said("Yes?", at_ms=make.NOON_MS + 60_000)))
    desk.reply("one more")


def test_after_48_hours_nothing_leaves_not_even_what_waited(desk: Desk) -> None:
    waiting = desk.reply("Hello")
    desk.clock.advance(hours=48)
    with pytest.raises(Refused, match="time to reply is over"):
        desk.reply("too late")
    desk.work()
    assert (desk.send_of(waiting).state, desk.send_of(waiting).reason) == (SendState.FAILED, "window_closed")
    assert desk.vendor.asked == []


def test_messages_that_failed_do_not_count(desk: Desk) -> None:
    desk.reply("Hello")
    desk.vendor.plays = ["401"]
    desk.work()

    def left(tx):  # type: ignore[no-untyped-def]
        of = conversations.find_conversation(tx, desk.account.business_id, desk.conversation_id)
        return load_window(tx, desk.account, of).left

    assert desk.db.read_now(left) == 10


def test_another_business_cannot_retry(desk: Desk) -> None:
    sent = desk.reply("Hello")
    for of in (("other", desk.conversation_id, sent), (desk.account.business_id, desk.conversation_id, "x")):
        with pytest.raises(Refused) as refused:
            desk.db.write_now(lambda tx, of=of: retry_reply(tx, *of))  # type: ignore[misc]
        assert refused.value.code is errors.NOT_FOUND


@pytest.fixture
def whatsapp(database: Database, clock: FixedClock) -> Iterator[Desk]:
    business = database.write_now(make.business)
    number = "100000000000001"
    account = database.write_now(
        lambda tx: make.channel(tx, business.id, Platform.WHATSAPP, external_id=number)
    )
    with running_vendor() as vendor:
        kept_id = database.vault.blind("6581234567", account.business_id).hex()
        of = conversation_id_of(account, kept_id)
        made = Desk(database, clock, vendor, account, of)
        database.write_now(lambda tx: set_access_token(tx, business.id, account.id, TOKEN))
        made.hear((FIXTURES / "whatsapp" / "text.json").read_bytes())
        yield made


def test_on_whatsapp_the_reply_goes_to_the_persons_number_which_is_kept_sealed(whatsapp: Desk) -> None:
    sent = whatsapp.reply("Hello")
    whatsapp.work()
    (asked,) = whatsapp.vendor.taken
    assert asked.path == "/v23.0/100000000000001/messages"
    assert (asked.body["to"], asked.body["text"]["body"]) == ("6581234567", "Hello")
    assert asked.body["biz_opaque_callback_data"] == sent
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    for table in (conversations.persons, conversations.conversations, messages.sends):
        rows = whatsapp.db.read_now(lambda tx, table=table: tx.execute(select(table)).all())  # type: ignore[misc]
        assert "6581234567" not in str(rows)


def status(name: str, **changes: object) -> bytes:
    one = {
        "id": "sent-1",
        "status": name,
        "timestamp": str(make.NOON_MS // 1000),
        "recipient_id": "6581234567",
    }
    value = {"metadata": {"phone_number_id": "100000000000001"}, "statuses": [one | changes]}
    change = {"field": "messages", "value": value}
    return json.dumps(
        {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}
    ).encode()


def test_statuses_of_whatsapp_move_a_reply_on_and_never_back(whatsapp: Desk) -> None:
    sent = whatsapp.reply("Hello")
    whatsapp.work()
    whatsapp.hear(status("delivered"))
    assert whatsapp.send_of(sent).state is SendState.DELIVERED
    whatsapp.hear(status("sent"))
    whatsapp.hear(status("failed", errors=[{"code": 131026}]))
    assert whatsapp.send_of(sent).state is SendState.DELIVERED
    whatsapp.hear(status("read"))
    found = whatsapp.db.read_now(
        lambda tx: conversations.find_conversation(tx, whatsapp.account.business_id, whatsapp.conversation_id)
    )
    assert found is not None
    assert found.customer_read_at == make.NOON


def test_a_status_with_our_own_id_settles_a_lost_answer(whatsapp: Desk) -> None:
    sent = whatsapp.reply("Hello")
    whatsapp.vendor.plays = ["lose the answer"]
    whatsapp.work()
    whatsapp.hear(status("delivered", id="never-told", biz_opaque_callback_data=sent))
    assert whatsapp.send_of(sent).state is SendState.DELIVERED


def test_a_message_that_could_not_be_delivered_says_so(whatsapp: Desk) -> None:
    sent = whatsapp.reply("Hello")
    whatsapp.work()
    whatsapp.hear(status("failed", errors=[{"code": 131026}]))
    found = whatsapp.send_of(sent)
    assert (found.state, found.reason) == (SendState.FAILED, "platform_131026")


def test_the_worker_waits_for_no_slow_platform(desk: Desk) -> None:
    """While one platform is slow, deliveries are settled."""
    desk.reply("Hello")
    desk.vendor.plays = ["slow"]
    settings = Settings(platform_urls={"tiktok": desk.vendor.url}, allowed_hosts=(desk.vendor.host,))

    async def until(is_so: Callable[[], bool], seconds: float) -> bool:
        for _ in range(int(seconds / 0.02)):
            if not is_so():
                await asyncio.sleep(0.02)
        return is_so()

    async def go() -> None:
        running = asyncio.create_task(Worker(desk.db, install(settings)).run())
        assert await until(lambda: len(desk.vendor.asked) == 1, 60)
        said = make.webhook("im_receive_msg", make.said("Are you there?"))
        await desk.db.write(lambda tx: make.receipt(tx, desk.account.business_id, said))
        assert await until(lambda: "Are you there?" in desk.texts(), 30)
        desk.vendor.may_answer.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(go())
