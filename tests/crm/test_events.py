"""What a CRM sends back: event sets, events that move a lead on and never back, and refusals."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from contatto.crm.api import LeadReference, TrackedEvent
from contatto.crm.model import LeadEvent
from contatto.crm.rules.deliveries import follows, status_of_word
from contatto.crm.store.events import lead_events
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.model import Lead, LeadStatus
from contatto.leads.store.records import find_lead_by_number, list_history
from tests.journeys.running import House, running_house
from tests.unchanged import nothing_changes

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DIGEST = hashlib.sha256(b"mei@example.com").hexdigest()


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("qualified_lead", LeadStatus.QUALIFIED),
        ("Qualified Lead", LeadStatus.QUALIFIED),
        ("SQL", LeadStatus.QUALIFIED),
        ("QualifiedLead", LeadStatus.QUALIFIED),
        ("CompletePayment", LeadStatus.CONVERTED),
        ("closed-won", LeadStatus.CONVERTED),
        ("Contacted", LeadStatus.CONTACTED),
        ("junk", LeadStatus.UNQUALIFIED),
        ("Closed Lost", LeadStatus.UNQUALIFIED),
        ("appointment", None),
        ("", None),
        ("梅", None),
    ],
)
def test_an_event_stands_for_a_status_however_it_is_written(name: str, status: LeadStatus | None) -> None:
    assert status_of_word({}, name) is status


@pytest.mark.parametrize(
    ("current", "wanted", "moves"),
    [
        (LeadStatus.RAW, LeadStatus.QUALIFIED, True),
        (LeadStatus.QUALIFIED, LeadStatus.CONVERTED, True),
        (LeadStatus.UNQUALIFIED, LeadStatus.QUALIFIED, True),
        (LeadStatus.CONVERTED, LeadStatus.QUALIFIED, False),
        (LeadStatus.QUALIFIED, LeadStatus.CONTACTED, False),
        (LeadStatus.QUALIFIED, LeadStatus.QUALIFIED, False),
        (LeadStatus.CONVERTED, LeadStatus.UNQUALIFIED, True),
        (LeadStatus.RAW, None, False),
    ],
)
def test_a_late_word_of_an_earlier_stage_takes_nothing_back(
    current: LeadStatus, wanted: LeadStatus | None, moves: bool
) -> None:
    assert follows(current, wanted) is moves


@pytest.mark.parametrize("at_s", [0, -5, int((NOW + timedelta(days=2)).timestamp()), 1_795_000_000_000])
def test_a_time_in_the_future_or_in_another_unit_is_refused(at_s: int) -> None:
    with pytest.raises(Refused, match="seconds"):
        TrackedEvent(event="x", event_time=at_s, lead=LeadReference(lead_id=1)).check(0, NOW)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.fixture(scope="module")
def event_set(house: House) -> str:
    made = house.data("POST", "/crm/create/", name="Our CRM")
    assert house.data("GET", "/crm/list/")["crm_event_sets"] == [made]
    datetime.strptime(made["create_time"], "%Y-%m-%d %H:%M:%S").astimezone(UTC)
    return str(made["event_set_id"])


@pytest.fixture
def lead_id(house: House) -> Iterator[str]:
    shown = house.data("POST", "/page/lead/mock/create/", lead_source="DIRECT_MESSAGE")
    made = shown["meta_data"]["lead_id"]
    yield str(made)
    house.data("POST", "/page/lead/mock/delete/", lead_id=made)


def event(lead_id: str, **changes: Any) -> dict[str, Any]:
    of = {"lead_id": lead_id, "lead_event_source": "crm"}
    made = {
        "event": "qualified_lead",
        "event_time": 1_795_000_000,
        "event_id": "e1",
        "user": {"email": [DIGEST]},
        "lead": of,
    }
    return made | changes


def track(house: House, event_set: str, *data: dict[str, Any], **changes: Any) -> dict[str, Any]:
    body = {"event_source": "crm", "event_source_id": event_set, "data": list(data)} | changes
    return house.api("POST", "/event/track/", **body)


def read(house: House, lead_id: str) -> tuple[Lead, list[str]]:
    def work(tx: Tx) -> tuple[Lead, list[str]]:
        lead = find_lead_by_number(tx, house.business_id, int(lead_id))
        assert lead is not None
        mine = select(lead_events).where(lead_events.c.lead_id == lead.id)
        told = tx.list(LeadEvent, mine.order_by(lead_events.c.occurred_at, lead_events.c.id))
        return lead, [each.name for each in told]

    return house.context.db.read_now(work)


def test_events_are_kept_once_and_move_the_lead_on(house: House, event_set: str, lead_id: str) -> None:
    for _ in range(2):
        assert track(house, event_set, event(lead_id))["code"] == 0
    lead, names = read(house, lead_id)
    assert (lead.status, names) == (LeadStatus.QUALIFIED, ["qualified_lead"])
    more = [
        event(lead_id, event="appointment", event_id="e2"),
        event(lead_id, event="ClosedWon", event_id="e3"),
        event(lead_id, event="contacted", event_id="e4"),
    ]
    assert track(house, event_set, *more)["code"] == 0
    lead, names = read(house, lead_id)
    assert (lead.status, len(names)) == (LeadStatus.CONVERTED, 4)
    steps = house.context.db.read_now(lambda tx: list_history(tx, house.business_id, lead.id))
    assert {step.detail for step in steps if step.what == "crm_event"} == {
        "qualified_lead",
        "appointment",
        "ClosedWon",
        "contacted",
    }
    assert {step.actor for step in steps if step.what in ("crm_event", "status")} == {"tests"}


def test_events_of_unknown_leads_are_named_and_the_others_taken(
    house: House, event_set: str, lead_id: str
) -> None:
    answer = track(house, event_set, event("1"), event(lead_id))
    assert answer["code"] == 20001
    assert answer["data"]["failed_events"] == [
        {"order_in_request": 0, "event": "qualified_lead", "error_message": "Lead not found."}
    ]
    assert read(house, lead_id)[0].status is LeadStatus.QUALIFIED


def test_a_test_event_code_checks_and_keeps_nothing(house: House, event_set: str, lead_id: str) -> None:
    with nothing_changes(house.context.db):
        assert track(house, event_set, event(lead_id), test_event_code="TEST1")["code"] == 0


@pytest.mark.parametrize(
    ("changes", "code", "names"),
    [
        ({"user": {"email": ["mei@example.com"]}}, 40062, "data[0].user.email"),
        ({"user": {"phone": [DIGEST.upper()]}}, 40062, "data[0].user.phone"),
        ({"user": {"external_id": ["x"]}}, 40062, "data[0].user.external_id"),
        ({"lead": None}, 40002, "data[0].lead.lead_id"),
        ({"event_time": 1_795_000_000_000}, 40002, "data[0].event_time"),
        ({"event": "a\nb"}, 40002, "data[0].event"),
        ({"event": "x" * 65}, 40002, "data.0.event"),
        ({"lead": {"lead_id": "1"}}, 40007, "data[0].lead.lead_id"),
    ],
)
def test_a_wrong_event_is_refused_by_name_and_nothing_is_kept(
    house: House, event_set: str, lead_id: str, changes: dict[str, Any], code: int, names: str
) -> None:
    with nothing_changes(house.context.db):
        refused = track(house, event_set, event(lead_id) | changes)
    assert (refused["code"], refused["message"].startswith(names)) == (code, True), refused
    assert "mei@example.com" not in refused["message"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"event_source": "web"}, 40002),
        ({"event_source": "fax"}, 40002),
        ({"event_source_id": "1"}, 40007),
        ({"data": []}, 40002),
        ({"data": [event("1")] * 1_001}, 40061),
    ],
)
def test_a_wrong_request_is_refused_whole(
    house: House, event_set: str, changes: dict[str, Any], code: int
) -> None:
    with nothing_changes(house.context.db):
        assert track(house, event_set, event("1"), **changes)["code"] == code


def test_an_ad_account_has_fifty_event_sets_at_most_each_with_its_own_name(
    house: House, event_set: str
) -> None:
    assert house.api("POST", "/crm/create/", name="Our CRM")["code"] == 40002
    assert house.api("POST", "/crm/create/", name="x" * 41)["code"] == 40002
    for number in range(49):
        house.data("POST", "/crm/create/", name=f"Set {number}")
    assert house.api("POST", "/crm/create/", name="One more")["code"] == 40502
    assert len(house.data("GET", "/crm/list/", event_set_ids=[event_set])["crm_event_sets"]) == 1
    assert len(house.data("GET", "/crm/list/", name="Set 7")["crm_event_sets"]) == 1
    assert len(house.data("GET", "/crm/list/")["crm_event_sets"]) == 50
