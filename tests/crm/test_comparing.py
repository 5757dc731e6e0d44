"""What a CRM holds is compared with our ledger, shown, and healed where that can be."""

import json

import pytest

from contatto.crm.actions.checks import CompareWork
from contatto.crm.actions.deliveries import find_kind_request, queue_work
from contatto.crm.actions.targets import pause_target
from contatto.crm.model import Comparison, Target
from contatto.crm.rules.deliveries import COMPARE_AGAIN_S, COMPARE_EVERY_S, COMPARISON
from contatto.crm.store.events import list_erasures
from contatto.integrations.model import DeliveryState, ErasureState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import HttpAnswer, HttpOutcome, HttpRequest
from contatto.leads.actions.annotations import erase_leads
from contatto.leads.actions.records import delete_lead
from contatto.leads.model import Lead
from contatto.leads.store.records import find_lead
from tests import make
from tests.crm.engine import counts, fresh, later, link, record, run_all, run_round, with_memory
from tests.crm.memory import MemoryCrm, Records

LEADS = 5


def synced(tx: Tx) -> tuple[Tx, Target, MemoryCrm, list[Lead]]:
    """Five leads that were verified an hour ago."""
    tx = with_memory(tx)
    business_id = make.business(tx).id
    crm, target = MemoryCrm(), link(tx, business_id)
    run_all(tx, crm.handle)
    found = [
        make.lead(tx, business_id, make.contact(f"+659123456{number}"), person_id=f"p{number}")
        for number in range(LEADS)
    ]
    run_all(tx, crm.handle)
    assert counts(tx, target) == {DeliveryState.VERIFIED: LEADS}
    return later(tx, hours=1), target, crm, found


def compared(tx: Tx, target: Target, crm: MemoryCrm) -> Comparison:
    queue_work(tx, fresh(tx, target), CompareWork)
    run_all(tx, crm.handle)
    found = fresh(tx, target).comparison
    assert found is not None
    return found


def test_where_both_have_the_same_nothing_differs_and_it_is_compared_daily(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, crm, _ = synced(tx)
        found = compared(tx, target, crm)
        assert (found.held, found.differs) == (LEADS, False)
        request = find_kind_request(tx, target, COMPARISON)
        assert request is not None
        assert (request.due_at - tx.now).total_seconds() == COMPARE_EVERY_S
        assert [each for each in crm.writes if each[1] > 1] == []

    database.write_now(work)


def test_a_record_that_is_gone_is_made_again_once_and_then_left_to_who_deletes_it(
    database: Database,
) -> None:
    def work(tx: Tx) -> None:
        tx, target, crm, found = synced(tx)
        del crm.records[record(tx, target, found[0].id).record_id]
        first = compared(tx, target, crm)
        assert (first.held, first.sent_again, first.differs) == (LEADS - 1, 1, True)
        assert len(crm.live()) == LEADS
        tx = later(tx, hours=2)
        again = compared(tx, target, crm)
        assert (again.held, again.differs) == (LEADS, False), "by itself"
        del crm.records[record(tx, target, found[0].id).record_id]
        tx = later(tx, days=1)
        last = compared(tx, target, crm)
        assert (last.sent_again, last.left_gone, last.differs) == (0, 1, False)
        assert len(crm.live()) == LEADS - 1

    database.write_now(work)


def test_after_a_restore_of_an_old_backup_all_are_there_again(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, crm, _ = synced(tx)
        crm.records.clear()
        assert compared(tx, target, crm).sent_again == LEADS
        assert len(crm.live()) == LEADS
        assert compared(later(tx, hours=2), target, crm).held == LEADS

    database.write_now(work)


def test_doubles_and_strangers_are_counted_and_left_alone(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, crm, found = synced(tx)
        crm.records["90"] = {"id": "90", "moved_to": "", "note": "", "external_id": found[0].id, "tick": 1}
        crm.records["91"] = {"id": "91", "moved_to": "", "note": "", "external_id": "unheard-of", "tick": 1}
        has = compared(tx, target, crm)
        assert (has.held, has.doubled, has.unknown) == (LEADS + 2, 1, 1)
        assert (has.sent_again, has.differs) == (0, True)
        assert len(crm.live()) == LEADS + 2

    database.write_now(work)


def test_who_was_erased_and_is_there_again_is_erased_again(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, crm, found = synced(tx)
        backup = Records(crm.records.values())
        lead = find_lead(tx, target.business_id, found[0].id)
        assert lead is not None
        erase_leads(tx, target.business_id, [lead], "Ana")
        run_all(later(tx, minutes=3), crm.handle)
        assert len(crm.live()) == LEADS - 1
        crm.records = backup
        tx = later(tx, hours=1)
        assert compared(tx, target, crm).erased_again == 1
        run_all(later(tx, minutes=3), crm.handle)
        assert found[0].id not in {each["external_id"] for each in crm.live()}
        (erasure,) = list_erasures(tx, target.business_id, target.id)
        assert erasure.state is ErasureState.FINISHED

    database.write_now(work)


def test_what_is_not_in_our_lists_is_not_missed(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, crm, found = synced(tx)
        lead = find_lead(tx, target.business_id, found[0].id)
        assert lead is not None
        delete_lead(tx, lead, "Ana")
        run_all(tx, crm.handle)
        crm.records.clear()
        assert compared(later(tx, hours=1), target, crm).sent_again == LEADS - 1

    database.write_now(work)


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_page_whose_answer_is_lost_counts_once(database: Database, page: int) -> None:
    def work(tx: Tx) -> None:
        tx, target, crm, _ = synced(tx)
        asked = 0

        def fate(request: HttpRequest) -> HttpOutcome:
            nonlocal asked
            asked += b'"enumerate"' in request.body
            return HttpAnswer(503, {}, b"") if asked == page else crm.handle(request)

        queue_work(tx, fresh(tx, target), CompareWork)
        run_all(tx, fate)
        assert fresh(tx, target).comparison is None
        run_all(later(tx, hours=1), fate)
        found = fresh(tx, target).comparison
        assert found is not None
        assert (found.held, found.doubled, found.differs) == (LEADS, 0, False)

    database.write_now(work)


def test_a_paused_target_is_compared_and_what_is_missing_waits(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, crm, _ = synced(tx)
        crm.records.clear()
        pause_target(tx, fresh(tx, target))
        assert compared(tx, target, crm).sent_again == LEADS
        assert counts(tx, target) == {DeliveryState.DUE: LEADS}
        assert crm.live() == []

    database.write_now(work)


def test_who_wants_a_comparison_while_one_is_under_way_gets_another_after_it(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, crm, found = synced(tx)
        seen = {"enumerate": 0}

        def ask_again(request: HttpRequest) -> HttpOutcome:
            answer = crm.handle(request)
            if json.loads(request.body)["do"] == "enumerate":
                seen["enumerate"] += 1
                if seen["enumerate"] == LEADS // 2:  # the first record was told already
                    del crm.records[record(tx, target, found[0].id).record_id]
                    queue_work(tx, fresh(tx, target), CompareWork)
            return answer

        queue_work(tx, fresh(tx, target), CompareWork)
        run_round(tx, ask_again)
        tx = later(tx, seconds=1)
        run_all(tx, crm.handle)
        last = fresh(tx, target).comparison
        assert last is not None
        assert (last.held, last.sent_again) == (LEADS - 1, 1)
        request = find_kind_request(tx, target, COMPARISON)
        assert request is not None
        assert (request.due_at - tx.now).total_seconds() == COMPARE_AGAIN_S, "and then as ever"

    database.write_now(work)
