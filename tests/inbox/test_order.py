"""The same deliveries end in the same state, in any order and however often; the ledger always adds up."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contatto.channels.model import ReceiptCounts
from contatto.inbox.actions.incoming import person_id_of, settle_receipts
from contatto.inbox.store import conversations, desk, messages
from contatto.inbox.store.desk import ConversationFilter
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store import listing
from contatto.leads.store import records as lead_store
from contatto.measurement import store as measurement_store
from tests import make
from tests.examples import examples
from tests.inbox.incoming import NUMBER, SECOND, deliver, ledger, received, settle, take, thread
from tests.make import Shop


def test_the_same_message_twice_is_stored_once_and_the_ledger_says_so(database: Database, shop: Shop) -> None:
    first = received("Hi", message_id="m-1")
    echo = make.webhook("im_receive_msg", make.said("Hi", message_id="m-1"), create_time=1)
    found = take(database, shop, first, first, echo)
    assert (found.received, found.stored, found.merged) == (3, 1, 2)
    assert (take(database, shop, first).received, len(thread(database, shop))) == (4, 1)


def test_the_ledger_adds_up_at_any_moment(database: Database, shop: Shop) -> None:
    bodies = [received(f"text {n}", f"u{n % 3}") for n in range(12)]
    bodies += [
        b"not json",
        b"",
        b"[]",
        b"null",
        make.webhook("new", make.said()),
        make.webhook("im_receive_msg", ""),
    ]
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


def story(ad: Any) -> list[bytes]:
    """All that may happen in a chat, as deliveries."""
    return [
        make.webhook("im_referral_msg", make.tapped(ad, at_ms=make.NOON_MS - 60 * SECOND)),
        received("Hi, my name is Night Owl", at_ms=make.NOON_MS, message_id="s1"),
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
        talks = desk.list_conversations(tx, of, ConversationFilter())
        found = listing.list_leads(tx, of, LeadFilter())
        points = listing.list_contact_points(tx, of, {lead.id for lead in found})
        return {
            "talks": sorted(
                (t.external_id, t.started_at, t.last_message_at, t.unread, t.customer_read_at) for t in talks
            ),
            "messages": sorted(
                (m.text, m.sender, m.at) for t in talks for m in messages.list_messages(tx, of, t.id)
            ),
            "persons": sorted(
                (p.external_id, p.name, p.stated_name, p.created_at)
                for p in conversations.list_persons(tx, of, {t.person_id for t in talks}).values()
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


def played(db: Database, order: list[int], batch: int) -> tuple[dict[str, Any], ReceiptCounts]:
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
        .replace(person_id_of(db.vault, shop.tiktok, "u1"), "u1")
        .replace(person_id_of(db.vault, shop.tiktok, "u2"), "u2")
    )
    return anonymous, ledger(db, shop)


def test_the_story_in_its_order_ends_as_one_would_tell_it(database: Database) -> None:
    state, found = played(database, list(range(10)), 100)
    assert (found.stored, found.refused, found.merged) == (9, 1, 0)
    assert [(lead[0], lead[1]) for lead in state["leads"]] == [("u1", "Night Owl")]
    assert [(point[0], point[1]) for point in state["leads"][0][4]] == [
        ("email", "mei@example.com"), ("phone", "+6591234567")
    ]  # fmt: skip
    assert {credit[0]: credit[2] for credit in state["credits"] if credit[2]} == {
        "conversation": "the ad", "lead": "the ad"
    }  # fmt: skip


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
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
