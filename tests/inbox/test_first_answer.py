"""When the customer of a chat was first answered, as the page of the lead says it."""

from datetime import datetime, timedelta

from contatto.channels.model import MessageKind, Sender
from contatto.inbox.actions.forms import ChatVisitor, HandedIn, take_form
from contatto.inbox.actions.incoming import conversation_id_of
from contatto.inbox.model import Message
from contatto.inbox.store.conversations import append_messages, find_conversation
from contatto.inbox.store.messages import find_first_answer, list_messages
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.reports.store import list_first_replies
from tests import make
from tests.forms.papers import published, sent
from tests.inbox.incoming import received, take


def test_the_first_word_of_a_person_is_the_answer_and_no_automatic_one(database: Database) -> None:
    shop = database.write_now(make.shop)
    of = conversation_id_of(shop.tiktok, "conversation of u1")

    def find() -> tuple[datetime, datetime | None] | None:
        return database.read_now(lambda tx: find_first_answer(tx, shop.business_id, of))

    def say(minutes: int, kind: MessageKind) -> None:
        at = make.NOON + timedelta(minutes=minutes)
        said = Message(0, new_id(), of, Sender.BUSINESS, kind, "Hello", "Mei", at)
        database.write_now(lambda tx: append_messages(tx, [(shop.business_id, said)]))

    assert find() is None
    take(database, shop, received("Hi"))
    say(1, MessageKind.AUTOMATIC)
    assert find() == (make.NOON, None)
    say(5, MessageKind.TEXT)
    say(9, MessageKind.TEXT)
    assert find() == (make.NOON, make.NOON + timedelta(minutes=5))
    other = database.read_now(lambda tx: find_first_answer(tx, "another", of))
    assert other is None


def test_the_thank_you_of_a_form_is_no_answer_on_the_page_in_the_inbox_and_in_the_report(
    database: Database,
) -> None:
    shop = database.write_now(make.shop)
    talk = conversation_id_of(shop.tiktok, "conversation of u1")
    take(database, shop, received("Hi"))
    version = database.write_now(lambda tx: published(tx, shop.business_id))
    chat = ChatVisitor(shop.tiktok, "conversation of u1", "network")
    handed = HandedIn(shop.business_id, version.number, talk, sent(), chat)
    database.write_now(lambda tx: take_form(tx, handed))

    def count_answers(tx: Tx) -> int:
        between = make.NOON - timedelta(days=1), make.NOON + timedelta(days=1)
        answers = list_first_replies(tx, shop.business_id, between, {version.name}, 10)
        return sum(answer.answered_at is not None for answer in answers)

    last = database.read_now(lambda tx: list_messages(tx, shop.business_id, talk))[-1]
    assert (last.sender, last.kind) == (Sender.BUSINESS, MessageKind.AUTOMATIC)
    assert database.read_now(lambda tx: find_first_answer(tx, shop.business_id, talk)) == (make.NOON, None)
    waiting = database.read_now(lambda tx: find_conversation(tx, shop.business_id, talk))
    assert waiting is not None
    assert waiting.waiting_since == make.NOON
    assert database.read_now(count_answers) == 0
