"""Chats are judged as messages come; marks of members are learned from, and can be taken back."""

from pathlib import Path

import pytest

from contatto.inbox.actions import desk
from contatto.inbox.actions.incoming import settle_receipts
from contatto.inbox.actions.suspecting import judge_messages, learn_marked_chats, mark_conversation
from contatto.inbox.actions.threads import conversation_id_of
from contatto.inbox.model import MessageReceived, ThreadState
from contatto.inbox.store.conversations import ConversationFilter, list_conversations
from contatto.kit.clock import FixedClock
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.leads.model.annotations import Actor
from contatto.spam import store
from contatto.spam.model import Judged, Mark, Sign
from contatto.spam.rules.judging import ENOUGH_MARKED
from tests import make
from tests.inbox.test_desk import Desk
from tests.journeys.running import csrf_of, message, running_house

BAD, GOOD = "Claim your free cash prize now: http://win.example.com", "Hello, what does a kitchen cost?"


@pytest.fixture
def at(database: Database, clock: FixedClock) -> Desk:
    shop = database.write_now(make.shop)
    member = database.write_now(lambda tx: make.member(tx, shop.business_id))
    made = Desk(database, clock, shop, Actor(shop.business_id, member.id, "Owner"))
    made.write(GOOD)
    return made


def judge(at: Desk) -> Judged:
    event = MessageReceived(at.shop.business_id, at.conversation_id, "message")

    def work(tx: Tx) -> Judged | None:
        judge_messages(tx, [event, event])
        return store.find_judged(tx, at.shop.business_id, at.conversation_id)

    judged = at.do(work)
    assert judged is not None
    return judged


def mark(at: Desk, user: str, text: str, said: Mark) -> None:
    """Another person writes, and a member says what that is."""
    at.write(text, user)
    other = conversation_id_of(at.shop.tiktok, f"conversation of {user}")
    at.do(lambda tx: mark_conversation(tx, at.shop.business_id, other, said))


def test_before_the_first_mark_no_chat_is_read(at: Desk) -> None:
    event = MessageReceived(at.shop.business_id, at.conversation_id, "message")
    at.do(lambda tx: judge_messages(tx, [event]))
    assert at.do(lambda tx: store.find_judged(tx, at.shop.business_id, at.conversation_id)) is None


def test_a_chat_is_judged_as_it_stands_and_what_a_member_says_of_it_stays(at: Desk) -> None:
    mark(at, "bad", BAD, Mark.SPAM)
    judged = judge(at)
    assert (judged.mark, judged.is_suspicious) == (Mark.NONE, False)
    seen = at.seen()
    at.do(lambda tx: desk.block_person(tx, at.actor, seen, is_spam=True))
    assert judge(at).mark is Mark.SPAM
    at.do(lambda tx: desk.unblock_person(tx, at.actor, at.conversation_id, is_fine=True))
    assert (judge(at).mark, at.now().state) == (Mark.FINE, ThreadState.OPEN)


def test_the_words_of_marked_chats_are_learned_and_told_of_where_they_come_again(at: Desk) -> None:
    for number in range(ENOUGH_MARKED):
        mark(at, f"bad {number}", f"{BAD} {number}", Mark.SPAM)
        mark(at, f"good {number}", f"{GOOD} {number}", Mark.FINE)
    at.clock.advance(minutes=60)
    assert at.do(learn_marked_chats) == 1
    assert at.do(learn_marked_chats) == 0
    assert not judge(at).is_suspicious
    for _ in range(3):
        at.write(BAD)
    judged = judge(at)
    assert judged.is_suspicious
    assert judged.signs[0] == Sign.WORDS
    assert at.events("conversation_changed") == 1


def test_with_few_marks_no_words_are_learned(at: Desk) -> None:
    mark(at, "bad", BAD, Mark.SPAM)
    at.clock.advance(minutes=60)
    assert at.do(learn_marked_chats) == 0
    assert at.do(lambda tx: store.find_weights(tx, at.shop.business_id)) is None


def test_another_chat_of_a_person_who_was_marked_says_so(at: Desk) -> None:
    mark(at, "u1", GOOD, Mark.SPAM)
    assert judge(at).mark is Mark.SPAM
    assert at.do(lambda tx: store.has_marked(tx, at.shop.business_id, {at.conversation_id}))


def test_the_thread_says_why_it_looks_like_spam_and_takes_it_back(tmp_path: Path) -> None:
    with running_house(tmp_path, worker="separate") as house:
        now_ms = int(house.context.clock.now().timestamp() * 1000)
        assert house.webhook("im_receive_msg", message(BAD, "anna", now_ms)).status_code == 200
        house.context.db.write_now(settle_receipts)
        house.sign_in()

        def suspect(tx: Tx) -> str:
            (chat,) = list_conversations(tx, house.business_id, ConversationFilter("all", None, None, ""))
            signs = (Sign.WORDS, Sign.TAPS)
            account = chat.channel_account_id
            store.save_judged(tx, Judged(house.business_id, chat.id, account, 0.95, signs, Mark.NONE, tx.now))
            return chat.id

        chat_id = house.context.db.write_now(suspect)
        page = house.client.get(f"/inbox/{chat_id}").text
        assert "This looks like spam." in page
        assert "It reads like chats that were marked as spam." in page
        token = {"X-CSRF-Token": csrf_of(page)}
        answer = house.client.post(f"/inbox/{chat_id}/unblock", data={"fine": "1"}, headers=token)
        assert answer.status_code in (200, 303)
        assert "This looks like spam." not in house.client.get(f"/inbox/{chat_id}").text
        found = house.context.db.read_now(lambda tx: store.find_judged(tx, house.business_id, chat_id))
        assert found is not None
        assert found.mark is Mark.FINE
