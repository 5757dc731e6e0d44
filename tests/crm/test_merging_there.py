"""Leads that became one are one record in the CRM too."""

from contatto.capture.model import Field
from contatto.crm.model.deliveries import DeliveryState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.leads.actions.merging import Wish, merge_leads
from contatto.leads.model.annotations import Actor
from contatto.leads.model.merges import Picks
from tests import make
from tests.crm.engine import counts, link, record, run_all, with_memory
from tests.crm.memory import MemoryCrm


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
        merge_leads(tx, actor, Wish(kept.id, gone.id, Picks(), ""))
        run_all(tx, crm.handle)
        assert counts(tx, target) == {DeliveryState.VERIFIED: 1}
        (left,) = crm.live()
        assert (left["external_id"], left["id"]) == (kept.id, record(tx, target, gone.id).record_id)

    database.write_now(work)
