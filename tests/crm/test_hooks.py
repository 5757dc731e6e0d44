"""A webhook end to end: a lead changes, the worker's machine sends, and the library verifies what came."""

import asyncio

import standardwebhooks

from contatto.crm.actions.deliveries import release_deliveries
from contatto.crm.actions.targets import NewTarget, link_crm, reconnect_target
from contatto.crm.model import TargetState
from contatto.crm.store.deliveries import ledger, list_targets
from contatto.integrations.model import DeliveryState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.client import Client
from contatto.kit.outbound.machine import OutboundMachine
from tests import make
from tests.crm.engine import KINDS
from tests.outbound import finish
from tests.subscriptions.receiver import Receiver, running_receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def send_due(database: Database, receiver: Receiver) -> None:
    """Let the machine send what is due, over real sockets."""

    async def send() -> None:
        client = Client((receiver.host,))
        machine = OutboundMachine(database, client, KINDS)
        await machine.send_due()
        await finish(machine)
        await client.close()

    asyncio.run(send())


def linked(database: Database, receiver: Receiver) -> str:
    def work(tx: Tx) -> str:
        business_id = make.business(tx).id
        new = NewTarget("webhook", "Hook", receiver.url, {"secret": SECRET})
        link_crm(tx, business_id, new, (receiver.host,))
        make.lead(tx, business_id, make.contact("+6591111111"))
        return business_id

    return database.write_now(work)


def only(tx: Tx, business_id: str) -> tuple[TargetState, list[DeliveryState]]:
    (target,) = list_targets(tx, business_id)
    found = ledger.list_entries(tx, business_id, target.id)
    return target.state, [each.state for each in found]


def test_a_lead_is_sent_signed_and_is_sent_but_never_called_verified(database: Database) -> None:
    with running_receiver() as receiver:
        business_id = linked(database, receiver)
        send_due(database, receiver)
        (received,) = receiver.received
        event = standardwebhooks.Webhook(SECRET)
        # The clock of the test stands still at another day: the library would call the event too old.
        assert (
            event.sign(received.headers["webhook-id"], database.clock.now(), received.body.decode())
            in (received.headers["webhook-signature"])
        )
        assert received.content["data"]["fields"]["phone"] == "+6591111111"
        state = database.read_now(lambda tx: only(tx, business_id))
        assert state == (TargetState.ACTIVE, [DeliveryState.SENT])


def test_410_disconnects_and_leads_wait_until_it_is_connected_again(database: Database) -> None:
    with running_receiver() as receiver:
        receiver.statuses = [410]
        business_id = linked(database, receiver)
        send_due(database, receiver)
        state = database.read_now(lambda tx: only(tx, business_id))
        assert state == (TargetState.DISCONNECTED, [DeliveryState.DUE])

        def reconnect(tx: Tx) -> None:
            (target,) = list_targets(tx, business_id)
            assert target.reason == "410"
            reconnect_target(tx, target, "", {}, (receiver.host,))
            assert release_deliveries(tx) == 1

        database.write_now(reconnect)
        send_due(database, receiver)
        state = database.read_now(lambda tx: only(tx, business_id))
        assert state == (TargetState.ACTIVE, [DeliveryState.SENT])
        ids = {each.headers["webhook-id"] for each in receiver.received}
        assert len(ids) == 1, "the same event again has the same id"
