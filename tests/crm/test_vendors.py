"""Connectors against CRMs in memory that speak the vendors' APIs; those are tried by the vendors' own clients
in test_vendor_clients.py."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from contatto.crm.model import (
    ChangesListed,
    CrmLink,
    Cursor,
    DescribeFields,
    Erased,
    EraseRecord,
    Exists,
    Expired,
    FieldGone,
    FieldsDescribed,
    FindBy,
    FindRecord,
    FoundRecords,
    ListChanges,
    ListRecords,
    MergeRecords,
    Moved,
    NoRecord,
    Payload,
    ReadRecord,
    RecordsListed,
    RenewSecrets,
    SecretsRenewed,
    ValueGone,
    WriteRecord,
    Written,
)
from contatto.crm.registry import CONNECTORS
from contatto.crm.rules.deliveries import Arrived
from contatto.integrations.model import Denied
from contatto.kit.outbound.model import Failed, NotNow
from contatto.simulator.crms.failure_kit import CASES, ConnectorDriver, CrmCase, NoReply
from contatto.simulator.crms.hosted import PipedriveFake, SalesforceFake
from contatto.simulator.crms.self_hosted import ODOO_KEY, ODOO_UID
from contatto.simulator.crms.server import CrmServer, VendorFault

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEAD, OTHER = "0195e2a7-0000-7000-8000-000000000001", "0195e2a7-0000-7000-8000-000000000002"


@pytest.fixture(params=sorted(set(CASES) - {"webhook", "bottlecrm", "tryton"}))  # two are tried as they are
def case(request: pytest.FixtureRequest) -> CrmCase:
    return CASES[request.param]


@pytest.fixture
def server(case: CrmCase) -> Iterator[CrmServer]:
    with CrmServer(case.vendor()).running() as running:
        yield running


@pytest.fixture
def speaker(case: CrmCase, server: CrmServer) -> Iterator[ConnectorDriver]:
    speaker = ConnectorDriver(
        CONNECTORS[case.connector], CrmLink(server.address, case.settings, case.secrets, NOW)
    )
    yield speaker
    speaker.client.close()


def write(case: CrmCase, record_id: str | None = None, lead: str = LEAD, **more: Any) -> WriteRecord:
    return WriteRecord(record_id, lead, 1, {**case.ada, **more}, "Budget: 100", NOW)


def made(speaker: ConnectorDriver, case: CrmCase, lead: str = LEAD, **more: Any) -> str:
    """As the engine makes a record: it looks for it first where the CRM has no upsert."""
    found = None if speaker.connector.traits.upserts else speaker.do(FindRecord(FindBy.EXTERNAL_ID, lead))
    record_id = found.records[0].id if isinstance(found, FoundRecords) else None
    reply = speaker.do(write(case, record_id, lead=lead, **more))
    assert isinstance(reply, Written), reply
    return reply.record_id


def test_a_lead_is_made_found_by_our_id_and_read_back(case: CrmCase, speaker: ConnectorDriver) -> None:
    record_id = made(speaker, case)
    found = speaker.do(FindRecord(FindBy.EXTERNAL_ID, LEAD))
    assert isinstance(found, FoundRecords)
    assert [record.id for record in found.records] == [record_id]
    read = speaker.do(ReadRecord(record_id, tuple(case.ada)))
    assert isinstance(read, FoundRecords)
    for name, value in case.ada.items():
        assert speaker.connector.is_same_value(name, value, read.records[0].values[name])
    assert speaker.do(FindRecord(FindBy.EXTERNAL_ID, OTHER)) == NoRecord()


def test_a_write_whose_answer_was_lost_makes_no_second_record(
    case: CrmCase, speaker: ConnectorDriver, server: CrmServer
) -> None:
    for lost in range(6):  # of each request that a write takes, one after the other
        server.faults.extend([*[None] * lost, VendorFault.LOST])
        with suppress(NoReply):
            made(speaker, case)
        server.faults.clear()
    record_id = made(speaker, case)
    found = speaker.do(FindRecord(FindBy.EXTERNAL_ID, LEAD))
    assert isinstance(found, FoundRecords)
    assert [record.id for record in found.records] == [record_id]


def test_a_change_names_only_what_changes(case: CrmCase, speaker: ConnectorDriver) -> None:
    record_id = made(speaker, case)
    name = next(name for name in case.ada if "hone" in name)
    reply = speaker.do(WriteRecord(record_id, LEAD, 2, {name: "+6598765432"}, "", NOW))
    assert reply == Written(record_id)
    read = speaker.do(ReadRecord(record_id, tuple(case.ada)))
    assert isinstance(read, FoundRecords)
    values = read.records[0].values
    assert {each: values[each] for each in case.ada} == {**case.ada, name: "+6598765432"}


def test_who_is_there_already_is_named_or_found_by_e_mail(case: CrmCase, speaker: ConnectorDriver) -> None:
    if FindBy.EMAIL not in speaker.connector.traits.finds_by:
        pytest.skip("it has rows, not people")
    record_id = made(speaker, case)
    if case.one_per_email:
        assert speaker.do(write(case, lead=OTHER)) == Exists(record_id)
    for by, value in ((FindBy.EMAIL, "ada@example.com"), (FindBy.PHONE, "+6591234567")):
        found = speaker.do(FindRecord(by, value))
        assert isinstance(found, FoundRecords)
        assert [record.id for record in found.records] == [record_id]
    assert speaker.do(FindRecord(FindBy.EMAIL, "o'hara\\@example.com")) == NoRecord()


def test_it_describes_the_fields_that_a_lead_may_be_written_to(
    case: CrmCase, speaker: ConnectorDriver
) -> None:
    made(speaker, case)
    reply = speaker.do(DescribeFields())
    assert isinstance(reply, FieldsDescribed)
    names = {field.name: field for field in reply.fields}
    assert set(case.ada) <= set(names)
    if case.bad_value is not None:
        assert names[case.bad_value[0]].choices


def test_a_field_or_a_value_that_is_gone_is_named(case: CrmCase, speaker: ConnectorDriver) -> None:
    made(speaker, case)
    if case.names_fields:
        assert speaker.do(write(case, Gone="x")) == FieldGone("Gone")
    if case.bad_value is not None:
        name, value = case.bad_value
        assert speaker.do(write(case, **{name: value})) == ValueGone(name)


def test_a_record_that_was_merged_or_deleted_is_followed_or_gone(
    case: CrmCase, speaker: ConnectorDriver, server: CrmServer
) -> None:
    if case.connector == "google_sheets":
        pytest.skip("a sheet has no merges")
    first = made(speaker, case)
    second = made(speaker, case, lead=OTHER, **{case.email: "ada@example.org"})
    left = server.vendor.crm.merge(first, second).id
    assert speaker.do(ReadRecord(first)) == (Moved(left) if case.tells_merges else NoRecord())
    server.vendor.crm.delete(left)
    assert speaker.do(ReadRecord(left)) == NoRecord()
    gone = speaker.do(write(case, record_id="987654321"))
    assert gone in (NoRecord(), Failed("server_error"))


def test_it_merges_two_records_where_it_can(case: CrmCase, speaker: ConnectorDriver) -> None:
    if not speaker.connector.traits.merges:
        pytest.skip("it cannot")
    first = made(speaker, case)
    second = made(speaker, case, lead=OTHER, **{case.email: "ada@example.org"})
    merged = speaker.do(MergeRecords(first, second))
    assert isinstance(merged, Written)
    assert speaker.do(ReadRecord(first)) == (Moved(merged.record_id) if case.tells_merges else NoRecord())
    again = speaker.do(MergeRecords(first, second))  # the answer was lost
    assert again in (merged, NoRecord()), "they are one already"


def test_after_erasing_a_read_finds_nothing(case: CrmCase, speaker: ConnectorDriver) -> None:
    record_id = made(speaker, case)
    assert isinstance(speaker.do(EraseRecord(record_id, LEAD)), Erased)
    assert speaker.do(ReadRecord(record_id)) == NoRecord()
    assert speaker.do(FindRecord(FindBy.EXTERNAL_ID, LEAD)) == NoRecord()


def test_changes_are_told_once_each_and_in_order(
    case: CrmCase, speaker: ConnectorDriver, server: CrmServer
) -> None:
    if not speaker.connector.traits.tells_changes:
        pytest.skip("it tells none")
    if case.connector == "pipedrive":
        pytest.skip("it tells of deals, in a test of its own")
    leads = [f"0195e2a7-0000-7000-8000-{number:012d}" for number in range(30)]
    records = {
        made(speaker, case, lead=lead, **{case.email: f"{lead[-2:]}@example.com"}): lead for lead in leads
    }
    crm = server.vendor.crm
    for record in list(crm.records.values())[10:20]:  # many at one time
        record.changed_at = list(crm.records.values())[10].changed_at
    told, cursor = [], Cursor()
    for _ in range(10):
        reply = speaker.do(ListChanges(cursor))
        assert isinstance(reply, ChangesListed)
        told += [(change.record_id, change.external_id, change.cursor.at) for change in reply.changes]
        if not reply.changes:
            break
        cursor = reply.cursor
    assert [(record, lead) for record, lead, _ in told] == list(records.items())
    assert all(one[2] <= two[2] for one, two in pairwise(told))


def test_it_enumerates_the_records_that_carry_our_id(
    case: CrmCase, speaker: ConnectorDriver, server: CrmServer
) -> None:
    if not speaker.connector.traits.enumerates:
        pytest.skip("it cannot")
    leads = [f"0195e2a7-0000-7000-8000-{number:012d}" for number in range(205)]
    values = {**case.ada}
    for lead in leads:
        server.vendor.crm.unique.clear()
        made(speaker, case, lead=lead, **values)
    held, after = [], ""
    for _ in range(5):
        reply = speaker.do(ListRecords(after))
        assert isinstance(reply, RecordsListed)
        held += [lead for _, lead in reply.records]
        after = reply.after
        if not after:
            break
    assert held == leads


def test_faults_are_told_apart(case: CrmCase, speaker: ConnectorDriver, server: CrmServer) -> None:
    record_id = made(speaker, case)
    for fault, reply in (
        (VendorFault.EXPIRED, Expired()),
        (VendorFault.THROTTLED, NotNow),
        (VendorFault.DOWN, NotNow),
    ):
        server.faults.append(fault)
        got = speaker.do(ReadRecord(record_id))
        assert got == reply or (isinstance(reply, type) and isinstance(got, reply)), fault
        if fault is VendorFault.THROTTLED:
            assert isinstance(got, NotNow)
            assert got.after_s == 1.0
    server.faults.append(VendorFault.HTML)
    assert isinstance(speaker.do(ReadRecord(record_id)), NotNow)
    server.faults.append(VendorFault.RESET)
    with pytest.raises(NoReply):
        speaker.do(ReadRecord(record_id))


def test_a_lead_that_was_converted_is_followed_to_its_contact() -> None:
    case = CASES["salesforce"]
    vendor = case.vendor()
    assert isinstance(vendor, SalesforceFake)
    with CrmServer(vendor).running() as server:
        speaker = ConnectorDriver(
            CONNECTORS["salesforce"], CrmLink(server.address, case.settings, case.secrets, NOW)
        )
        record_id = made(speaker, case)
        contact = vendor.convert(record_id)
        assert speaker.do(write(case, record_id)) == Moved(contact)
        assert speaker.do(write(case)) in (Moved(contact), NoRecord())
        assert speaker.do(write(case, contact)) == Written(contact)
        assert "Company" not in vendor.contacts[contact]
        (change,) = speaker.do(ListChanges(Cursor())).changes  # type: ignore[union-attr]
        assert (change.moved_to, change.value, change.owner) == (contact, "1200.5 EUR", "sam@example.com")
        speaker.client.close()


def test_pipedrive_tells_what_became_of_a_persons_deals_and_keeps_one_note() -> None:
    case = CASES["pipedrive"]
    vendor = case.vendor()
    assert isinstance(vendor, PipedriveFake)
    with CrmServer(vendor).running() as server:
        speaker = ConnectorDriver(
            CONNECTORS["pipedrive"], CrmLink(server.address, case.settings, case.secrets, NOW)
        )
        person = made(speaker, case)
        for _ in range(3):
            made(speaker, case)
        assert [note["content"] for note in vendor.notes.values()] == ["Contatto\nBudget: 100"]
        deal = {"person_id": int(person), "status": "won", "value": 250, "currency": "SGD"}
        vendor.deals = [{"id": number, "update_time": "2026-01-02T00:00:00Z", **deal} for number in (1, 2)]
        told, cursor = [], Cursor()
        for _ in range(3):
            reply = speaker.do(ListChanges(cursor))
            assert isinstance(reply, ChangesListed)
            told += [(change.record_id, change.status, change.value) for change in reply.changes]
            cursor = reply.cursor
        assert told == [(person, "won", "250 SGD")] * 2
        speaker.client.close()


def test_odoo_gives_a_session_for_the_right_key_alone() -> None:
    case = CASES["odoo"]
    with CrmServer(case.vendor()).running() as server:
        speaker = ConnectorDriver(
            CONNECTORS["odoo"],
            CrmLink(server.address, case.settings, {"password": ODOO_KEY}, NOW),
        )
        assert speaker.do(ReadRecord("1")) == Expired()
        assert speaker.do(RenewSecrets()) == SecretsRenewed({"session": str(ODOO_UID)})
        speaker.link = replace(speaker.link, secrets={"password": "wrong"})
        assert speaker.do(RenewSecrets()) == Denied("access_denied")
        speaker.client.close()


@pytest.fixture(params=sorted(set(CASES) - {"webhook"}))
def readable_case(request: pytest.FixtureRequest) -> CrmCase:
    return CASES[request.param]


def test_a_value_that_is_marked_wrong_leaves_the_record_and_what_people_wrote_there_stays(
    readable_case: CrmCase,
) -> None:
    case = readable_case
    phone, email = case.phone, case.ada[case.email]
    with CrmServer(case.vendor()).running() as server:
        speaker = ConnectorDriver(
            CONNECTORS[case.connector], CrmLink(server.address, case.settings, case.secrets, NOW)
        )
        first = Payload(LEAD, 1, dict(case.ada), "", email, case.ada[phone], NOW.isoformat())
        arrived = speaker.deliver(first)
        assert isinstance(arrived, Arrived)

        def phone_there() -> str:
            read = speaker.do(ReadRecord(arrived.record_id, (phone,)))
            assert isinstance(read, FoundRecords)
            return read.records[0].values.get(phone, "")

        kept = {name: text for name, text in case.ada.items() if name != phone}
        other = replace(first, revision=2, values=kept, phone="", wrong={phone: ["+6598765432"]})
        assert isinstance(speaker.deliver(other, arrived.record_id), Arrived)
        assert speaker.connector.is_same_value(phone, case.ada[phone], phone_there())
        wrong = replace(other, revision=3, wrong={phone: [case.ada[phone]]})
        outcome = speaker.deliver(wrong, arrived.record_id)
        assert isinstance(outcome, Arrived)
        assert outcome.is_verified
        assert phone_there() == ""
        number = replace(wrong, revision=4, values={**kept, phone: "+6598765432"}, phone="+6598765432")
        assert isinstance(speaker.deliver(number, arrived.record_id), Arrived)
        assert speaker.connector.is_same_value(phone, "+6598765432", phone_there())
        assert not speaker.connector.is_same_value(phone, case.ada[phone], phone_there())
        speaker.client.close()
