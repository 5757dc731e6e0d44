"""Automatic messages of the chat page: their limits to the letter, and answers to exact words alone (P4)."""

import json
from dataclasses import replace
from functools import partial

import pytest

from contatto.channels.model import MessageKind, Platform
from contatto.inbox.actions.incoming import conversation_id_of, person_id_of, settle_receipts
from contatto.inbox.actions.replies import keep_automatic
from contatto.inbox.model import AutomaticMessages, KeywordReply, Message, PreparedReply
from contatto.inbox.rules import automatic_answer, automatic_problem, with_ad
from contatto.inbox.store import conversations
from contatto.inbox.store.desk import load_automatic
from contatto.inbox.store.messages import list_messages_after
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.measurement.store import append_touches
from tests import make
from tests.make import Shop

FULL = AutomaticMessages(
    welcome="w" * 250,
    questions=tuple(PreparedReply(f"{number}" + "q" * 79, "a" * 200) for number in range(3)),
    prompts=tuple(PreparedReply("t" * 18, "c" * 150) for _ in range(6)),
    keywords=(KeywordReply(tuple(f"{number}" + "k" * 39 for number in range(4)), "r" * 500),),
)
SMALL = AutomaticMessages(
    questions=(PreparedReply("When are you open?", "Nine to six."),),
    keywords=(KeywordReply(("PRICE", "harga"), "From 9,000."),),
)


def test_what_fills_every_limit_is_allowed() -> None:
    assert automatic_problem(FULL) is None
    assert automatic_problem(AutomaticMessages()) is None


@pytest.mark.parametrize(
    ("field", "content"),
    [
        ("welcome", replace(FULL, welcome="w" * 251)),
        ("question", replace(FULL, questions=(*FULL.questions, PreparedReply("one more", "a")))),
        ("question", replace(FULL, questions=(PreparedReply("q" * 81, "a"),))),
        ("question", replace(FULL, questions=(PreparedReply("", "a"),))),
        ("answer", replace(FULL, questions=(PreparedReply("q", "a" * 201),))),
        ("answer", replace(FULL, questions=(PreparedReply("q", ""),))),
        ("title", replace(FULL, prompts=(*FULL.prompts, PreparedReply("t", "c")))),
        ("title", replace(FULL, prompts=(PreparedReply("t" * 19, "c"),))),
        ("content", replace(FULL, prompts=(PreparedReply("t", "c" * 151),))),
        ("reply", replace(FULL, keywords=(KeywordReply(("k",), "r" * 501),))),
        ("reply", replace(FULL, keywords=(KeywordReply(("k",), ""),))),
        ("keywords", replace(FULL, keywords=(KeywordReply(("a", "b", "c", "d", "e"), "r"),))),
        ("keywords", replace(FULL, keywords=(KeywordReply((), "r"),))),
        ("keywords", replace(FULL, keywords=(KeywordReply(("k" * 41,), "r"),))),
        ("keywords", replace(FULL, keywords=(KeywordReply(("k",), "r"), KeywordReply(("k",), "s")))),
    ],
)
def test_one_more_than_a_limit_names_the_field(field: str, content: AutomaticMessages) -> None:
    problem = automatic_problem(content)
    assert problem is not None
    assert str(problem).startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("text", "answer"),
    [("PRICE", "From 9,000."), (" harga ", "From 9,000."), ("When are you open?", "Nine to six."),
     ("price", None), ("Harga", None), ("PRICE?", None), ("the PRICE", None),
     ("When are you open", None), ("", None)],
)  # fmt: skip
def test_only_exact_words_are_answered_and_capitals_count(text: str, answer: str | None) -> None:
    assert automatic_answer(SMALL, text) == answer


@pytest.fixture
def shop(database: Database) -> Shop:
    made = database.write_now(make.shop)
    database.write_now(lambda tx: keep_automatic(tx, made.business_id, made.webchat.id, SMALL, 0))
    return made


def write(db: Database, shop: Shop, text: str, message_id: str = "") -> list[Message]:
    """The customer writes on the chat page; give the thread."""
    asked = {"account_id": shop.webchat.id, "visitor": "v1", "text": text, "ts": make.NOON_MS * 1_000}
    body = json.dumps(asked | {"client_message_id": message_id or new_id()}).encode()
    db.write_now(lambda tx: make.receipt(tx, shop.business_id, body, Platform.WEBCHAT))
    db.write_now(settle_receipts)
    of = conversation_id_of(shop.webchat, "v1")
    return db.read_now(lambda tx: list_messages_after(tx, shop.business_id, of, 0))


def test_a_keyword_is_answered_once_however_often_it_is_delivered(database: Database, shop: Shop) -> None:
    write(database, shop, "PRICE", "message-1")
    thread = write(database, shop, "PRICE", "message-1")
    assert [message.text for message in thread] == ["PRICE", "From 9,000."]
    assert thread[1].kind is MessageKind.AUTOMATIC


def test_an_automatic_answer_lets_nobody_stop_waiting(database: Database, shop: Shop) -> None:
    write(database, shop, "PRICE")
    of = conversation_id_of(shop.webchat, "v1")
    found = database.read_now(lambda tx: conversations.find_conversation(tx, shop.business_id, of))
    assert found is not None
    assert (found.waiting_since, found.unread) == (make.NOON, 1)


def test_other_words_are_left_to_people(database: Database, shop: Shop) -> None:
    assert [message.text for message in write(database, shop, "the PRICE please")] == ["the PRICE please"]


def test_the_second_of_two_editors_is_told_and_overwrites_nothing(database: Database, shop: Shop) -> None:
    def keep(content: AutomaticMessages, revision: int) -> None:
        database.write_now(
            lambda tx: keep_automatic(tx, shop.business_id, shop.webchat.id, content, revision)
        )

    keep(replace(SMALL, welcome="first"), 1)
    for stale in (0, 1):
        with pytest.raises(Refused) as refused:
            keep(replace(SMALL, welcome="second"), stale)
        assert refused.value.code is errors.CONFLICT
    kept = database.read_now(lambda tx: load_automatic(tx, shop.business_id, shop.webchat.id))
    assert kept == (replace(SMALL, welcome="first"), 2)


def test_only_the_businesss_own_chat_page_has_them(database: Database, shop: Shop) -> None:
    for business_id, account_id in (
        ("other", shop.webchat.id), (shop.business_id, shop.tiktok.id), (shop.business_id, "nobody"),
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            database.write_now(
                partial(
                    keep_automatic, business_id=business_id, account_id=account_id, content=SMALL, revision=0
                )
            )
        assert refused.value.code is errors.NOT_FOUND
    assert database.read_now(lambda tx: load_automatic(tx, "other", shop.webchat.id)) == (
        AutomaticMessages(),
        0,
    )


def test_the_questions_of_the_ad_that_opened_the_chat_are_answered_as_well_as_the_accounts(
    database: Database, shop: Shop
) -> None:
    """The ad says another thing to the same words, and what only the account knows is said too."""

    def tap(tx: Tx) -> None:
        said = {"welcome": "Hi!", "questions": ("When are you open?",), "answers": ("On ad days.",)}
        ad = make.published_ad(tx, shop.business_id, **said)
        touch = make.touch(ad, person_id=person_id_of(tx.vault, shop.webchat, "v1"))
        append_touches(tx, [row_of(touch)])

    write(database, shop, "When are you open?")
    database.write_now(tap)
    write(database, shop, "When are you open?")
    thread = write(database, shop, "PRICE")
    said = [message.text for message in thread if message.kind is MessageKind.AUTOMATIC]
    assert said == ["Nine to six.", "On ad days.", "From 9,000."]


def test_an_ad_without_a_welcome_leaves_the_accounts_and_one_with_it_brings_its_own_questions() -> None:
    kept = replace(SMALL, welcome="Hello", prompts=(PreparedReply("Menu", "Send me the menu"),))
    assert with_ad(kept, make.ad()) == with_ad(kept, None) == kept
    own = with_ad(kept, make.ad(welcome="Hi!", questions=("A?",), answers=("B.",)))
    assert (own.welcome, own.questions, own.prompts) == ("Hi!", (PreparedReply("A?", "B."),), kept.prompts)
