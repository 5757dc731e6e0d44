"""The statuses of one lead through its page: what is offered, what a mis-click costs, and who was slower."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.errors import Refused
from contatto.leads.actions.records import change_lead_status, undo_lead_status
from contatto.leads.model import HistoryKind, LeadStatus
from contatto.leads.rules.records import MOVES
from contatto.leads.store import records
from contatto.leads.store.tables import leads
from tests import make
from tests.journeys.running import House, csrf_of, running_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def a_lead(house: House) -> str:
    return house.context.db.write_now(lambda tx: make.lead(tx, house.business_id)).id


def post(house: House, path: str, **values: str) -> tuple[int, str]:
    token = csrf_of(house.client.get("/leads").text)
    answer = house.client.post(path, data=values | {"csrf_token": token})
    return answer.status_code, answer.text


def offered(page: str) -> set[str]:
    return set(re.findall(r'<button class="step" name="status" value="(\w+)"', page))


def status_of(house: House, lead_id: str) -> LeadStatus:
    lead = house.context.db.read_now(lambda tx: records.find_lead(tx, house.business_id, lead_id))
    assert lead
    return lead.status


@pytest.mark.parametrize("status", list(LeadStatus))
def test_only_the_changes_of_the_table_are_offered_and_each_of_them_is_taken(
    house: House, status: LeadStatus
) -> None:
    lead_id = a_lead(house)
    for new in sorted(MOVES[status]):
        page = house.client.get(f"/leads/{lead_id}").text
        if status is not LeadStatus.RAW:
            house.context.db.write_now(lambda tx: tx.change(leads, house.business_id, lead_id, status=status))
            page = house.client.get(f"/leads/{lead_id}").text
        assert offered(page) == {each.value for each in MOVES[status]}
        code, page = post(house, f"/leads/{lead_id}/status", status=new.value, seen=status.value)
        assert (code, status_of(house, lead_id)) == (200, new)
        if status is LeadStatus.RAW:
            assert post(house, f"/leads/{lead_id}/status/undo", seen=new.value)[0] == 200


def test_a_mis_click_away_from_raw_is_taken_back_and_the_history_says_so(house: House) -> None:
    lead_id = a_lead(house)
    _, page = post(house, f"/leads/{lead_id}/status", status="unqualified", seen="raw")
    assert f'action="/leads/{lead_id}/status/undo"' in page
    code, page = post(house, f"/leads/{lead_id}/status/undo", seen="unqualified")
    assert (code, status_of(house, lead_id)) == (200, LeadStatus.RAW)
    assert "Status change undone: Unqualified → Raw" in page
    assert f'action="/leads/{lead_id}/status/undo"' not in page
    assert post(house, f"/leads/{lead_id}/status/undo", seen="raw")[0] == 409


def test_who_was_slower_is_told_on_the_page_of_the_lead_and_nothing_is_changed(house: House) -> None:
    lead_id = a_lead(house)
    post(house, f"/leads/{lead_id}/status", status="qualified", seen="raw")
    code, page = post(house, f"/leads/{lead_id}/status", status="contacted", seen="raw")
    assert code == 409
    assert 'id="lead-notice"' in page
    assert "Somebody else changed this. The status is now Qualified; you saw Raw" in page
    assert offered(page) == {"contacted", "unqualified", "converted"}
    assert status_of(house, lead_id) is LeadStatus.QUALIFIED


def test_two_who_choose_the_same_status_do_not_meet(house: House) -> None:
    lead_id = a_lead(house)
    assert post(house, f"/leads/{lead_id}/status", status="qualified", seen="raw")[0] == 200
    assert post(house, f"/leads/{lead_id}/status", status="qualified", seen="raw")[0] == 200
    steps = house.context.db.read_now(lambda tx: records.list_history(tx, house.business_id, lead_id))
    assert [step.what for step in steps].count(HistoryKind.STATUS) == 1


def test_every_refused_change_of_a_lead_is_answered_on_its_page(house: House) -> None:
    lead_id = a_lead(house)
    member = re.findall(r'<option value="([0-9a-f-]{36})"', house.client.get(f"/leads/{lead_id}").text)[0]
    post(house, f"/leads/{lead_id}/owner", owner=member, seen="")
    code, page = post(house, f"/leads/{lead_id}/owner", owner="", seen="somebody else")
    assert (code, 'id="lead-notice"' in page) == (409, True)
    code, page = post(house, f"/leads/{lead_id}/labels", name=" ")
    assert (code, 'id="lead-notice"' in page) == (422, True)


def test_a_change_of_two_days_ago_is_not_undone(database: Database, clock: FixedClock) -> None:
    business_id = database.write_now(make.business).id
    lead = database.write_now(lambda tx: make.lead(tx, business_id))
    raw, new = LeadStatus.RAW, LeadStatus.CONTACTED
    database.write_now(lambda tx: change_lead_status(tx, business_id, lead.id, raw, new, "Owner"))
    clock.advance(days=2)
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: undo_lead_status(tx, business_id, lead.id, new, "Owner"))
    assert refused.value.code is errors.CONFLICT


def test_undoing_needs_the_status_that_was_seen(database: Database) -> None:
    business_id = database.write_now(make.business).id
    lead = database.write_now(lambda tx: make.lead(tx, business_id))
    for seen, new in ((LeadStatus.RAW, LeadStatus.CONTACTED), (LeadStatus.CONTACTED, LeadStatus.QUALIFIED)):
        database.write_now(
            lambda tx, a=seen, b=new: change_lead_status(tx, business_id, lead.id, a, b, "Owner")  # type: ignore[misc]
        )
    with pytest.raises(Refused, match="Somebody else changed this"):
        database.write_now(
            lambda tx: undo_lead_status(tx, business_id, lead.id, LeadStatus.CONTACTED, "Owner")
        )
    database.write_now(lambda tx: undo_lead_status(tx, business_id, lead.id, LeadStatus.QUALIFIED, "Owner"))
    found = database.read_now(lambda tx: records.find_lead(tx, business_id, lead.id))
    assert found
    assert found.status is LeadStatus.CONTACTED
