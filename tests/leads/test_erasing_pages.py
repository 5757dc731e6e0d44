"""The pages that erase people: who may open them, what has to be typed, and what is left to see."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from contatto.accounts.model import Role
from contatto.audit import audit_entries
from contatto.leads.store.records import find_lead
from contatto.leads.store.tables import lead_jobs
from tests import make
from tests.journeys.running import House, csrf_of, running_house, until
from tests.leads.test_center_pages import a_lead, sign_in_as


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def jobs_of(house: House) -> int:
    count = select(func.count()).select_from(lead_jobs)
    return int(house.context.db.read_now(lambda tx: tx.scalar(count)))


def is_there(house: House, lead_id: str) -> bool:
    found = house.context.db.read_now(lambda tx: find_lead(tx, house.business_id, lead_id))
    return found is not None


def send(house: House, path: str, **values: str | list[str]) -> tuple[int, str]:
    token = csrf_of(house.client.get("/leads").text)
    answer = house.client.post(path, data=values | {"csrf_token": token}, follow_redirects=True)
    return answer.status_code, answer.text


def test_a_person_is_erased_from_the_page_of_the_lead(house: House) -> None:
    lead_id = a_lead(house, profile_name="Zelda")
    assert f"/leads/{lead_id}/erase" in house.client.get(f"/leads/{lead_id}").text
    page = house.client.get(f"/leads/{lead_id}/erase").text
    assert "Zelda" in page
    assert "cannot be undone" in page
    code, page = send(house, "/leads/erase", ids=lead_id, word=" Erase ")
    assert code == 200
    assert "cannot be undone" in page
    assert "/undo" not in page
    page = until(lambda: _left(house, lead_id))
    assert "This person was erased" in page
    assert "Owner" in page
    assert "Zelda" not in page
    entries = select(audit_entries.c.act).where(audit_entries.c.act == "POST /leads/erase")
    assert house.context.db.read_now(lambda tx: tx.scalar(entries)) is not None


def _left(house: House, lead_id: str) -> str:
    page = house.client.get(f"/leads/{lead_id}").text
    return page if "was erased" in page else ""


def test_another_word_erases_nobody_and_is_asked_for_again(house: House) -> None:
    lead_id = a_lead(house)
    code, page = send(house, "/leads/erase", ids=lead_id, word="delete")
    assert code == 422
    assert "Nothing was erased" in page
    assert lead_id in page
    assert jobs_of(house) == 0


def test_the_word_may_be_typed_in_the_language_of_the_page(house: House) -> None:
    lead_id = a_lead(house)
    token = csrf_of(house.client.get("/leads").text)
    form = {"ids": lead_id, "word": "cancella", "csrf_token": token}
    answer = house.client.post(
        "/leads/erase", data=form, headers={"accept-language": "it"}, follow_redirects=False
    )
    assert answer.status_code == 303


def test_all_that_match_are_named_before_and_exactly_those_are_erased(house: House) -> None:
    many = [
        a_lead(house, person_id=f"p{n}", profile_name=f"Zelda {n}", contacts=(make.contact(f"+6591{n:06}"),))
        for n in range(25)
    ]
    code, page = send(house, "/leads/erase/ask", all="true", query="q=Zelda")
    assert code == 200
    assert "Erase 25 people" in page
    assert "+5 more" in page
    assert all(lead_id in page for lead_id in many)
    late = a_lead(house, person_id="late", profile_name="Zelda late", contacts=(make.contact("+6598765432"),))
    assert jobs_of(house) == 0, "asking changes nothing"
    send(house, "/leads/erase", ids=",".join(many), word="erase")
    assert until(lambda: not any(is_there(house, lead_id) for lead_id in many))
    assert is_there(house, late)


def test_the_page_warns_of_others_who_share_a_detail(house: House) -> None:
    one, _other = a_lead(house, person_id="p1"), a_lead(house, person_id="p2")
    assert "1 other lead shares a contact detail" in house.client.get(f"/leads/{one}/erase").text


@pytest.mark.parametrize("role", [Role.MANAGER, Role.AGENT, Role.ANALYST])
def test_only_owners_and_admins_may_erase_and_a_refusal_changes_no_row(house: House, role: Role) -> None:
    lead_id = a_lead(house)
    sign_in_as(house, role)
    token = csrf_of(house.client.get("/settings").text)
    assert house.client.get(f"/leads/{lead_id}/erase").status_code == 403
    for path in ("/leads/erase", "/leads/erase/ask"):
        form = {"ids": lead_id, "word": "erase", "csrf_token": token}
        assert house.client.post(path, data=form).status_code == 403
    page = house.client.get(f"/leads/{lead_id}")
    assert "/erase" not in page.text
    assert jobs_of(house) == 0
    assert is_there(house, lead_id)


def test_an_admin_may_erase(house: House) -> None:
    lead_id = a_lead(house)
    sign_in_as(house, Role.ADMIN)
    assert house.client.get(f"/leads/{lead_id}/erase").status_code == 200


def test_leads_of_others_and_too_many_are_refused(house: House) -> None:
    foreign = house.context.db.write_now(lambda tx: make.business(tx, "Elsewhere").id)
    lead_id = a_lead(house, foreign)
    assert house.client.get(f"/leads/{lead_id}/erase").status_code == 404
    code, _ = send(house, "/leads/erase/ask", ids=[lead_id])
    assert code == 404
    code, page = send(house, "/leads/erase", ids=",".join(f"id{n}" for n in range(1_001)), word="erase")
    assert code == 422
    assert "at most 1,000" in page
    assert jobs_of(house) == 0
