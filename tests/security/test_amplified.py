"""Small bodies that would fill the database: what is kept grows with what was sent, a few times at most."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from contatto.capture.rules import MOST_MATCHES
from contatto.channels.actions import NewAccount, connect_account, register_app
from contatto.channels.connectors import meta
from contatto.channels.model import ChannelApp, Platform
from contatto.channels.store import CONNECTORS
from contatto.inbox.store.conversations import count_receipts
from contatto.kit.api_types import WEBHOOK_LIMIT
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_contact_points, list_leads
from tests.background import do_all_due
from tests.journeys.running import House, message, running_house

NOW_S = int(time.time())
ACCOUNT = "106540352242922"
PLATFORMS = [Platform.WHATSAPP, Platform.MESSENGER, Platform.INSTAGRAM]
MOST_TIMES = 8
"""So many times the bytes of a body may the deliveries hold that are made of it."""

EVENT_BYTES = 10_000
"""What the first message of a new customer takes, however it comes: person, thread, message, jobs."""


def whatsapp(metadata: dict[str, str] | None = None, field: str = "messages", **value: Any) -> dict[str, Any]:
    shared = {"metadata": metadata or {"phone_number_id": ACCOUNT}}
    changes = [{"field": field, "value": shared | value}]
    return {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": changes}]}


def said(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"ID{number}", "from": f"ID{number}", "timestamp": NOW_S, "type": "image"} | more


def many_messages(count: int, **more: Any) -> list[dict[str, Any]]:
    return [said(number, **more) for number in range(count)]


def contact(name: str, wa_id: str = "ID0") -> dict[str, Any]:
    return {"wa_id": wa_id, "profile": {"name": name}}


def messenger(*events: dict[str, Any], account: str = ACCOUNT, kind: str = "page") -> dict[str, Any]:
    return {"object": kind, "entry": [{"id": account, "time": 1, "messaging": list(events)}]}


def event(sender: str = "7001", **more: Any) -> dict[str, Any]:
    return {"sender": {"id": sender}, "recipient": {"id": ACCOUNT}, "timestamp": NOW_S * 1_000} | more


def mids(count: int) -> dict[str, Any]:
    return {"mids": [f"ID{number}" for number in range(count)]}


LONG = "x" * 30_000
BOMBS: dict[str, tuple[Platform, Callable[[], dict[str, Any]]]] = {
    "shared contacts": (
        Platform.WHATSAPP,
        lambda: whatsapp(
            contacts=[contact("n" * 20, f"ID{n}") for n in range(600)], messages=many_messages(400)
        ),
    ),
    "one long name": (
        Platform.WHATSAPP,
        lambda: whatsapp(contacts=[contact(LONG)], messages=many_messages(390, **{"from": "ID0"})),
    ),
    "metadata": (
        Platform.WHATSAPP,
        lambda: whatsapp({"phone_number_id": ACCOUNT, "junk": LONG}, messages=many_messages(390)),
    ),
    "a long account": (
        Platform.WHATSAPP,
        lambda: whatsapp({"phone_number_id": LONG}, messages=many_messages(500)),
    ),
    "a long field": (Platform.WHATSAPP, lambda: whatsapp(field=LONG, messages=many_messages(500))),
    "tiny messages": (
        Platform.WHATSAPP,
        lambda: whatsapp(messages=[{"id": f"ID{n}", "from": "6", "timestamp": 1} for n in range(1_500)]),
    ),
    "tiny statuses": (
        Platform.WHATSAPP,
        lambda: whatsapp(statuses=[{"id": f"ID{n}", "status": "", "timestamp": 1, "recipient_id": ""}
                                   for n in range(1_000)]),
    ),
    "a mark with more in it": (
        Platform.MESSENGER,
        lambda: messenger(event(delivery=mids(3_000), message={"mid": "m", "text": LONG})),
    ),
    "a mark with a long stranger": (Platform.MESSENGER, lambda: messenger(event(LONG, delivery=mids(3_000)))),
    "a mark with junk": (Platform.INSTAGRAM, lambda: messenger(event(delivery=mids(3_000), junk=LONG),
                                                               kind="instagram")),
    "a long page": (
        Platform.MESSENGER,
        lambda: messenger(*[event(read={"watermark": n}) for n in range(250)], account=LONG),
    ),
    "another object": (Platform.MESSENGER, lambda: messenger(*[event()] * 250, kind=LONG)),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_the_pieces_of_a_body_are_few_and_no_larger_than_a_few_bodies(name: str) -> None:
    platform, make = BOMBS[name]
    body = json.dumps(make(), separators=(",", ":")).encode()
    assert 20_000 < len(body) <= WEBHOOK_LIMIT
    connector = CONNECTORS[platform]
    pieces = connector.split(body)
    assert len(pieces) <= meta.MOST_PIECES
    assert sum(map(len, pieces)) <= MOST_TIMES * len(body)
    for piece in pieces:
        assert connector.split(piece) == (piece,)
        connector.label(piece)
        connector.parse(piece)


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_copy")
    with running_house(tmp_path, database_url=url, worker="separate") as running:

        def connect(tx: Tx) -> None:
            for platform in PLATFORMS:
                account = NewAccount(platform, ACCOUNT, f"Kopi on {platform}", "kopi", "SG")
                connect_account(tx, running.business_id, account)
                register_app(tx, ChannelApp(f"app-{platform}", running.business_id, platform, "secret"))

        running.context.db.write_now(connect)
        yield running


def bytes_of(db: Database) -> int:
    """What the database takes on disk."""

    def look(tx: Tx) -> int:
        if db.engine.dialect.name == "sqlite":
            count, size = (
                tx.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "page_size")
            )
            return int(count) * int(size)
        return int(tx.execute(text("SELECT pg_database_size(current_database())")).scalar_one())

    return db.read_now(look)


def post(house: House, platform: Platform, body: bytes) -> int:
    headers = {"X-Hub-Signature-256": meta.sign_body(body, "secret")}
    return house.client.post(
        f"/webhooks/{platform}/app-{platform}", content=body, headers=headers
    ).status_code


def settle(house: House) -> int:
    """Take in all that was delivered, however long that takes; say how many events are kept."""

    async def work() -> None:
        while await do_all_due(house.context.db, house.context.installation):
            pass

    asyncio.run(work())
    ledger = house.context.db.read_now(lambda tx: count_receipts(tx, house.business_id))
    assert not ledger.waiting
    return ledger.stored


@pytest.mark.parametrize("name", ["shared contacts", "a mark with more in it", "tiny statuses", "metadata"])
def test_a_body_makes_the_database_grow_by_a_few_bodies_at_most(house: House, name: str) -> None:
    platform, make = BOMBS[name]
    db = house.context.db
    settle(house)  # what is done once takes room too, in tables that were empty
    before = bytes_of(db)
    body = json.dumps(make(), separators=(",", ":")).encode()
    assert post(house, platform, body) == 200
    kept = settle(house)
    grown = bytes_of(db) - before
    assert grown <= 4 * len(body) + EVENT_BYTES * kept, f"{len(body)} bytes with {kept} events became {grown}"


def test_a_text_full_of_contact_details_makes_one_lead_of_bounded_size(house: House) -> None:
    db = house.context.db
    text_body = " ".join(f"a{number}@b{number}.co" for number in range(4_000))[:60_000]
    settle(house)
    before = bytes_of(db)
    assert house.webhook("im_receive_msg", message(text_body, "u1", NOW_S * 1_000)).status_code == 200
    settle(house)
    (lead,) = db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))
    points = db.read_now(lambda tx: list_contact_points(tx, house.business_id, {lead.id}))[lead.id]
    assert 0 < len(points) <= MOST_MATCHES
    assert bytes_of(db) - before <= 4 * len(text_body) + EVENT_BYTES * len(points)
