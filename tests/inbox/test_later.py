"""What the desk does besides: replies for later, mentions, the clock, searching, forms in the thread."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from contatto.accounts.model import Role
from contatto.channels.actions import allow_embedding, set_access_token
from contatto.channels.rules import embed_origins
from contatto.channels.store import list_embed_origins
from contatto.inbox import rules
from contatto.inbox.actions.forms import send_form
from contatto.inbox.actions.replies import cancel_scheduled, schedule_reply, send_scheduled
from contatto.inbox.actions.threads import (
    FoundConversations,
    add_private_note,
    note_conversation_read,
    search_conversations,
    set_reply_target,
)
from contatto.inbox.model import ScheduledReply, ScheduleState
from contatto.inbox.rules import MOST_SCHEDULED, FormLink, mentioned_members, read_form_link, sign_form_link
from contatto.inbox.store.conversations import persons
from contatto.inbox.store.desk import (
    ConversationFilter,
    count_conversations,
    count_tabs,
    find_reply_target,
    list_unseen_mentions,
)
from contatto.inbox.store.messages import list_messages, list_scheduled, scheduled_replies
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.kit.vault import Vault
from contatto.leads.model import Actor
from tests import make
from tests.forms.papers import published
from tests.inbox.test_desk import Desk
from tests.make import Shop
from tests.unchanged import nothing_changes

KEY = Vault({"k": b"k" * 32}).signer("form-link")
LINK = FormLink(
    "0" * 8 + "-0000-0000-0000-" + "0" * 12, "1" * 8 + "-1111-1111-1111-" + "1" * 12, 7, 1_800_000_000
)


@pytest.fixture
def desk(database: Database, clock: FixedClock, shop: Shop) -> Desk:
    member = database.write_now(lambda tx: make.member(tx, shop.business_id))
    database.write_now(lambda tx: set_access_token(tx, shop.business_id, shop.tiktok.id, "a-token"))
    made = Desk(database, clock, shop, Actor(shop.business_id, member.id, "Owner"))
    made.write("Do you have blue tiles?")
    return made


def later(desk: Desk, hours: float = 1, text: str = "See you then", reply_id: str = "") -> str:
    chosen = reply_id or new_id()
    at = desk.clock.moment + timedelta(hours=hours)
    desk.do(lambda tx: schedule_reply(tx, desk.actor, desk.conversation_id, chosen, text, at))
    return chosen


def waiting(desk: Desk) -> list[ScheduledReply]:
    return desk.db.read_now(lambda tx: list_scheduled(tx, desk.shop.business_id, desk.conversation_id))


def said(desk: Desk) -> list[str]:
    found = desk.db.read_now(lambda tx: list_messages(tx, desk.shop.business_id, desk.conversation_id))
    return [message.text for message in found]


def test_a_reply_for_later_goes_out_once_when_its_time_has_come(desk: Desk) -> None:
    same = later(desk)
    later(desk, reply_id=same)
    assert [each.text for each in waiting(desk)] == ["See you then"]
    desk.clock.advance(minutes=59)
    assert desk.do(send_scheduled) == 0
    desk.clock.advance(minutes=1)
    assert desk.do(send_scheduled) == 1
    assert desk.do(send_scheduled) == 0
    assert said(desk) == ["Do you have blue tiles?", "See you then"]
    assert waiting(desk) == []


def test_a_reply_that_is_taken_back_never_goes_out_and_one_that_went_out_cannot_be(desk: Desk) -> None:
    def cancel(reply_id: str) -> None:
        desk.do(lambda tx: cancel_scheduled(tx, desk.shop.business_id, desk.conversation_id, reply_id))

    first, second = later(desk), later(desk, text="Second")
    cancel(first)
    desk.clock.advance(hours=2)
    assert desk.do(send_scheduled) == 1
    assert said(desk)[1:] == ["Second"]
    for reply_id in (first, second):
        with pytest.raises(Refused) as refused:
            cancel(reply_id)
        assert refused.value.code is errors.CONFLICT


def test_what_the_platform_no_longer_allows_stays_with_the_reason(desk: Desk) -> None:
    reply_id = later(desk, hours=49)
    desk.clock.advance(hours=49)
    assert desk.do(send_scheduled) == 1
    (stopped,) = waiting(desk)
    assert stopped.state is ScheduleState.STOPPED
    assert "time to reply is over" in (stopped.reason or "")
    assert said(desk) == ["Do you have blue tiles?"]
    desk.do(lambda tx: cancel_scheduled(tx, desk.shop.business_id, desk.conversation_id, reply_id))
    assert waiting(desk) == []


def test_a_reply_for_later_that_does_not_open_is_stopped_and_nobody_gets_words_in_its_place(
    desk: Desk,
) -> None:
    later(desk)
    desk.do(lambda tx: tx.execute(update(scheduled_replies).values(body=b"damaged")))
    desk.clock.advance(hours=1)
    assert desk.do(send_scheduled) == 1
    (stopped,) = waiting(desk)
    assert (stopped.state, stopped.reason) == (ScheduleState.STOPPED, rules.STOPPED["broken"])
    assert said(desk) == ["Do you have blue tiles?"]


@pytest.mark.parametrize(("hours", "text"), [(0, "x"), (-1, "x"), (31 * 24, "x"), (1, " ")])
def test_a_time_or_text_that_cannot_be_is_refused(desk: Desk, hours: float, text: str) -> None:
    with nothing_changes(desk.db), pytest.raises(Refused) as refused:
        later(desk, hours, text)
    assert refused.value.code is errors.INVALID


def test_only_so_many_replies_wait_in_one_thread(desk: Desk) -> None:
    for _ in range(MOST_SCHEDULED):
        later(desk)
    with pytest.raises(Refused):
        later(desk)


def test_another_business_sees_and_cancels_nothing(desk: Desk) -> None:
    reply_id = later(desk)
    stranger = Actor("other", "m9", "Stranger")
    at = desk.clock.moment + timedelta(hours=1)
    with pytest.raises(Refused):
        desk.do(lambda tx: schedule_reply(tx, stranger, desk.conversation_id, new_id(), "x", at))
    with pytest.raises(Refused):
        desk.do(lambda tx: cancel_scheduled(tx, "other", desk.conversation_id, reply_id))
    assert len(waiting(desk)) == 1


MEMBERS = {"1": "Ana", "2": "Ana Maria", "3": "Li"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("@Ana please", {"1"}),
        ("please, @ana maria!", {"2"}),
        ("@Ana Maria and @Ana", {"1", "2"}),
        ("(@Li)", {"3"}),
        ("@Lina", set()),
        ("ana@li.example", set()),
        ("Ana", set()),
        ("@", set()),
    ],
)  # fmt: skip
def test_a_note_names_members_by_their_whole_name(text: str, named: set[str]) -> None:
    assert mentioned_members(text, MEMBERS) == named


def test_a_member_who_is_mentioned_has_it_in_a_tab_until_they_looked(desk: Desk) -> None:
    business_id = desk.shop.business_id
    new = desk.do(lambda tx: make.member(tx, business_id, "ana@example.com", Role.AGENT))
    other = Actor(business_id, new.id, "Ana")
    note = new_id()
    for _ in range(2):
        desk.do(lambda tx: add_private_note(tx, other, desk.conversation_id, note, "@Owner look"))

    def unseen(member_id: str) -> set[str]:
        return desk.db.read_now(lambda tx: list_unseen_mentions(tx, business_id, member_id))

    assert unseen(desk.actor.member_id) == {desk.conversation_id}
    assert desk.count("mentions") == 1
    of = (business_id, desk.conversation_id, desk.actor.member_id)
    desk.do(lambda tx: note_conversation_read(tx, *of))
    assert unseen(desk.actor.member_id) == set()
    assert desk.count("mentions") == 1  # it stays in the tab
    assert unseen(new.id) == set()


def test_who_waits_longer_than_the_target_is_late_until_somebody_answers(desk: Desk) -> None:
    business_id = desk.shop.business_id

    def count_late() -> int:
        target = desk.db.read_now(lambda tx: find_reply_target(tx, business_id))
        assert target is not None
        wanted = ConversationFilter("late", late_before=desk.clock.moment - target)
        return desk.db.read_now(lambda tx: count_conversations(tx, business_id, wanted))

    desk.do(lambda tx: set_reply_target(tx, business_id, 15))
    assert count_late() == 0
    desk.clock.advance(minutes=15)
    assert count_late() == 1
    later(desk, hours=0.01)
    desk.clock.advance(minutes=1)
    desk.do(send_scheduled)
    assert count_late() == 0
    desk.do(lambda tx: set_reply_target(tx, business_id, 0))
    assert desk.db.read_now(lambda tx: find_reply_target(tx, business_id)) is None
    for wrong in (-1, 99_999_999):
        with pytest.raises(Refused):
            desk.do(lambda tx, minutes=wrong: set_reply_target(tx, business_id, minutes))  # type: ignore[misc]


def test_the_tabs_counted_together_are_the_tabs_counted_one_by_one(desk: Desk) -> None:
    desk.write("My number is +65 9123 4567", user="u2")
    desk.write("Hello", user="u3")
    business_id, late_before = desk.shop.business_id, desk.clock.moment
    wanted = ConversationFilter(member_id=desk.actor.member_id, late_before=late_before)
    tabs = ("all", "mine", "unassigned", "waiting", "late")
    together = desk.db.read_now(lambda tx: count_tabs(tx, business_id, wanted, tabs))
    for tab in tabs:
        one = replace(wanted, tab=tab)
        alone = desk.db.read_now(lambda tx, one=one: count_conversations(tx, business_id, one))  # type: ignore[misc]
        assert together[tab] == alone, tab
    assert together["all"] == 3
    assert together["waiting"] < together["late"]


def test_a_conversation_is_found_by_name_by_words_and_by_contact_detail(desk: Desk) -> None:
    desk.write("My number is +65 9123 4567", user="u2")
    business_id = desk.shop.business_id

    def found(words: str, of: str = business_id) -> int:
        return len(desk.db.read_now(lambda tx: search_conversations(tx, of, words).ids))

    assert found("BLUE  tiles") == 1
    assert found("U2") == 1
    assert found("+6591234567") == 1
    assert found("red tiles") == 0
    assert found("  ") == 0
    assert found("blue tiles", "other") == 0
    assert found("%") == 0
    assert found("tiles blue") == found("TÏLES dö") == 1
    desk.do(lambda tx: tx.execute(update(persons).values(name_key="")))
    of_u2 = select(persons.c.id).where(persons.c.external_id == "u2")
    mark = desk.db.read_now(lambda tx: str(tx.scalar(of_u2)))[:4]
    assert found(f"Visitor {mark}") == found(mark.upper()) == 1


def test_a_search_says_how_far_back_it_read_and_goes_on_to_older_messages(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "SEARCHED_MESSAGES", 2)
    for number in range(3):
        desk.write(f"Line {number}", user=f"u{number + 2}")

    def search(before: int | None) -> FoundConversations:
        return desk.db.read_now(
            lambda tx: search_conversations(tx, desk.shop.business_id, "blue tiles", before=before)
        )

    newest = search(None)
    assert newest.ids == frozenset()
    assert newest.oldest_at is not None
    assert newest.next_before is not None
    older = search(newest.next_before)
    assert older.ids == {desk.conversation_id}
    assert older.next_before is None


def test_a_search_with_enough_matches_stops_and_goes_on_where_it_stopped(desk: Desk) -> None:
    for number in range(3):
        desk.write("Blue tiles again", user=f"u{number + 2}")

    def search(before: int | None) -> FoundConversations:
        return desk.db.read_now(
            lambda tx: search_conversations(tx, desk.shop.business_id, "blue", limit=1, before=before)
        )

    pages = [search(None)]
    while pages[-1].next_before is not None:
        pages.append(search(pages[-1].next_before))
    assert [len(page.ids) for page in pages] == [1, 1, 1, 1]
    assert len(frozenset().union(*(page.ids for page in pages))) == 4


def test_a_form_is_a_card_in_our_own_chat_and_a_link_on_a_platform(desk: Desk) -> None:
    version = desk.do(lambda tx: published(tx, desk.shop.business_id))
    address = "https://chat.example.com/form/token"
    sent = desk.do(lambda tx: send_form(tx, desk.actor, desk.conversation_id, new_id(), version, address))
    assert sent.text.endswith("\nhttps://chat.example.com/form/token")
    assert sent.form is None


def test_the_link_of_a_form_says_what_it_was_signed_for_and_nothing_else() -> None:
    token = sign_form_link(LINK, KEY)
    assert read_form_link(token, KEY) == LINK
    assert read_form_link(token, Vault({"k": b"x" * 32}).signer("form-link")) is None
    for wrong in ("", "x", token[:-1], "B" + token[1:], token + "A", "\u00e9" * 20, "=" * 9):
        assert read_form_link(wrong, KEY) is None


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ()),
        ("https://www.example.com", ("https://www.example.com",)),
        ("https://A.example.com/\nhttps://b.example.com:8443", ("https://a.example.com", "https://b.example.com:8443")),
        ("http://localhost:3000 http://127.0.0.1", ("http://localhost:3000", "http://127.0.0.1")),
        ("http://www.example.com", "http://www.example.com"),
        ("https://www.example.com/path", "https://www.example.com/path"),
        ("https://*.example.com", "https://*.example.com"),
        ("https://user@example.com", "https://user@example.com"),
        ("https://example.com;script-src", "https://example.com;script-src"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("'self'", "'self'"),
        ("https://example.com:99999999", "https://example.com:99999999"),
    ],
)  # fmt: skip
def test_a_site_that_may_show_the_chat_is_named_as_browsers_do(
    text: str, origins: tuple[str, ...] | str
) -> None:
    assert embed_origins(text) == origins


def test_only_our_own_chat_can_be_shown_on_a_site(desk: Desk) -> None:
    shop = desk.shop
    desk.do(lambda tx: allow_embedding(tx, shop.business_id, shop.webchat.id, "https://a.example.com"))
    kept = desk.db.read_now(lambda tx: list_embed_origins(tx, shop.business_id))
    assert kept == {shop.webchat.id: ("https://a.example.com",)}
    with nothing_changes(desk.db):
        for business_id, account_id, text in (
            (shop.business_id, shop.tiktok.id, "https://a.example.com"),
            ("other", shop.webchat.id, "https://a.example.com"),
            (shop.business_id, shop.webchat.id, "a.example.com"),
        ):
            with pytest.raises(Refused):
                desk.do(lambda tx, of=(business_id, account_id, text): allow_embedding(tx, *of))  # type: ignore[misc]
