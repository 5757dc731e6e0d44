"""Leads that became one are one record in the CRM too, and records that became one there stay one."""

import json
from typing import Any

import msgspec
import pytest

from contatto.capture.model import Field
from contatto.crm.actions.checks import try_lead
from contatto.crm.actions.deliveries import schedule_deliveries
from contatto.crm.connectors.hubspot import HubSpot
from contatto.crm.model import (
    CrmRecord,
    FoundRecords,
    Moved,
    NoRecord,
    Payload,
    Target,
    TrialResult,
)
from contatto.crm.rules.deliveries import begin_course, next_trial_turn, stop_before_write
from contatto.crm.store.deliveries import ledger
from contatto.crm.store.events import find_trial, list_erasures
from contatto.integrations.model import DeliveryState, ErasureState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import HttpOutcome, HttpRequest, SendFailure
from contatto.leads.actions.annotations import erase_leads, merge_leads
from contatto.leads.model import Actor, Lead, Picks
from tests import make
from tests.crm.engine import counts, later, link, record, run_all, with_memory
from tests.crm.memory import MemoryCrm


def two_in_one(tx: Tx) -> tuple[Tx, MemoryCrm, Target, Lead, Lead]:
    """A CRM with two leads, where people made the second one's record part of the first one's."""
    business_id = make.business(tx).id
    crm, target = MemoryCrm(), link(tx, business_id)
    run_all(tx, crm.handle)
    ada = make.lead(tx, business_id, make.contact(), person_id="p1")
    bo = make.lead(tx, business_id, make.contact("bo@example.com", Field.EMAIL), person_id="p2")
    run_all(tx, crm.handle)
    first, second = record(tx, target, ada.id).record_id, record(tx, target, bo.id).record_id
    crm.records[second]["moved_to"] = first
    return tx, crm, target, ada, bo


def three_leads(tx: Tx) -> tuple[MemoryCrm, Target, dict[str, Lead], dict[str, str]]:
    """A CRM with a record of each of three leads, whose id there comes last."""
    business_id = make.business(tx).id
    crm, target = MemoryCrm(), link(tx, business_id)
    run_all(tx, crm.handle)
    people = {
        name: make.lead(tx, business_id, make.contact(f"{name}@example.com", Field.EMAIL), person_id=name)
        for name in ("ada", "bo", "cy")
    }
    run_all(tx, crm.handle)
    return crm, target, people, {name: record(tx, target, lead.id).record_id for name, lead in people.items()}


def merge_here(tx: Tx, kept: Lead, *gone: Lead) -> None:
    actor = Actor(kept.business_id, "m1", "Ana")
    for each in gone:
        merge_leads(tx, actor, kept.id, each.id, Picks(), "")


def test_a_record_that_is_the_one_of_both_is_not_merged_with_itself(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx = with_memory(tx)
        business_id = make.business(tx).id
        crm, target = MemoryCrm(), link(tx, business_id)
        run_all(tx, crm.handle)
        kept = make.lead(tx, business_id, make.contact(), person_id="p1")
        run_all(tx, crm.handle)
        gone = make.lead(tx, business_id, make.contact("ada@example.com", Field.EMAIL), person_id="p2")
        run_all(tx, crm.handle)
        del crm.records[record(tx, target, kept.id).record_id]
        actor = Actor(business_id, "m1", "Ana")
        merge_leads(tx, actor, kept.id, gone.id, Picks(), "")
        run_all(tx, crm.handle)
        assert counts(tx, target) == {DeliveryState.VERIFIED: 1}
        (left,) = crm.live()
        assert (left["external_id"], left["id"]) == (kept.id, record(tx, target, gone.id).record_id)

    database.write_now(work)


def test_what_was_made_of_a_lead_before_it_was_merged_away_leaves_no_delivery_behind(
    database: Database,
) -> None:
    def work(tx: Tx) -> None:
        tx = with_memory(tx)
        business_id = make.business(tx).id
        crm, target = MemoryCrm(), link(tx, business_id)
        run_all(tx, crm.handle)
        kept = make.lead(tx, business_id, make.contact(), person_id="p1")
        run_all(tx, crm.handle)
        gone = make.lead(tx, business_id, make.contact("ada@example.com", Field.EMAIL), person_id="p2")

        def lose_what_was_written(request: HttpRequest) -> HttpOutcome:
            answer = crm.handle(request)
            is_write = json.loads(request.body)["do"] == "write"
            return SendFailure.LOST if is_write else answer

        run_all(tx, lose_what_was_written)
        assert len(crm.live()) == 2
        actor = Actor(business_id, "m1", "Ana")
        merge_leads(tx, actor, kept.id, gone.id, Picks(), "")
        for hours in (1, 2, 3):
            run_all(later(tx, hours=hours), crm.handle)
        (left,) = crm.live()
        assert (left["external_id"], counts(tx, target)) == (kept.id, {DeliveryState.VERIFIED: 1})
        states = {each.state for each in ledger.list_entries(tx, business_id, target.id)}
        assert states == {DeliveryState.VERIFIED}

    database.write_now(work)


def test_of_two_leads_that_became_one_record_there_each_arrives_and_none_is_written_over(
    database: Database,
) -> None:
    def work(tx: Tx) -> None:
        tx, crm, target, ada, bo = two_in_one(with_memory(tx))
        business_id = target.business_id
        first, second = record(tx, target, ada.id).record_id, record(tx, target, bo.id).record_id
        phone = crm.records[first]["Phone"]
        for lead in (bo, ada, bo):
            schedule_deliveries(tx, target, [lead.id])
            run_all(tx, crm.handle)
        (left,) = crm.live()
        assert (left["external_id"], left["Phone"], left["Email"]) == (ada.id, phone, "bo@example.com")
        assert counts(tx, target) == {DeliveryState.VERIFIED: 1, DeliveryState.SENT: 1}
        assert record(tx, target, bo.id).record_id == second, "it leads there as long as the CRM says so"

        erase_leads(tx, business_id, [bo], "Ana")
        run_all(later(tx, minutes=5), crm.handle)
        (erasure,) = list_erasures(tx, business_id, target.id)
        assert (erasure.state, erasure.reason) == (ErasureState.DUE, "shared_record")
        assert crm.records[first]["external_id"] == ada.id, "the other lead is nobody's to erase"
        erase_leads(tx, business_id, [ada], "Ana")
        for hours in (1, 2):
            run_all(later(tx, hours=hours), crm.handle)
        assert crm.live() == []
        assert {each.state for each in list_erasures(tx, business_id, target.id)} == {ErasureState.FINISHED}

    database.write_now(work)


def test_a_lead_that_shared_a_record_which_is_gone_gets_one_of_its_own(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, crm, target, ada, bo = two_in_one(with_memory(tx))
        business_id = target.business_id
        schedule_deliveries(tx, target, [bo.id])
        run_all(tx, crm.handle)
        erase_leads(tx, business_id, [ada], "Ana")
        for days in (1, 2, 3):
            run_all(later(tx, days=days), crm.handle)
        (left,) = crm.live()
        assert (left["external_id"], counts(tx, target)) == (bo.id, {DeliveryState.VERIFIED: 1})

    database.write_now(work)


def test_a_lead_takes_the_record_of_one_that_went_into_a_lead_that_went_into_it(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx = with_memory(tx)
        crm, _, people, ids = three_leads(tx)
        ada, bo, cy = people.values()
        crm.records[ids["bo"]]["moved_to"] = ids["ada"]
        merge_here(tx, bo, ada)
        merge_here(tx, cy, bo)
        run_all(tx, crm.handle)
        assert cy.id in {each["external_id"] for each in crm.live()}
        assert ada.id not in {each["external_id"] for each in crm.live()}

    database.write_now(work)


def test_a_record_of_its_own_is_better_than_a_part_in_another_leads(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx = with_memory(tx)
        crm, target, people, ids = three_leads(tx)
        crm.records[ids["bo"]]["moved_to"] = ids["ada"]
        merge_here(tx, people["bo"], people["cy"])
        run_all(tx, crm.handle)
        carried = {each["id"]: each["external_id"] for each in crm.live()}
        assert carried == {ids["ada"]: people["ada"].id, ids["cy"]: people["bo"].id}
        assert counts(tx, target) == {DeliveryState.VERIFIED: 2}

    database.write_now(work)


def test_what_leads_to_another_leads_record_is_kept_where_none_is_the_leads_own(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx = with_memory(tx)
        crm, target, people, ids = three_leads(tx)
        crm.records[ids["bo"]]["moved_to"] = ids["ada"]
        del crm.records[ids["cy"]]
        merge_here(tx, people["bo"], people["cy"])
        run_all(tx, crm.handle)
        assert [each["external_id"] for each in crm.live()] == [people["ada"].id]
        assert record(tx, target, people["bo"].id).record_id == ids["bo"]
        assert counts(tx, target) == {DeliveryState.VERIFIED: 1, DeliveryState.SENT: 1}

    database.write_now(work)


@pytest.mark.parametrize("became", ["a part of another lead's", "a stranger's"])
def test_only_what_is_still_the_record_of_a_lead_that_was_merged_here_is_merged_there(
    database: Database, became: str
) -> None:
    def work(tx: Tx) -> None:
        tx = with_memory(tx)
        crm, target, people, ids = three_leads(tx)
        if became == "a stranger's":  # a restored CRM gives its ids anew
            crm.records[ids["cy"]] |= {"external_id": "", "Email": "eve@example.com"}
        else:
            crm.records[ids["cy"]]["moved_to"] = ids["ada"]
        before = dict(crm.records[ids["cy"]])
        merge_here(tx, people["bo"], people["cy"])
        run_all(tx, crm.handle)
        assert crm.records[ids["cy"]] == before
        assert counts(tx, target) == {DeliveryState.VERIFIED: 2}

    database.write_now(work)


def test_a_lead_that_many_were_merged_into_arrives_in_one_try(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx = with_memory(tx)
        crm, target, people, _ = three_leads(tx)
        many = [
            make.lead(
                tx, target.business_id, make.contact(f"x{n}@example.com", Field.EMAIL), person_id=f"x{n}"
            )
            for n in range(9)
        ]
        run_all(tx, crm.handle)
        merge_here(tx, people["ada"], *many)
        for _ in many:  # each change is a delivery, of which the last goes
            run_all(tx, crm.handle)
        assert {each["external_id"] for each in crm.live()} == {lead.id for lead in people.values()}
        assert counts(tx, target) == {DeliveryState.VERIFIED: 3}

    database.write_now(work)


def test_a_trial_finds_the_record_that_the_delivery_would_write_to(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx = with_memory(tx)
        crm, target, people, ids = three_leads(tx)
        crm.records[ids["bo"]]["moved_to"] = ids["ada"]
        merge_here(tx, people["bo"], people["cy"])
        assert tried(tx, crm, target, people["bo"]).record_id == ids["cy"]

    database.write_now(work)


def test_a_trial_that_is_asked_for_during_another_tells_of_its_own_lead(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx = with_memory(tx)
        crm, target, people, ids = three_leads(tx)
        asked: list[HttpRequest] = []

        def ask_for_another(request: HttpRequest) -> HttpOutcome:
            if json.loads(request.body)["do"] == "read" and not asked:
                asked.append(request)
                try_lead(later(tx, seconds=1), target, people["bo"].id)
            return crm.handle(request)

        try_lead(tx, target, people["ada"].id)
        run_all(tx, ask_for_another)
        assert asked
        assert tried(tx, crm, target).record_id == ids["bo"]

    database.write_now(work)


def tried(tx: Tx, crm: MemoryCrm, target: Target, lead: Lead | None = None) -> TrialResult:
    """What came of a trial, that of a lead or the one that was asked for last."""
    if lead is not None:
        try_lead(tx, target, lead.id)
    run_all(later(tx, seconds=2), crm.handle)
    trial = find_trial(tx, target.business_id, target.id)
    assert trial is not None
    return msgspec.json.decode(trial.found, type=TrialResult)


def test_a_trial_says_that_nothing_would_be_written_to_another_leads_record() -> None:
    connector = HubSpot()
    payload = Payload("bo", 2, {"email": "bo@example.com"}, "", "", "", make.NOON.isoformat())
    ada = FoundRecords((CrmRecord("9", "ada", {"email": "ada@example.com"}),))
    trial: Any = stop_before_write(begin_course(connector.traits, payload, ("7",)))
    for reply in (NoRecord(), Moved("9"), ada):
        trial = next_trial_turn(connector, trial, reply)
    assert trial == TrialResult("7", (), "")
