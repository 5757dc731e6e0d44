"""Chats are judged as messages come; marks of members are learned from, and can be taken back."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from contatto.inbox.actions.incoming import conversation_id_of, judge_messages, settle_receipts
from contatto.inbox.actions.threads import block_person, learn_marked_chats, unblock_person
from contatto.inbox.model import MessageReceived, ThreadState
from contatto.inbox.store import desk as suspects
from contatto.inbox.store.desk import ConversationFilter, list_conversations
from contatto.kit.db import statements
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx, driver_of
from contatto.leads.model import Actor
from contatto.spam import store
from contatto.spam.actions import forget_verdicts, mark_chat
from contatto.spam.model import Mark, Rate, Sign, SpamVerdict
from contatto.spam.rules import ENOUGH_MARKED
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


def judge(at: Desk) -> SpamVerdict:
    event = MessageReceived(at.shop.business_id, at.conversation_id, "message")

    def work(tx: Tx) -> SpamVerdict | None:
        judge_messages(tx, [event, event])
        return store.list_verdicts(tx, at.shop.business_id, [at.conversation_id]).get(at.conversation_id)

    judged = at.do(work)
    assert judged is not None
    return judged


def mark(at: Desk, user: str, text: str, said: Mark) -> None:
    """Another person writes, and a member says what that is."""
    at.write(text, user)
    other = conversation_id_of(at.shop.tiktok, f"conversation of {user}")
    at.do(lambda tx: mark_chat(tx, at.shop.business_id, other, at.shop.tiktok.id, said))


def test_before_the_first_mark_no_chat_is_read(at: Desk) -> None:
    event = MessageReceived(at.shop.business_id, at.conversation_id, "message")
    at.do(lambda tx: judge_messages(tx, [event]))
    assert not at.do(lambda tx: store.list_verdicts(tx, at.shop.business_id, [at.conversation_id]))


def test_a_chat_is_judged_as_it_stands_and_what_a_member_says_of_it_stays(at: Desk) -> None:
    mark(at, "bad", BAD, Mark.SPAM)
    judged = judge(at)
    assert (judged.mark, judged.is_suspicious) == (Mark.NONE, False)
    seen = at.seen()
    at.do(lambda tx: block_person(tx, at.actor, seen, is_spam=True))
    assert judge(at).mark is Mark.SPAM
    at.do(lambda tx: unblock_person(tx, at.actor, at.conversation_id, is_fine=True))
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
    assert at.do(lambda tx: store.list_rates(tx, at.shop.business_id)) == {at.shop.tiktok.id: Rate(1, 1)}


def test_another_chat_of_the_same_person_is_no_chat_of_somebody_else(at: Desk) -> None:
    mark(at, "u1", GOOD, Mark.SPAM)
    of = at.shop.business_id

    def person_of(tx: Tx, chat_id: str) -> str:
        (found,) = suspects.SUSPECTS.list(tx, {"of": of, "ids": [chat_id]})
        return found.person_id

    def work(tx: Tx) -> list[str]:
        people = [person_of(tx, at.conversation_id), "nobody"]
        rows = suspects.MARKED.rows(tx, {"of": of, "persons": people, "spam": Mark.SPAM})
        return [chat_id for _, chat_id in rows]

    assert at.do(work) == [at.conversation_id]


def test_of_a_long_chat_the_latest_words_of_the_customer_are_read(at: Desk) -> None:
    for number in range(6):
        at.write(f"line {number}")
        at.write(f"other {number}", "u2")
    other = conversation_id_of(at.shop.tiktok, "conversation of u2")
    ids = [at.conversation_id, other]
    texts = at.do(lambda tx: suspects.list_texts(tx, at.shop.business_id, ids, 3))
    assert texts == {
        at.conversation_id: "line 3\nline 4\nline 5",
        other: "other 3\nother 4\nother 5",
    }


def test_what_is_counted_follows_each_mark_and_each_chat_that_is_forgotten(at: Desk) -> None:
    def rates() -> dict[str, Rate]:
        return at.do(lambda tx: store.list_rates(tx, at.shop.business_id))

    account = at.shop.tiktok.id
    mark(at, "bad", BAD, Mark.SPAM)
    judge(at)
    assert rates() == {account: Rate(1, 2)}
    mark(at, "bad", BAD, Mark.FINE)
    judge(at)
    assert rates() == {account: Rate(0, 2)}
    mark(at, "bad", BAD, Mark.SPAM)
    gone = conversation_id_of(at.shop.tiktok, "conversation of bad")
    at.do(lambda tx: forget_verdicts(tx, at.shop.business_id, [gone, "never judged"]))
    assert rates() == {account: Rate(0, 1)}


def test_many_chats_are_judged_with_as_many_statements_as_one(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark(at, "bad", BAD, Mark.SPAM)
    users = [f"writer {number}" for number in range(12)]
    for user in users:
        at.write(GOOD, user)
    said = list[str]()
    event.listen(at.db.engine, "before_cursor_execute", lambda *told: said.append(told[2]))

    def noted(tx: Tx) -> Any:
        said.append("by the driver")
        return driver_of(tx)

    monkeypatch.setattr(statements, "driver_of", noted)

    def judged(some: list[str]) -> int:
        ids = [conversation_id_of(at.shop.tiktok, f"conversation of {user}") for user in some]
        said.clear()
        at.do(lambda tx: judge_messages(tx, [MessageReceived(at.shop.business_id, each, "") for each in ids]))
        return len(said)

    assert judged(users[:1]) == judged(users[1:])
    assert judged(users) <= 12


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
            judged = SpamVerdict(house.business_id, chat.id, account, 0.95, signs, Mark.NONE, tx.now)
            store.save_verdicts(tx, house.business_id, [judged], {})
            return chat.id

        chat_id = house.context.db.write_now(suspect)
        page = house.client.get(f"/inbox/{chat_id}").text
        assert "This looks like spam." in page
        assert "The text resembles chats that were marked as spam." in page
        token = {"X-CSRF-Token": csrf_of(page)}
        answer = house.client.post(f"/inbox/{chat_id}/unblock", data={"fine": "1"}, headers=token)
        assert answer.status_code in (200, 303)
        assert "This looks like spam." not in house.client.get(f"/inbox/{chat_id}").text
        found = house.context.db.read_now(
            lambda tx: store.list_verdicts(tx, house.business_id, [chat_id]).get(chat_id)
        )
        assert found is not None
        assert found.mark is Mark.FINE
