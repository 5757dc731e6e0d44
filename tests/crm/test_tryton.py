"""A real Tryton: leads reach it, it is killed and started again, and its records equal our ledger."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from contatto.capture.model import Field
from contatto.crm.actions.deliveries import release_deliveries, sweep_leads
from contatto.crm.actions.targets import NewTarget, link_crm, map_target, reconnect_target, resync_target
from contatto.crm.connectors.tryton import MARK, Tryton
from contatto.crm.model import (
    CrmLink,
    FindBy,
    FindRecord,
    FollowUp,
    FoundRecords,
    ListRecords,
    MappedField,
    RecordsListed,
    RenewSecrets,
    SecretsRenewed,
    Target,
    TargetState,
    WriteRecord,
    Written,
)
from contatto.crm.store.deliveries import count_states, find_target, ledger, list_targets, record_secrets
from contatto.crm.store.events import list_erasures
from contatto.integrations.model import DeliveryState, ErasureState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.outbound.client import Client
from contatto.kit.outbound.machine import OutboundMachine
from contatto.kit.outbound.model import HttpAnswer
from contatto.leads.actions.annotations import erase_leads, merge_leads
from contatto.leads.model import Actor, Picks
from contatto.leads.store.records import find_lead
from contatto.simulator.crms.failure_kit import ConnectorDriver
from tests import make
from tests.crm.engine import KINDS
from tests.crm.trytond import PASSWORD, Trytond, started
from tests.outbound import finish

VERIFIED = DeliveryState.VERIFIED
LEADS = int(os.environ.get("CONTATTO_TRYTON_LEADS", "0")) or 60
"""The variable asks for another number, such as the 10,000 of a release."""


@pytest.fixture
def tryton(tmp_path: Path) -> Iterator[Trytond]:
    folder = tmp_path / "tryton"
    folder.mkdir()
    server = started(folder)
    yield server
    server.stop()


@dataclass
class Linked:
    """A business with Tryton linked."""

    db: Database
    clock: FixedClock
    tryton: Trytond
    business_id: str

    def go(self) -> None:
        """Let the machine send what is due, over real sockets."""

        async def send() -> None:
            client = Client((self.tryton.host,))
            machine = OutboundMachine(self.db, client, KINDS)
            for _ in range(3):
                self.clock.advance(seconds=2)
                await self.db.write(lambda tx: sweep_leads(tx) + release_deliveries(tx))
                await machine.send_due()
                await finish(machine)
            await client.close()

        asyncio.run(send())

    def later(self, **by: float) -> None:
        self.clock.advance(**by)
        self.go()

    def again(self) -> None:
        """Send all leads once more."""
        self.db.write_now(lambda tx: resync_target(tx, self.target(tx)))
        self.go()

    def target(self, tx: Tx) -> Target:
        (found,) = list_targets(tx, self.business_id)
        return found

    def counts(self) -> dict[DeliveryState, int]:
        return self.db.read_now(lambda tx: count_states(tx, self.business_id).get(self.target(tx).id, {}))

    def reasons(self, tx: Tx) -> set[str]:
        """Why deliveries are not there."""
        listed = ledger.list_entries(tx, self.business_id, self.target(tx).id)
        return {each.reason for each in listed} - {""}

    def lead(self, number: int, *more: Any) -> str:
        email = make.contact(f"p{number}@example.com", Field.EMAIL)
        signal = {"person_id": f"p{number}", "profile_name": f"Person {number}"}
        return self.db.write_now(lambda tx: make.lead(tx, self.business_id, email, *more, **signal).id)


@pytest.fixture
def linked(database: Database, clock: FixedClock, tryton: Trytond) -> Linked:
    def work(tx: Tx) -> str:
        business_id = make.business(tx).id
        given = {"database": "crm", "user": "admin", "password": PASSWORD}
        new = NewTarget("tryton", "", f"http://{tryton.host}", given)
        target = link_crm(tx, business_id, new, (tryton.host,))
        rows = (*target.mapping, MappedField("labels", "nosuch"))
        map_target(tx, target, rows, {})
        return business_id

    found = Linked(database, clock, tryton, database.write_now(work))
    found.go()
    return found


def speaking(tryton: Trytond) -> ConnectorDriver:
    """Who asks Tryton as a person's own script would."""
    settings = {"database": "crm", "user": "admin"}
    link = CrmLink(f"http://{tryton.host}", settings, {"password": PASSWORD}, make.NOON)
    speaker = ConnectorDriver(Tryton(), link)
    renewed = speaker.do(RenewSecrets())
    assert isinstance(renewed, SecretsRenewed)
    speaker.link = replace(link, secrets=renewed.secrets)
    return speaker


def held(tryton: Trytond) -> list[str]:
    """Our ids in its parties, as often as they stand there."""
    speaker, after, found = speaking(tryton), "", []
    while True:
        page = speaker.do(ListRecords(after))
        assert isinstance(page, RecordsListed)
        found += [lead_id for _, lead_id in page.records]
        if not page.after:
            speaker.client.close()
            return found
        after = page.after


def parties(tryton: Trytond) -> list[dict[str, Any]]:
    """What Tryton holds of each of them."""
    speaker = speaking(tryton)
    replies = [speaker.do(FindRecord(FindBy.EXTERNAL_ID, each)) for each in sorted(set(held(tryton)))]
    speaker.client.close()
    records = [record for reply in replies if isinstance(reply, FoundRecords) for record in reply.records]
    return [{"id": each.id, "external_id": each.external_id, **each.values} for each in records]


def test_a_lead_is_made_once_changed_merged_and_erased_there_and_a_kill_loses_none(linked: Linked) -> None:
    first = linked.lead(1, make.contact("+6591234567"))
    linked.go()
    linked.again()
    assert linked.counts() == {VERIFIED: 1}
    (party,) = parties(linked.tryton)
    assert (party["external_id"], party["name"], party["email"]) == (first, "Person 1", "p1@example.com")
    linked.lead(1, make.contact("+6591111111"))
    second = linked.lead(2)
    linked.tryton.stop(signal.SIGKILL)
    linked.go()
    assert linked.counts() == {DeliveryState.DUE: 2}
    linked.tryton.start()
    linked.later(hours=7)
    assert linked.counts() == {VERIFIED: 2}
    assert sorted(held(linked.tryton)) == sorted({first, second}), "as the ledger has it"
    assert sorted(len(each["phone"].split(", ")) for each in parties(linked.tryton) if "phone" in each) == [2]
    actor = Actor(linked.business_id, "m1", "Ana")
    linked.db.write_now(lambda tx: merge_leads(tx, actor, first, second, Picks(), ""))
    linked.go()
    assert linked.counts() == {VERIFIED: 1}
    (party,) = parties(linked.tryton)
    assert {"p1@example.com", "p2@example.com"} <= set(party["email"].split(", "))

    def erase(tx: Tx) -> None:
        lead = find_lead(tx, linked.business_id, first)
        assert lead is not None
        erase_leads(tx, linked.business_id, [lead], "Ana")

    linked.db.write_now(erase)
    linked.later(minutes=3)
    assert parties(linked.tryton) == []
    linked.later(hours=1)  # the lead that was merged away is looked for once more

    def states(tx: Tx) -> set[ErasureState]:
        return {each.state for each in list_erasures(tx, linked.business_id, linked.target(tx).id)}

    assert linked.db.read_now(states) == {ErasureState.FINISHED}


async def send_until(linked: Linked, verified: int, *, kills: bool) -> None:
    """Let the machine send until so many are verified; then Tryton is killed while more are on the way."""
    client = Client((linked.tryton.host,))
    machine = OutboundMachine(linked.db, client, KINDS)
    while linked.counts().get(VERIFIED, 0) < verified:
        linked.clock.advance(seconds=0.1)
        await linked.db.write(lambda tx: sweep_leads(tx) + release_deliveries(tx))
        await machine.send_due()
        await asyncio.sleep(0.05)
    if kills:
        linked.tryton.stop(signal.SIGKILL)
    await finish(machine)
    await client.close()


@pytest.mark.slow
def test_tryton_is_killed_three_times_and_its_records_equal_the_ledger(linked: Linked) -> None:
    made = {linked.lead(number) for number in range(LEADS)}
    for share in (1, 2, 3):
        asyncio.run(send_until(linked, share * LEADS // 4, kills=True))
        made.add(linked.lead(LEADS + share))
        linked.later(minutes=10)  # it is down
        assert linked.counts().get(VERIFIED, 0) < len(made)
        linked.tryton.start()
        linked.clock.advance(hours=7)
    asyncio.run(send_until(linked, LEADS, kills=False))
    for _ in range(4):
        linked.later(hours=7)
    assert linked.db.read_now(linked.reasons) == set()
    assert linked.counts() == {VERIFIED: len(made)}
    assert sorted(held(linked.tryton)) == sorted(made), "each lead is there once"


@pytest.mark.slow
def test_what_tryton_describes_is_held_against_the_mapping(linked: Linked) -> None:
    def look(tx: Tx) -> tuple[set[str], list[str]]:
        (target,) = list_targets(tx, linked.business_id)
        found = find_target(tx, linked.business_id, target.id)
        assert found is not None
        assert found.state is TargetState.ACTIVE
        return {each.name for each in found.described}, [each.field for each in found.faults]

    names, faults = linked.db.read_now(look)
    assert {"name", "email", "phone", "mobile"} <= names
    assert faults == ["nosuch"]


@pytest.mark.slow
def test_a_wrong_password_disconnects_and_the_right_one_brings_what_waited(linked: Linked) -> None:
    def forget_session(tx: Tx) -> None:
        (target,) = list_targets(tx, linked.business_id)
        record_secrets(tx, target, {"password": "wrong"})

    linked.db.write_now(forget_session)
    linked.lead(1)
    linked.go()
    (state,) = linked.db.read_now(lambda tx: [each.state for each in list_targets(tx, linked.business_id)])
    assert state is TargetState.DISCONNECTED

    def reconnect(tx: Tx) -> None:
        (target,) = list_targets(tx, linked.business_id)
        given = {"database": "crm", "user": "admin", "password": PASSWORD}
        reconnect_target(tx, target, "", given, (linked.tryton.host,))

    linked.db.write_now(reconnect)
    linked.go()
    assert linked.counts() == {VERIFIED: 1}
    assert MARK == "contatto:"


def test_a_new_party_costs_no_look_for_a_note_that_cannot_be_there() -> None:
    connector, link = (
        Tryton(),
        CrmLink("http://crm.example.com", {"database": "crm"}, {"session": "s"}, make.NOON),
    )
    new = WriteRecord(
        None, "0195e2a7-0000-7000-8000-000000000001", 1, {"name": "Ada"}, "Budget: 100", make.NOON
    )
    reply = connector.read(link, new, HttpAnswer(200, {}, b'{"result": [7]}'), "")
    assert isinstance(reply, FollowUp)
    assert json.loads(reply.request.body)["method"] == "model.ir.note.create"
    assert connector.read(link, new, HttpAnswer(200, {}, b'{"result": [1]}'), reply.memory) == Written("7")
