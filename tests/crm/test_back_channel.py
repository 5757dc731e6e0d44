"""What people do in the CRM comes back once: it sets our status, and what we wrote is no news."""

import json

from contatto.crm.actions.targets import load_ledger
from contatto.crm.model import Target
from contatto.crm.store.deliveries import ledger, record_target
from contatto.integrations.model import Alarm, DeliveryState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import HttpAnswer, HttpOutcome, HttpRequest
from contatto.leads.actions.records import change_lead_status
from contatto.leads.model import HistoryKind, Lead, LeadStatus
from contatto.leads.store.records import find_lead, list_history
from tests import make
from tests.crm.begun import begun, only
from tests.crm.engine import counts, later, record, run_all
from tests.crm.memory import MemoryCrm


def synced(tx: Tx) -> tuple[Tx, Target, Lead, MemoryCrm]:
    tx, target, lead, crm = begun(tx)
    run_all(tx, crm.handle)
    run_all(later(tx, minutes=2), crm.handle)
    return later(tx, minutes=5), target, lead, crm


def status(tx: Tx, lead: Lead) -> LeadStatus:
    found = find_lead(tx, lead.business_id, lead.id)
    assert found is not None
    return found.status


def told(tx: Tx, lead: Lead) -> list[tuple[str, str]]:
    found = list_history(tx, lead.business_id, lead.id)
    return [(each.detail, each.actor) for each in found if each.what is HistoryKind.CRM_EVENT]


def test_what_we_wrote_is_no_news(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = synced(tx)
        assert told(tx, lead) == []
        change_lead_status(tx, lead.business_id, lead.id, LeadStatus.RAW, LeadStatus.CONTACTED, "Ana")
        run_all(tx, crm.handle)
        run_all(later(tx, minutes=5), crm.handle)
        assert told(tx, lead) == []
        assert len(crm.writes) == 2
        assert counts(tx, target) == {DeliveryState.VERIFIED: 1}

    database.write_now(work)


def test_a_poll_that_waits_for_a_new_token_goes_on_where_it_ended(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, crm = synced(tx)
        cursors: list[str] = []

        def note(request: HttpRequest) -> HttpOutcome:
            body = json.loads(request.body)
            if body["do"] == "changes":
                cursors.append(body["after"])
            return crm.handle(request)

        crm.token = "2"
        record_target(tx, target, renewing_until=later(tx, minutes=1).now)  # another request renews it
        run_all(tx, note)
        run_all(later(tx, minutes=2), note)
        assert cursors
        assert "" not in cursors

    database.write_now(work)


def test_a_status_that_somebody_sets_there_is_ours_too_and_goes_round_no_more(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = synced(tx)
        only(crm).update(State="Won", By="Bea")
        crm.touch(only(crm))
        run_all(tx, crm.handle)
        assert status(tx, lead) is LeadStatus.CONVERTED
        assert told(tx, lead) == [("status: Won", "Bea (Memory)")]
        assert record(tx, target, lead.id).told_by == "Bea"
        writes = len(crm.writes)
        for minutes in (5, 10, 15):
            run_all(later(tx, minutes=minutes), crm.handle)
        assert len(crm.writes) <= writes + 1
        assert only(crm)["State"] == "Won"
        assert len(told(tx, lead)) == 1

    database.write_now(work)


def test_owner_and_value_are_shown_and_pages_are_read_to_their_end(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = synced(tx)
        for number in range(5):
            make.lead(tx, target.business_id, make.contact(f"+659123450{number}"), person_id=f"p {number}")
        run_all(tx, crm.handle)
        for each in crm.live():
            each |= {"Owner": "bea@example.com", "Value": "120.50 EUR"}
            crm.touch(each)
        run_all(later(tx, minutes=5), crm.handle)
        assert dict(told(tx, lead)) == {"owner: bea@example.com": "Memory", "value: 120.50 EUR": "Memory"}
        assert record(tx, target, lead.id).value == "120.50 EUR"
        assert only_owners(tx, target) == {"bea@example.com"}

    database.write_now(work)


def only_owners(tx: Tx, target: Target) -> set[str]:
    found = ledger.list_entries(tx, target.business_id, target.id)
    return {record(tx, target, each.lead_id).owner for each in found}


def test_a_cursor_that_stands_still_ends_the_poll(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, _, lead, _ = synced(tx)
        stuck = b'{"records": [], "is_more": true}'
        run_all(later(tx, minutes=5), lambda _: HttpAnswer(200, {}, stuck))
        assert told(tx, lead) == []

    database.write_now(work)


def test_the_ledger_adds_up_and_alarms_when_none_arrives(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, crm = synced(tx)
        (before,) = load_ledger(tx, target.business_id).targets
        assert (
            before.counts.total,
            before.counts.verified,
            before.counts.adds_up,
            before.alarms,
        ) == (1, 1, True, ())
        make.lead(tx, target.business_id, make.contact("+6591111111"), person_id="p2")
        late = later(tx, minutes=6)
        run_all(late, lambda _: HttpAnswer(503, {}, b""))
        (after,) = load_ledger(late, target.business_id).targets
        stood = after.counts
        assert (stood.total, stood.due, stood.adds_up, after.alarms) == (
            2,
            1,
            True,
            (Alarm.NONE_ARRIVES,),
        )
        run_all(later(tx, hours=8), crm.handle)
        (healed,) = load_ledger(later(tx, hours=8), target.business_id).targets
        assert (healed.counts.verified, healed.counts.adds_up, healed.alarms) == (2, True, ())

    database.write_now(work)
