"""Deliveries end alike, table by table, whether they are settled one by one or together, broken ones too."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, select

from contatto.capture.actions import correct_match
from contatto.capture.model import Field
from contatto.inbox.actions import incoming
from contatto.inbox.actions.incoming import settle_receipts
from contatto.inbox.store.conversations import WAITING
from contatto.kit.db.database import Database
from contatto.kit.db.tx import SEALED, FixedClock, Tx, metadata, sealed_place
from contatto.kit.fair_queue import Turns
from contatto.kit.ids import new_id
from contatto.kit.vault import Vault
from contatto.leads.model import Evidence
from contatto.leads.store import intake
from contatto.leads.store.intake import evidence_row
from tests import make
from tests.inbox.incoming import NUMBER, SECOND, deliver, received
from tests.inbox.test_fair import time_enough
from tests.inbox.test_order import OPEN_IDS, story
from tests.make import Shop

CORRECTED: Final = "+6581111111"
"""A number that a member has called no contact."""
OWN: Final = frozenset(
    {"id", "seq", "number", "natural_key", "value_index", "conversion_id", "touch_id", "event_seq"}
)
"""Columns that are each row's own, or follow from the ids of its business."""
OTHERS: Final = frozenset({"measured_ads", "channel_accounts", "capture_switches"})
"""Tables that were filled before, and that no delivery changes."""
AS_A_SET: Final = frozenset({"changed_days"})
"""Tables of marks: a day that is marked twice is counted once."""


def pile(ad: Any) -> list[bytes]:
    """What may be delivered: the story of two persons, and what is rarer or broken."""
    late = make.NOON_MS + 20 * SECOND
    return [
        *story(ad),
        received(NUMBER, "u2", at_ms=late, message_id="p1"),
        received("I am Early Bird", "u2", at_ms=make.NOON_MS - SECOND, message_id="p2"),
        received("+65 8111 1111 is the shop", "u3", at_ms=late + SECOND, message_id="p3"),
        received("mail one@example.com, call +65 9222 3333", "u3", at_ms=late, message_id="p4"),
        received("nothing but words", "u3", at_ms=late - SECOND, message_id="p5"),
        make.webhook("im_receive_msg", "{}"),
        received("this breaks at once", "u1", at_ms=late, message_id="p6"),
        received("broken@example.com breaks the leads", "u2", at_ms=late, message_id="p7"),
        received("this breaks the first time, call +65 9777 8888", "u1", at_ms=late, message_id="p8"),
        make.webhook("im_receive_msg", make.said("Hi", "u9", message_id="p9")).replace(
            b"tt-business-1", b"tt-nobody"
        ),
    ]


PILE: Final = 20


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own code breaks on some messages, before anything is written or after most is; once, or always."""
    receive = incoming.receive_message

    def receive_or_break(threads: Any, account: Any, chatted: Any, receipt: Any) -> Any:
        outcome = receive(threads, account, chatted, receipt)
        if "at once" in chatted.text or ("first time" in chatted.text and not receipt.attempts):
            raise ValueError("broken")
        return outcome

    def evidence_or_break(vault: Vault, item: Evidence) -> dict[str, Any]:
        if "broken" in item.raw:
            raise ValueError("broken")
        return evidence_row(vault, item)

    monkeypatch.setattr(incoming, "receive_message", receive_or_break)
    monkeypatch.setattr(intake, "evidence_row", evidence_or_break)
    monkeypatch.setattr(incoming, "in_time", time_enough)


def settle_all(db: Database, clock: FixedClock, limit: int) -> None:
    """Settle so many at a time until nothing waits; what failed is tried again later."""
    turns, since = Turns(WAITING), clock.moment
    for hours in range(incoming.MOST_TRIES):
        clock.moment = since + timedelta(hours=hours)
        while db.write_now(lambda tx: settle_receipts(tx, limit, turns)):
            pass
    clock.moment = since


def built(db: Database) -> list[tuple[Shop, Any]]:
    """Two businesses with an ad each; both have called a number no contact."""

    def build(tx: Tx) -> tuple[Shop, Any]:
        shop = make.shop(tx, open_id=next(OPEN_IDS))
        correct_match(tx, shop.business_id, Field.PHONE, CORRECTED, "Ann")
        return shop, make.published_ad(tx, shop.business_id, ad_id=new_id())

    return [db.write_now(build) for _ in range(2)]


def outcome_of(
    db: Database, clock: FixedClock, deliveries: Sequence[tuple[int, int]], limit: int
) -> list[dict[str, list[str]]]:
    """All rows of two businesses after these deliveries, settled so many at a time."""
    shops = built(db)
    for which, number in deliveries:
        shop, ad = shops[which]
        deliver(db, shop, pile(ad)[number].replace(b"tt-business-1", shop.tiktok.external_id.encode()))
    settle_all(db, clock, limit)
    return [db.read_now(lambda tx, of=shop, ad=ad: rows_of(tx, of, ad)) for shop, ad in shops]  # type: ignore[misc]


def rows_of(tx: Tx, shop: Shop, ad: Any) -> dict[str, list[str]]:
    """Each table's rows of a business: sealed values opened, ids named by what they stand for, sorted."""
    tables = {
        table.name: [opened(tx, table, dict(row)) for row in found]
        for table in metadata.sorted_tables
        if "business_id" in table.c and table.name not in OTHERS
        for found in [tx.execute(select(table).where(table.c.business_id == shop.business_id)).mappings()]
    }
    names = {shop.business_id: "business", shop.tiktok.id: "account", shop.webchat.id: "chat"}
    names |= {shop.tiktok.external_id: "open id", ad.ad_id: "ad", str(ad.ad_number): "ad number"}
    names |= {ad.ad_group_id: "ad group", ad.campaign_id: "campaign"}
    names |= {row["id"]: f"person {row['external_id']}" for row in tables["persons"]}
    names |= {row["id"]: f"talk {row['external_id']}" for row in tables["conversations"]}
    names |= {row["id"]: f"message {row['body']}" for row in tables["messages"]}
    names |= {row["id"]: f"lead of {names[row['person_id']]}" for row in tables["leads"]}
    names |= {row["id"]: f"point {row['value']} {row['lead_id']}" for row in tables["contact_points"]}
    told: dict[str, list[str]] = {}
    for name, rows in tables.items():
        lines = [json.dumps({key: row[key] for key in row if key not in OWN}, default=str) for row in rows]
        for _ in range(2):  # a name may hold an id itself
            lines = [renamed(line, names) for line in lines]
        told[name] = sorted(set(lines) if name in AS_A_SET else lines)
    return told


def differences(together: list[dict[str, list[str]]], alone: list[dict[str, list[str]]]) -> list[str]:
    """The rows that only one of the ways has, with their table."""
    return [
        f"{sign} {name} {row}"
        for one, other in zip(together, alone, strict=True)
        for name in one
        for sign, some, rest in (("+", one[name], other[name]), ("-", other[name], one[name]))
        for row in (Counter(some) - Counter(rest)).elements()
    ]


def opened(tx: Tx, table: Table, row: dict[str, Any]) -> dict[str, Any]:
    stored = dict(row)
    for column in table.columns:
        value = row[column.name]
        if column.info.get(SEALED) and value is not None:
            row[column.name] = tx.vault.open(bytes(value), *sealed_place(column, stored))
        elif isinstance(value, datetime):
            row[column.name] = value.isoformat()
    return row


def renamed(line: str, names: Mapping[str, str]) -> str:
    for key, name in names.items():
        line = line.replace(key, name)
    return line


DELIVERIES: Final = st.lists(st.tuples(st.integers(0, 1), st.integers(0, PILE - 1)), min_size=1, max_size=24)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@settings(
    max_examples=12,
    deadline=None,
    phases=(
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ),  # to shrink takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(deliveries=DELIVERIES, limit=st.integers(2, 50))
@pytest.mark.usefixtures("breaking")
def test_deliveries_in_any_order_end_alike_one_by_one_and_in_any_batches(
    database: Database, clock: FixedClock, deliveries: list[tuple[int, int]], limit: int
) -> None:
    together, alone = (outcome_of(database, clock, deliveries, some) for some in (limit, 1))
    assert differences(together, alone) == []


@pytest.mark.usefixtures("breaking")
def test_the_whole_pile_ends_alike_one_by_one_and_in_one_batch(database: Database, clock: FixedClock) -> None:
    deliveries = [(which, number) for number in range(PILE) for which in (0, 1, 0)]
    together = outcome_of(database, clock, deliveries, 200)
    assert differences(together, outcome_of(database, clock, deliveries, 1)) == []
    assert {len(rows["leads"]) for rows in together} == {3}
    states = [json.loads(row)["state"] for row in together[0]["receipts"]]
    assert {state: states.count(state) for state in states} == {"stored": 15, "refused": 5}
