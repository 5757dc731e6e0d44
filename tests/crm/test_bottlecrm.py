"""A real BottleCRM: its connector finds, makes, changes, merges and erases leads there, and none twice."""

from collections.abc import Iterator

import pytest

from contatto.crm.connectors.bottlecrm import BottleCrm
from contatto.crm.model import (
    CrmLink,
    DescribeFields,
    Erased,
    EraseRecord,
    Exists,
    FieldsDescribed,
    FindBy,
    FindRecord,
    FoundRecords,
    MergeRecords,
    NoRecord,
    Payload,
    ReadRecord,
    ValueGone,
    WriteRecord,
    Written,
)
from contatto.crm.rules.deliveries import Arrived
from contatto.simulator.crms.failure_kit import ConnectorDriver
from tests import make
from tests.crm.bottlecrm import BottleServer, Unreachable, install

pytestmark = pytest.mark.slow
ADA, BO = "0195e2a7-0000-7000-8000-000000000001", "0195e2a7-0000-7000-8000-000000000002"
VALUES = {"email": "ada@example.com", "phone": "+6591234567", "first_name": "Ada", "last_name": "Tan",
          "title": "Ada Tan"}  # fmt: skip


@pytest.fixture(scope="module")
def server(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BottleServer]:
    try:
        install()
    except Unreachable as why:
        pytest.skip(f"BottleCRM cannot be had: {why}")
    folder = tmp_path_factory.mktemp("bottlecrm")
    running = BottleServer(folder, f"bottlecrm_{folder.name.replace('-', '_')}")
    running.prepare()
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def token(server: BottleServer) -> str:
    return server.token()


@pytest.fixture
def speaker(server: BottleServer, token: str) -> Iterator[ConnectorDriver]:
    link = CrmLink(f"http://{server.host}", {}, {"access_token": token}, make.NOON)
    speaker = ConnectorDriver(BottleCrm(), link)
    yield speaker
    for email in ("ada@example.com", "bo@example.com"):
        found = speaker.do(FindRecord(FindBy.EMAIL, email))
        for record in found.records if isinstance(found, FoundRecords) else ():
            speaker.do(EraseRecord(record.id, record.external_id))
    speaker.client.close()


def written(
    speaker: ConnectorDriver, lead: str = ADA, record_id: str | None = None, **changes: str
) -> object:
    return speaker.do(WriteRecord(record_id, lead, 1, {**VALUES, **changes}, "Budget: 100", make.NOON))


def test_a_lead_is_made_found_and_read_back(speaker: ConnectorDriver) -> None:
    made = written(speaker)
    assert isinstance(made, Written)
    for by, value in ((FindBy.EMAIL, "Ada@example.com"), (FindBy.PHONE, "+6591234567")):
        found = speaker.do(FindRecord(by, value))
        assert isinstance(found, FoundRecords), by
        assert [record.id for record in found.records] == [made.record_id]
    read = speaker.do(ReadRecord(made.record_id, tuple(VALUES)))
    assert isinstance(read, FoundRecords)
    (record,) = read.records
    assert record.external_id == ADA
    for name, value in VALUES.items():
        assert speaker.connector.is_same_value(name, value, record.values[name]), name
    assert "Budget: 100" in record.values["description"]


def test_a_second_of_the_same_person_exists_and_is_changed(speaker: ConnectorDriver) -> None:
    made = written(speaker)
    assert isinstance(made, Written)
    assert written(speaker) == Exists()
    assert written(speaker, record_id=made.record_id, last_name="Lim") == made
    read = speaker.do(ReadRecord(made.record_id, ("last_name",)))
    assert isinstance(read, FoundRecords)
    assert read.records[0].values["last_name"] == "Lim"


def test_by_the_rules_of_the_engine_nothing_is_doubled(speaker: ConnectorDriver) -> None:
    payload = Payload(ADA, 1, VALUES, "", VALUES["email"], VALUES["phone"], make.NOON.isoformat())
    first, second = speaker.deliver(payload), speaker.deliver(payload)
    assert isinstance(first, Arrived)
    assert first == second
    assert first.is_verified


def test_it_describes_its_fields_and_names_a_value_that_it_does_not_take(speaker: ConnectorDriver) -> None:
    described = speaker.do(DescribeFields())
    assert isinstance(described, FieldsDescribed)
    fields = {each.name: each for each in described.fields}
    assert set(VALUES) <= set(fields)
    assert fields["status"].choices
    assert written(speaker, status="smitten") == ValueGone("status")


def test_two_are_merged_and_erased_and_a_read_finds_nothing(speaker: ConnectorDriver) -> None:
    one = written(speaker)
    two = written(speaker, BO, email="bo@example.com", phone="+6598765432", first_name="Bo")
    assert isinstance(one, Written)
    assert isinstance(two, Written)
    assert speaker.do(MergeRecords(two.record_id, one.record_id)) == Written(one.record_id)
    assert speaker.do(ReadRecord(two.record_id)) == NoRecord()
    assert isinstance(speaker.do(EraseRecord(one.record_id, ADA)), Erased)
    assert speaker.do(ReadRecord(one.record_id)) == NoRecord()
