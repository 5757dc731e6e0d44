"""Leads of people who never said their name, in a CRM that wants one."""

from dataclasses import replace

from contatto.crm.actions.deliveries import payload_of
from contatto.crm.model import WriteRecord
from contatto.crm.rules.deliveries import DeliveryCourse, DeliveryStage, compare, operation_of
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from tests import make
from tests.crm.begun import begun

NUMBER = "+6598887777"


def test_they_are_made_under_a_contact_detail_where_a_name_is_required_and_never_renamed(
    database: Database,
) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, _ = begun(tx)
        wants = tuple(replace(each, is_required=each.name == "Name") for each in target.described)
        lead = make.lead(tx, target.business_id, make.contact(NUMBER), person_id="p2", profile_name="")
        payload = payload_of(tx, replace(target, described=wants), lead, 1, "http://localhost")
        course = DeliveryCourse(payload, DeliveryStage.WRITE)
        made, changed = operation_of(course), operation_of(replace(course, record_id="7"))
        assert isinstance(made, WriteRecord)
        assert isinstance(changed, WriteRecord)
        assert "Name" not in changed.values, "what a person there called them stays"
        assert dict(made.values) == {**changed.values, "Name": NUMBER}
        tried = compare(payload, "", {}, lambda field, written, found: False)
        assert {row.field: row.after for row in tried.rows} == made.values, "a trial shows the same"
        assert payload_of(tx, target, lead, 1, "http://localhost").stand_ins == {}, "no name is required"

    database.write_now(work)


def test_a_contact_detail_stands_for_the_name_until_the_crm_has_said_what_it_requires(
    database: Database,
) -> None:
    def work(tx: Tx) -> None:
        tx, target, _, _ = begun(tx)
        lead = make.lead(tx, target.business_id, make.contact(NUMBER), person_id="p2", profile_name="")
        unknown = replace(target, described=(), described_at=None)
        assert payload_of(tx, unknown, lead, 1, "http://localhost").stand_ins == {"Name": NUMBER}

    database.write_now(work)
