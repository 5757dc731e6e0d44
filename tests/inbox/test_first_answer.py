"""When the customer of a chat was first answered, as the page of the lead says it."""

from datetime import datetime, timedelta

from contatto.channels.model import MessageKind, Sender
from contatto.inbox.actions.threads import conversation_id_of
from contatto.inbox.model import Message
from contatto.inbox.store.messages import append_message, find_first_answer
from contatto.kit.db.database import Database
from contatto.kit.ids import new_id
from tests import make
from tests.inbox.incoming import received, take


def test_the_first_word_of_a_person_is_the_answer_and_no_automatic_one(database: Database) -> None:
    shop = database.write_now(make.shop)
    of = conversation_id_of(shop.tiktok, "conversation of u1")

    def find() -> tuple[datetime, datetime | None] | None:
        return database.read_now(lambda tx: find_first_answer(tx, shop.business_id, of))

    def say(minutes: int, kind: MessageKind) -> None:
        at = make.NOON + timedelta(minutes=minutes)
        said = Message(0, new_id(), of, Sender.BUSINESS, kind, "Hello", "Mei", at)
        database.write_now(lambda tx: append_message(tx, shop.business_id, said))

    assert find() is None
    take(database, shop, received("Hi"))
    say(1, MessageKind.AUTOMATIC)
    assert find() == (make.NOON, None)
    say(5, MessageKind.TEXT)
    say(9, MessageKind.TEXT)
    assert find() == (make.NOON, make.NOON + timedelta(minutes=5))
    other = database.read_now(lambda tx: find_first_answer(tx, "another", of))
    assert other is None
