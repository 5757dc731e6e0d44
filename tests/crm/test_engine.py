"""A lead reaches its CRM once, is read back, and whatever happens there on the way is healed."""

from typing import Any

import pytest
from sqlalchemy import select

from contatto.crm.actions.deliveries import release_deliveries, schedule_deliveries
from contatto.crm.actions.targets import (
    edit_dead,
    map_target,
    pause_target,
    reconnect_target,
    remove_target,
    resend_dead,
    resume_target,
)
from contatto.crm.model import MappedField, TargetState, Weakness
from contatto.crm.store.deliveries import crm_targets, ledger
from contatto.integrations.model import DeliveryState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import HttpAnswer, HttpOutcome, HttpRequest
from contatto.leads.actions.annotations import (
    change_contact_point,
    merge_leads,
    undo_merge,
)
from contatto.leads.actions.records import change_lead_status, delete_lead
from contatto.leads.model import Actor, Lead, LeadStatus, Picks
from contatto.leads.store.listing import list_contact_points
from contatto.leads.store.records import find_lead
from tests import make
from tests.crm.begun import EMAIL, PHONE, Faulty, begun, only
from tests.crm.engine import (
    MAPPING,
    WORDS,
    claim,
    counts,
    fresh,
    later,
    link,
    record,
    run_all,
    settle,
    with_memory,
)
from tests.crm.memory import MemoryCrm, Records

VERIFIED = DeliveryState.VERIFIED


def test_a_new_lead_is_due_at_once_and_verified_by_reading_it_back(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        assert counts(tx, target) == {DeliveryState.DUE: 1}
        run_all(tx, crm.handle)
        assert counts(tx, target) == {VERIFIED: 1}
        found = only(crm)
        assert (found["external_id"], found["Email"], found["Phone"]) == (lead.id, EMAIL.value, PHONE.value)
        assert found["State"] == "New"
        assert record(tx, target, lead.id).record_id == found["id"]
        assert fresh(tx, target).verified_at == tx.now

    database.write_now(work)


def test_the_same_again_makes_no_second_record_and_a_change_changes_the_one(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        run_all(tx, crm.handle)
        make.lead(tx, target.business_id, EMAIL)
        assert counts(tx, target) == {VERIFIED: 1}, "the same detail again is no change"
        change_lead_status(tx, target.business_id, lead.id, LeadStatus.RAW, LeadStatus.CONVERTED, "Ana")
        run_all(tx, crm.handle)
        assert only(crm)["State"] == "Won"
        assert (record(tx, target, lead.id).state, record(tx, target, lead.id).revision) == (VERIFIED, 2)

    database.write_now(work)


@pytest.mark.parametrize("operation", ["find", "write", "read"])
@pytest.mark.parametrize(
    "fate", ["lost after", "lost before", HttpAnswer(500, {}, b""), HttpAnswer(200, {}, b"<p>")]
)
def test_whatever_answer_is_missing_there_is_one_record_in_the_end(
    database: Database, operation: str, fate: Any
) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        faulty = Faulty(crm, **{operation: [fate, fate]})
        run_all(tx, faulty)
        assert counts(tx, target) in ({DeliveryState.DUE: 1}, {DeliveryState.SENT: 1})
        run_all(later(tx, hours=1), faulty)
        run_all(later(tx, hours=2), faulty)
        assert counts(tx, target) == {VERIFIED: 1}
        assert only(crm)["external_id"] == lead.id

    database.write_now(work)


def test_an_expired_token_is_renewed_once_for_all_that_wait(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, crm = begun(tx)
        for number in range(5):
            make.lead(
                tx, target.business_id, make.contact(f"+659123456{number}"), person_id=f"other {number}"
            )
        run_all(tx, crm.handle)
        before, crm.token = crm.renewals, "2"
        for each in ledger.list_entries(tx, target.business_id, target.id):
            schedule_deliveries(tx, target, [each.lead_id])
        for seconds in range(5):
            run_all(later(tx, seconds=2 * seconds), crm.handle)
        assert crm.renewals == before + 1
        assert counts(tx, target) == {VERIFIED: 6}

    database.write_now(work)


def test_a_token_that_cannot_be_renewed_disconnects_and_all_waits_for_a_person(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, crm = begun(tx)
        crm.token = ""
        run_all(tx, lambda request: HttpAnswer(401, {}, b"") if crm.token == "" else crm.handle(request))
        assert fresh(tx, target).state is TargetState.DISCONNECTED
        make.lead(tx, target.business_id, make.contact("+6591111111"), person_id="p2")
        run_all(later(tx, days=7), crm.handle)
        assert counts(tx, target) == {DeliveryState.DUE: 2}
        crm.token = "3"
        reconnect_target(tx, fresh(tx, target), "", {"password": "new"}, ())
        run_all(later(tx, days=7), crm.handle)
        assert counts(tx, target) == {VERIFIED: 2}

    database.write_now(work)


def test_a_paused_target_keeps_what_is_due_and_gets_it_by_itself_later(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        pause_target(tx, target)
        for status in (LeadStatus.CONTACTED, LeadStatus.CONVERTED):
            change_lead_status(tx, target.business_id, lead.id, _status(tx, lead), status, "Ana")
        run_all(later(tx, days=7), crm.handle)
        assert crm.records == {}
        resume_target(tx, fresh(tx, target))
        run_all(later(tx, days=7), crm.handle)
        assert counts(tx, target) == {VERIFIED: 1}
        assert [revision for _, revision in crm.writes] == [3], "it goes there once, as it is by now"

    database.write_now(work)


@pytest.mark.parametrize("status", [200, 401, 403])
def test_an_answer_after_the_removal_does_not_bring_a_target_back(database: Database, status: int) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, crm = begun(tx)
        release_deliveries(tx)
        (claimed,) = claim(tx)
        remove_target(tx, fresh(tx, target))
        settle(tx, claimed, crm.handle if status == 200 else lambda _: HttpAnswer(status, {}, b""))
        run_all(later(tx, days=1), lambda request: HttpAnswer(401, {}, b""))
        stored = select(crm_targets.c.state).where(crm_targets.c.id == target.id)
        assert tx.scalar(stored) is TargetState.REMOVED

    database.write_now(work)


def _status(tx: Tx, lead: Lead) -> LeadStatus:
    found = find_lead(tx, lead.business_id, lead.id)
    assert found is not None
    return found.status


def test_leads_that_were_there_before_come_too(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx = with_memory(tx)
        business_id = make.business(tx).id
        for number in range(7):
            made = make.lead(tx, business_id, make.contact(f"+659123456{number}"), person_id=f"p{number}")
        delete_lead(tx, made, "Ana")
        crm, target = MemoryCrm(), link(tx, business_id)
        run_all(tx, crm.handle)  # one logs in, the others wait for a second
        run_all(later(tx, seconds=2), crm.handle)
        assert counts(tx, target) == {VERIFIED: 6}
        assert len(crm.live()) == 6

    database.write_now(work)


def test_a_person_who_is_there_already_is_found_by_a_contact_detail(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        crm.records["7"] = {"id": "7", "moved_to": "", "note": "", "Email": EMAIL.value, "tick": 1}
        run_all(tx, crm.handle)
        assert only(crm)["external_id"] == lead.id
        assert record(tx, target, lead.id).record_id == "7"

    database.write_now(work)


def test_the_id_that_a_duplicate_names_is_taken_unless_another_lead_has_it(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        crm.records["7"] = {"id": "7", "moved_to": "", "note": "", "Email": EMAIL.value, "tick": 1}
        blind = Faulty(crm, find=[HttpAnswer(200, {}, b'{"records": []}')] * 3)
        run_all(tx, blind)
        assert only(crm)["external_id"] == lead.id
        make.lead(tx, target.business_id, EMAIL, person_id="p2")
        run_all(tx, crm.handle)
        assert counts(tx, target) == {VERIFIED: 1, DeliveryState.DEAD: 1}
        (dead,) = ledger.list_entries(tx, target.business_id, target.id, (DeliveryState.DEAD,))
        assert dead.reason == "taken_by_another_lead"

    database.write_now(work)


def test_a_record_that_was_merged_there_is_followed_and_one_that_was_deleted_made_anew(
    database: Database,
) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        run_all(tx, crm.handle)
        old = only(crm)
        crm.records["99"] = {"id": "99", "moved_to": "", "note": "", "Email": EMAIL.value, "tick": 1}
        old["moved_to"], old["external_id"] = "99", ""
        change_lead_status(tx, target.business_id, lead.id, LeadStatus.RAW, LeadStatus.CONVERTED, "Ana")
        run_all(tx, crm.handle)
        assert (only(crm)["id"], only(crm)["State"]) == ("99", "Won")
        assert record(tx, target, lead.id).record_id == "99"
        crm.records.clear()
        schedule_deliveries(tx, target, [lead.id])
        run_all(tx, crm.handle)
        assert only(crm)["external_id"] == lead.id
        assert counts(tx, target) == {VERIFIED: 1}

    database.write_now(work)


def test_after_a_restore_the_id_may_be_a_strangers_and_is_not_written_to(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        run_all(tx, crm.handle)
        number = only(crm)["id"]
        strangers = {"id": number, "moved_to": "", "note": "", "Email": "eve@example.com", "tick": 1}
        crm.records = Records([strangers])
        schedule_deliveries(tx, target, [lead.id])
        run_all(tx, crm.handle)
        assert crm.records[number]["Email"] == "eve@example.com"
        assert {each.get("external_id") for each in crm.live()} == {None, lead.id}

    database.write_now(work)


def test_a_field_or_a_choice_that_is_gone_leads_into_the_note(
    database: Database,
) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, crm = begun(tx)
        crm.fields -= {"Phone"}
        crm.choices -= {"New"}
        run_all(tx, crm.handle)
        assert counts(tx, target) == {VERIFIED: 1}
        assert set(only(crm)["note"].splitlines()) == {f"phone: {PHONE.value}", "status: New"}
        faults = {(each.field, each.weakness) for each in fresh(tx, target).faults}
        assert {("Phone", Weakness.NO_FIELD), ("State", Weakness.NO_CHOICE)} <= faults
        make.lead(tx, target.business_id, make.contact("+6591111111"), person_id="p2")
        crm.writes.clear()
        run_all(tx, crm.handle)
        assert len(crm.writes) == 1, "the next lead leaves them out from the start"

    database.write_now(work)


def test_a_dead_letter_is_edited_and_sent_again(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        run_all(tx, Faulty(crm, write=[HttpAnswer(400, {}, b"{}")]))
        (dead,) = ledger.list_entries(tx, target.business_id, target.id)
        assert (dead.state, dead.reason) == (DeliveryState.DEAD, "400")
        edit_dead(tx, dead, {"Phone": "+65 9999 9999", "Name": ""})
        run_all(tx, crm.handle)
        assert (only(crm)["Phone"], "Name" in only(crm)) == ("+65 9999 9999", False)
        assert counts(tx, target) == {VERIFIED: 1}
        assert {each.state for each in ledger.list_entries(tx, target.business_id, target.id)} == {VERIFIED}
        assert record(tx, target, lead.id).revision == 2

    database.write_now(work)


def test_all_dead_letters_are_sent_again_at_once(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, crm = begun(tx)
        for number in range(5):
            make.lead(tx, target.business_id, make.contact(f"+659123456{number}"), person_id=f"p {number}")
        run_all(tx, Faulty(crm, write=[HttpAnswer(400, {}, b"{}")] * 6))
        assert counts(tx, target) == {DeliveryState.DEAD: 6}
        assert resend_dead(tx, target) == 6
        run_all(tx, crm.handle)
        assert counts(tx, target) == {VERIFIED: 6}

    database.write_now(work)


def test_merged_leads_are_one_record_and_two_again_after_an_undo(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, kept, crm = begun(tx, EMAIL)
        gone = make.lead(tx, target.business_id, PHONE, person_id="p2")
        run_all(tx, crm.handle)
        assert len(crm.live()) == 2
        actor = Actor(target.business_id, "m1", "Ana")
        merge = merge_leads(tx, actor, kept.id, gone.id, Picks(), "")
        run_all(tx, crm.handle)
        assert (only(crm)["external_id"], only(crm)["Phone"]) == (kept.id, PHONE.value)
        assert counts(tx, target) == {VERIFIED: 1}
        undo_merge(tx, actor, merge.id)
        run_all(tx, crm.handle)
        assert {each["external_id"] for each in crm.live()} == {kept.id, gone.id}
        assert counts(tx, target) == {VERIFIED: 2}

    database.write_now(work)


def test_a_crm_that_keeps_something_else_is_asked_some_times_and_then_a_person(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, crm = begun(tx)

        def other(request: HttpRequest) -> HttpOutcome:
            answer = crm.handle(request)
            return HttpAnswer(
                answer.status, {}, answer.body.replace(EMAIL.value.encode(), b"other@example.com")
            )

        for hours in (0, 1, 2, 6):
            run_all(later(tx, hours=hours), other)
        assert counts(tx, target) == {DeliveryState.DEAD: 1}
        (dead,) = ledger.list_entries(tx, target.business_id, target.id)
        assert dead.reason == "differs_Email"
        assert len(crm.live()) == 1

    database.write_now(work)


def test_what_has_no_field_stands_in_the_note(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, crm = begun(tx)
        map_target(tx, target, (MappedField("email", "Email"),), WORDS)
        run_all(tx, crm.handle)
        assert set(only(crm)["note"].splitlines()) == {"name: mei", f"phone: {PHONE.value}"}

    database.write_now(work)


def test_the_mapping_is_held_against_what_the_crm_has(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, crm = begun(tx)
        assert target.faults == ()
        assert {each.name for each in target.described} == crm.fields
        map_target(tx, target, (*MAPPING, MappedField("labels", "Tags")), WORDS)
        assert [(each.field, each.weakness) for each in fresh(tx, target).faults] == [
            ("Tags", Weakness.NO_FIELD)
        ]
        crm.fields -= {"Name"}
        run_all(later(tx, days=2), crm.handle)
        assert {each.field for each in fresh(tx, target).faults} == {"Tags", "Name"}

    database.write_now(work)


def test_another_business_has_neither_the_target_nor_its_deliveries(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, crm = begun(tx)
        other = make.business(tx, "Other").id
        make.lead(tx, other, EMAIL)
        run_all(tx, crm.handle)
        assert len(crm.live()) == 1
        assert ledger.list_entries(tx, other, target.id) == []

    database.write_now(work)


def test_a_number_that_is_marked_wrong_leaves_the_crm_and_its_replacement_arrives(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx, EMAIL, PHONE)
        run_all(tx, crm.handle)
        assert only(crm)["Phone"] == PHONE.value
        actor = Actor(target.business_id, make.member(tx, target.business_id).id, "Owner")
        points = list_contact_points(tx, lead.business_id, {lead.id})[lead.id]
        phone = next(point for point in points if point.value == PHONE.value)
        tx = later(tx, minutes=1)
        change_contact_point(tx, actor, lead.id, (phone.id, phone.value), "wrong")
        run_all(tx, crm.handle)
        assert only(crm)["Phone"] == ""
        assert only(crm)["Email"] == EMAIL.value
        tx = later(tx, minutes=1)
        change_contact_point(tx, actor, lead.id, (phone.id, phone.value), "save", "+6598765432")
        run_all(tx, crm.handle)
        assert only(crm)["Phone"] == "+6598765432"
        assert record(tx, target, lead.id).state is DeliveryState.VERIFIED

    database.write_now(work)
