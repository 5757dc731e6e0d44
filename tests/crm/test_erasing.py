"""A person who is erased with us is erased in every CRM, and a read proves it."""

from sqlalchemy import select

from contatto.crm.actions.deliveries import schedule_deliveries
from contatto.crm.actions.targets import pause_target, remove_target, resume_target
from contatto.crm.model import Target
from contatto.crm.store.deliveries import ledger
from contatto.crm.store.events import list_erasures
from contatto.integrations.model import ErasureState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import HttpAnswer, HttpOutcome, HttpRequest
from contatto.kit.outbound.queue import jobs
from contatto.leads.actions.annotations import erase_leads
from tests import make
from tests.crm.begun import begun
from tests.crm.engine import fresh, later, run_all


def states(tx: Tx, target: Target) -> list[ErasureState]:
    return [each.state for each in list_erasures(tx, target.business_id, target.id)]


def test_the_record_goes_and_nothing_is_found_by_our_id(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        run_all(tx, crm.handle)
        erase_leads(tx, target.business_id, [lead], "Ana")
        assert states(tx, target) == [ErasureState.DUE]
        run_all(later(tx, minutes=2), crm.handle)
        assert states(tx, target) == [ErasureState.FINISHED]
        assert crm.records == {}
        assert ledger.list_entries(tx, target.business_id, target.id) == []
        kept = tx.execute(select(jobs.c.kind)).scalars()
        assert set(kept) == {"crm_erasure", "crm_check", "crm_comparison", "crm_poll"}, (
            "what was on its way is forgotten with its payload"
        )

    database.write_now(work)


def test_what_was_on_its_way_when_the_person_was_erased_goes_too(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        late: list[HttpRequest] = []

        def hold_back(request: HttpRequest) -> HttpOutcome:
            if b'"do":"write"' in request.body:
                late.append(request)
                return HttpAnswer(503, {}, b"")
            return crm.handle(request)

        run_all(tx, hold_back)
        erase_leads(tx, target.business_id, [lead], "Ana")
        run_all(later(tx, seconds=20), crm.handle)
        assert states(tx, target) == [ErasureState.DUE], "it waits for what may still arrive"
        crm.handle(late[0])
        assert len(crm.records) == 1
        run_all(later(tx, minutes=3), crm.handle)
        assert crm.records == {}
        assert states(tx, target) == [ErasureState.FINISHED]

    database.write_now(work)


def test_a_record_that_stays_there_is_no_success(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        run_all(tx, crm.handle)
        erase_leads(tx, target.business_id, [lead], "Ana")

        def keeps_all(request: HttpRequest) -> HttpOutcome:
            is_erase = b'"do":"erase"' in request.body
            return HttpAnswer(200, {}, b"{}") if is_erase else crm.handle(request)

        run_all(later(tx, minutes=2), keeps_all)
        (erasure,) = list_erasures(tx, target.business_id, target.id)
        assert (erasure.state, erasure.reason) == (ErasureState.DUE, "still_there")
        run_all(later(tx, hours=1), crm.handle)
        assert states(tx, target) == [ErasureState.FINISHED]

    database.write_now(work)


def test_a_strangers_record_under_the_same_id_is_left_alone(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        run_all(tx, crm.handle)
        (found,) = crm.live()
        found["external_id"], found["Email"] = "", "eve@example.com"
        erase_leads(tx, target.business_id, [lead], "Ana")
        run_all(later(tx, minutes=2), crm.handle)
        (erasure,) = list_erasures(tx, target.business_id, target.id)
        assert (erasure.state, erasure.reason) == (ErasureState.FAILED, "not_ours")
        assert len(crm.live()) == 1

    database.write_now(work)


def test_a_paused_target_is_told_when_it_is_active_again(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, lead, crm = begun(tx)
        run_all(tx, crm.handle)
        pause_target(tx, target)
        schedule_deliveries(tx, fresh(tx, target), [lead.id])
        erase_leads(tx, target.business_id, [lead], "Ana")
        run_all(later(tx, days=3), crm.handle)
        assert states(tx, target) == [ErasureState.DUE]
        resume_target(later(tx, days=3), fresh(tx, target))
        run_all(later(tx, days=3), crm.handle)
        assert states(tx, target) == [ErasureState.FINISHED]
        assert crm.records == {}

    database.write_now(work)


def test_a_lead_that_no_target_ever_had_needs_no_erasure(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, _ = begun(tx)
        remove_target(tx, target)
        other = make.lead(tx, target.business_id, make.contact("+6591111111"), person_id="p2")
        erase_leads(tx, target.business_id, [other], "Ana")
        assert states(tx, target) == []

    database.write_now(work)
