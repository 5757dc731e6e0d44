"""The desk: who takes what, what is put away, who is blocked, and what two members do at once."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from contatto.accounts.model import Role
from contatto.channels.model import MessageKind, Sender
from contatto.inbox.actions.incoming import conversation_id_of, settle_receipts
from contatto.inbox.actions.replies import load_window, send_reply
from contatto.inbox.actions.threads import (
    SPAM_NOTE,
    SeenConversation,
    add_private_note,
    assign_conversation,
    block_person,
    keep_saved_reply,
    label_conversation,
    mark_conversation_as_lead,
    remove_saved_reply,
    set_thread_state,
    unblock_person,
    unlabel_conversation,
    wake_conversations,
)
from contatto.inbox.model import Conversation, Message, ThreadState
from contatto.inbox.rules import MOST_SAVED, NOTE_LIMIT, SNOOZES
from contatto.inbox.store import conversations, desk, messages
from contatto.inbox.store.desk import (
    ConversationFilter,
    list_label_ids,
    list_private_notes,
    list_saved_replies,
    private_notes,
    saved_replies,
)
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.outbox import list_events
from contatto.leads.model import Actor, LeadStatus, Note
from contatto.leads.store.listing import list_labels
from contatto.leads.store.records import find_lead_of_person, list_work
from tests import make
from tests.make import Shop


@dataclass
class Desk:
    db: Database
    clock: FixedClock
    shop: Shop
    actor: Actor
    minutes: int = 0

    @property
    def conversation_id(self) -> str:
        return conversation_id_of(self.shop.tiktok, "conversation of u1")

    def write(self, text: str = "Hi", user: str = "u1") -> None:
        """The customer writes, a minute after what was written before."""
        self.minutes += 1
        self.clock.moment = make.NOON + timedelta(minutes=self.minutes)
        content = make.said(text, user, make.NOON_MS + self.minutes * 60_000)
        body = make.webhook("im_receive_msg", content)
        self.do(lambda tx: make.receipt(tx, self.shop.business_id, body))
        self.do(settle_receipts)

    def do[T](self, work: Callable[[Tx], T]) -> T:
        return self.db.write_now(work)

    def now(self) -> Conversation:
        found = self.db.read_now(
            lambda tx: conversations.find_conversation(tx, self.shop.business_id, self.conversation_id)
        )
        assert found is not None
        return found

    def seen(self) -> SeenConversation:
        return SeenConversation(self.conversation_id, self.now().revision)

    def count(self, tab: str = "all", state: ThreadState | None = None) -> int:
        wanted = ConversationFilter(tab, None, state, self.actor.member_id)
        return self.db.read_now(lambda tx: desk.count_conversations(tx, self.shop.business_id, wanted))

    def events(self, name: str) -> int:
        found = self.db.read_now(lambda tx: list_events(tx, 0, business_id=self.shop.business_id))
        return sum(event.name == name for event in found)


@pytest.fixture
def at(database: Database, clock: FixedClock) -> Desk:
    shop = database.write_now(make.shop)
    member = database.write_now(lambda tx: make.member(tx, shop.business_id))
    made = Desk(database, clock, shop, Actor(shop.business_id, member.id, "Owner"))
    made.write()
    return made


def test_a_conversation_is_nobodys_until_a_member_takes_it(at: Desk) -> None:
    assert (at.count("unassigned"), at.count("mine")) == (1, 0)
    seen = at.seen()
    at.do(lambda tx: assign_conversation(tx, at.actor, seen, at.actor.member_id))
    assert (at.count("unassigned"), at.count("mine"), at.count("all")) == (0, 1, 1)
    seen = at.seen()
    at.do(lambda tx: assign_conversation(tx, at.actor, seen, None))
    assert at.count("unassigned") == 1
    assert at.events("conversation_changed") == 2


def test_only_a_member_of_the_business_can_be_given_a_conversation(at: Desk) -> None:
    other = at.do(make.business)
    stranger = at.do(lambda tx: make.member(tx, other.id, "else@example.com", Role.AGENT))
    for member_id in (stranger.id, "nobody", ""):
        with pytest.raises(Refused) as refused:
            at.do(lambda tx, who=member_id: assign_conversation(tx, at.actor, at.seen(), who))  # type: ignore[misc]
        assert refused.value.code is errors.INVALID
    assert at.now().assignee_id is None


CHANGES: dict[str, Callable[[Tx, Actor, SeenConversation], None]] = {
    "assign": lambda tx, actor, seen: assign_conversation(tx, actor, seen, actor.member_id),
    "snooze": lambda tx, actor, seen: set_thread_state(tx, actor, seen, ThreadState.SNOOZED, "day"),
    "resolve": lambda tx, actor, seen: set_thread_state(tx, actor, seen, ThreadState.RESOLVED),
    "reopen": lambda tx, actor, seen: set_thread_state(tx, actor, seen, ThreadState.OPEN),
    "block": lambda tx, actor, seen: block_person(tx, actor, seen, is_spam=False),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_when_two_members_change_one_conversation_the_second_is_told_and_overwrites_nothing(
    at: Desk, change: Callable[[Tx, Actor, SeenConversation], None]
) -> None:
    seen = at.seen()
    at.do(lambda tx: assign_conversation(tx, at.actor, seen, at.actor.member_id))
    before = at.now()
    with pytest.raises(Refused, match="Somebody else changed this conversation") as refused:
        at.do(lambda tx: change(tx, at.actor, seen))
    assert refused.value.code is errors.CONFLICT
    assert at.now() == before


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_another_business_changes_nothing(
    at: Desk, change: Callable[[Tx, Actor, SeenConversation], None]
) -> None:
    other = at.do(make.business)
    stranger = at.do(lambda tx: make.member(tx, other.id, "else@example.com"))
    before = at.now()
    with pytest.raises(Refused) as refused:
        at.do(lambda tx: change(tx, Actor(other.id, stranger.id, "Else"), at.seen()))
    assert refused.value.code is errors.NOT_FOUND
    assert at.now() == before


@pytest.mark.parametrize("span", SNOOZES)
def test_a_snoozed_conversation_comes_back_by_itself_when_its_time_has_come(at: Desk, span: str) -> None:
    seen = at.seen()
    at.do(lambda tx: set_thread_state(tx, at.actor, seen, ThreadState.SNOOZED, span))
    assert (at.count("all", ThreadState.OPEN), at.count("all", ThreadState.SNOOZED)) == (0, 1)
    at.clock.moment += SNOOZES[span] - timedelta(microseconds=1)
    assert at.do(wake_conversations) == 0
    at.clock.moment += timedelta(microseconds=1)
    assert at.do(wake_conversations) == 1
    assert (at.now().state, at.now().snoozed_until) == (ThreadState.OPEN, None)
    assert at.do(wake_conversations) == 0


@pytest.mark.parametrize("put_away", [CHANGES["snooze"], CHANGES["resolve"]], ids=["snoozed", "resolved"])
def test_a_customers_new_message_brings_a_conversation_back(
    at: Desk, put_away: Callable[[Tx, Actor, SeenConversation], None]
) -> None:
    seen = at.seen()
    at.do(lambda tx: put_away(tx, at.actor, seen))
    assert at.count("all", ThreadState.OPEN) == 0
    at.write("Still there?")
    assert at.now().state is ThreadState.OPEN
    assert at.count("all", ThreadState.OPEN) == 1


def test_a_resolved_conversation_can_be_reopened(at: Desk) -> None:
    for state in (ThreadState.RESOLVED, ThreadState.OPEN):
        seen = at.seen()
        at.do(lambda tx, state=state, seen=seen: set_thread_state(tx, at.actor, seen, state))  # type: ignore[misc]
        assert at.now().state is state


def test_a_lead_waits_from_its_first_unanswered_message_until_somebody_answers(at: Desk) -> None:
    at.write("my number is +65 8123 4567")
    at.do(lambda tx: mark_conversation_as_lead(tx, at.shop.business_id, at.conversation_id, "Owner"))
    assert at.now().waiting_since == make.NOON + timedelta(minutes=1)
    assert at.count("waiting") == 1
    at.minutes += 1
    at_ms = make.NOON_MS + at.minutes * 60_000
    answer = make.webhook("im_send_msg", make.answered("Hello", at_ms=at_ms))
    at.do(lambda tx: make.receipt(tx, at.shop.business_id, answer))
    at.do(settle_receipts)
    assert (at.now().waiting_since, at.count("waiting")) == (None, 0)
    at.write("And?")
    assert at.now().waiting_since == make.NOON + timedelta(minutes=at.minutes)


def test_a_late_echo_of_an_older_answer_lets_nobody_stop_waiting(at: Desk) -> None:
    at.write("Are you there?")
    older = make.webhook("im_send_msg", make.answered("Hello", at_ms=make.NOON_MS + 61_000))
    at.do(lambda tx: make.receipt(tx, at.shop.business_id, older))
    at.do(settle_receipts)
    assert at.now().waiting_since is not None


def leads(at: Desk) -> Any:
    person = at.now().person_id
    return at.db.read_now(lambda tx: find_lead_of_person(tx, at.shop.business_id, person))


def test_what_a_blocked_person_writes_is_kept_and_makes_no_lead_and_no_news(at: Desk) -> None:
    seen = at.seen()
    at.do(lambda tx: block_person(tx, at.actor, seen, is_spam=False))
    heard, unread = at.events("message_received"), at.now().unread
    at.write("my number is +65 8123 4567")
    assert leads(at) is None
    assert at.events("message_received") == heard
    assert (at.now().unread, at.now().state) == (unread, ThreadState.BLOCKED)
    kept = at.db.read_now(lambda tx: messages.list_messages(tx, at.shop.business_id, at.conversation_id))
    assert [message.text for message in kept] == ["Hi", "my number is +65 8123 4567"]
    assert (at.count("all"), at.count("all", ThreadState.BLOCKED)) == (0, 1)


def test_a_new_conversation_of_a_blocked_person_is_blocked_too(at: Desk) -> None:
    seen = at.seen()
    at.do(lambda tx: block_person(tx, at.actor, seen, is_spam=False))
    content = make.said("me again, +65 8123 4567", at_ms=make.NOON_MS + 600_000, conversation_id="another")
    at.do(lambda tx: make.receipt(tx, at.shop.business_id, make.webhook("im_receive_msg", content)))
    at.do(settle_receipts)
    assert leads(at) is None
    assert at.count("all", ThreadState.BLOCKED) == 2


def test_spam_marks_the_lead_unqualified_and_says_why(at: Desk) -> None:
    at.write("my number is +65 8123 4567")
    at.do(lambda tx: mark_conversation_as_lead(tx, at.shop.business_id, at.conversation_id, "Owner"))
    seen = at.seen()
    at.do(lambda tx: block_person(tx, at.actor, seen, is_spam=True))
    lead = leads(at)
    assert lead.status is LeadStatus.UNQUALIFIED
    notes = at.db.read_now(lambda tx: list_work(tx, at.shop.business_id, lead.id, Note))
    assert [note.text for note in notes] == [SPAM_NOTE]


def test_an_unblocked_persons_next_message_counts_again(at: Desk) -> None:
    seen = at.seen()
    at.do(lambda tx: block_person(tx, at.actor, seen, is_spam=False))
    at.write("my number is +65 8123 4567")
    at.do(lambda tx: unblock_person(tx, at.actor, at.conversation_id))
    assert leads(at) is None
    at.write("my number is +65 8123 4568")
    assert leads(at) is not None
    assert at.now().state is ThreadState.OPEN


def test_nobody_writes_to_a_blocked_person(at: Desk) -> None:
    seen = at.seen()
    at.do(lambda tx: block_person(tx, at.actor, seen, is_spam=False))
    window = at.db.read_now(lambda tx: load_window(tx, at.shop.tiktok, at.now()))
    assert (window.is_open, window.reason) == (False, "blocked")
    said = (Sender.BUSINESS, MessageKind.TEXT, "Hello", "Owner", make.NOON)
    reply = Message(0, new_id(), at.conversation_id, *said)
    with pytest.raises(Refused, match="blocked"):
        at.do(lambda tx: send_reply(tx, at.shop.business_id, at.conversation_id, reply))
    with pytest.raises(Refused, match="Unblock"):
        at.do(lambda tx: set_thread_state(tx, at.actor, at.seen(), ThreadState.OPEN))


def test_labels_are_those_of_the_leads_and_each_is_worn_once(at: Desk) -> None:
    for name in ("Urgent", "urgent", "Later"):
        at.do(lambda tx, name=name: label_conversation(tx, at.actor, at.conversation_id, name))  # type: ignore[misc]
    known = at.db.read_now(lambda tx: list_labels(tx, at.shop.business_id))
    assert sorted(label.name for label in known) == ["Later", "Urgent"]

    def worn() -> set[str]:
        found = at.db.read_now(lambda tx: list_label_ids(tx, at.shop.business_id, [at.conversation_id]))
        return found[at.conversation_id]

    assert worn() == {label.id for label in known}
    at.do(lambda tx: unlabel_conversation(tx, at.actor, at.conversation_id, known[0].id))
    assert worn() == {known[1].id}
    with pytest.raises(Refused):
        at.do(lambda tx: label_conversation(tx, at.actor, at.conversation_id, "  "))


def test_a_private_note_is_sealed_kept_once_and_is_no_message(at: Desk) -> None:
    note_id = new_id()
    for _ in range(2):
        at.do(lambda tx: add_private_note(tx, at.actor, at.conversation_id, note_id, " Call back on Monday "))
    notes = at.db.read_now(lambda tx: list_private_notes(tx, at.shop.business_id, at.conversation_id))
    assert [(note.text, note.author) for note in notes] == [("Call back on Monday", "Owner")]
    row = at.db.read_now(lambda tx: tx.execute(select(private_notes)).mappings().one())
    assert b"Monday" not in row["text"]
    told = at.db.read_now(lambda tx: messages.list_messages(tx, at.shop.business_id, at.conversation_id))
    after = at.db.read_now(
        lambda tx: messages.list_messages_after(tx, at.shop.business_id, at.conversation_id, 0)
    )
    assert [message.text for message in (*told, *after)] == ["Hi", "Hi"]
    assert at.events("message_sent") == 0
    for text in ("", "  ", "x" * (NOTE_LIMIT + 1)):
        with pytest.raises(Refused):
            at.do(lambda tx, text=text: add_private_note(  # type: ignore[misc]
                tx, at.actor, at.conversation_id, new_id(), text))  # fmt: skip


def test_saved_replies_are_sealed_and_one_shortcut_holds_one_text(at: Desk) -> None:
    business_id = at.shop.business_id
    for shortcut, text in (("/Hours", "Nine to five"), ("hours", "Nine to six"), ("price", "From 9,000")):
        at.do(lambda tx, of=(shortcut, text): keep_saved_reply(tx, business_id, *of))  # type: ignore[misc]
    kept = at.db.read_now(lambda tx: list_saved_replies(tx, business_id))
    assert [(reply.shortcut, reply.text) for reply in kept] == [
        ("hours", "Nine to six"),
        ("price", "From 9,000"),
    ]
    rows = at.db.read_now(lambda tx: tx.execute(select(saved_replies)).mappings().all())
    assert not any(b"Nine" in row["text"] for row in rows)
    with pytest.raises(Refused):
        at.do(lambda tx: remove_saved_reply(tx, "other", kept[0].id))
    at.do(lambda tx: remove_saved_reply(tx, business_id, kept[0].id))
    assert len(at.db.read_now(lambda tx: list_saved_replies(tx, business_id))) == 1


@pytest.mark.parametrize(
    ("shortcut", "text"), [("", "x"), ("two words", "x"), ("x" * 31, "x"), ("<b>", "x"), ("a", " ")]
)
def test_a_saved_reply_needs_one_word_and_a_text(at: Desk, shortcut: str, text: str) -> None:
    with pytest.raises(Refused) as refused:
        at.do(lambda tx: keep_saved_reply(tx, at.shop.business_id, shortcut, text))
    assert refused.value.code is errors.INVALID


def test_saved_replies_do_not_grow_without_end(at: Desk) -> None:
    def fill(tx: Tx) -> None:
        for number in range(MOST_SAVED):
            keep_saved_reply(tx, at.shop.business_id, f"r{number}", "x")

    at.do(fill)
    with pytest.raises(Refused, match="maximum"):
        at.do(lambda tx: keep_saved_reply(tx, at.shop.business_id, "more", "x"))
