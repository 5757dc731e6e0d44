"""The pages of the Leads Center through the real doors: forms, conflicts, permissions and foreign rows."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Role
from contatto.leads.actions import records as actions
from contatto.leads.store.records import find_lead
from tests import make
from tests.journeys.running import House, csrf_of, running_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def a_lead(house: House, business_id: str | None = None, person_id: str = "p1", **changes: str) -> str:
    of = business_id or house.business_id
    return house.context.db.write_now(
        lambda tx: make.lead(tx, of, person_id=person_id, channel_account_id=house.webchat_id, **changes)
    ).id


def post(house: House, path: str, **values: str) -> int:
    token = csrf_of(house.client.get("/leads").text)
    return house.client.post(path, data=values | {"csrf_token": token}, follow_redirects=False).status_code


def sign_in_as(house: House, role: Role) -> None:
    new = NewMember(f"{role.value}@example.com", role.value, role, "a long enough password")
    hashed = accounts.hash_password(new.password)
    house.context.db.write_now(lambda tx: accounts.add_member(tx, house.business_id, new, hashed))  # type: ignore[arg-type]
    house.client.cookies.clear()
    page = house.client.get("/login").text
    form = {"email": new.email, "password": new.password, "csrf_token": csrf_of(page)}
    assert house.client.post("/login", data=form, follow_redirects=False).status_code == 303


def test_notes_tasks_and_labels_show_on_the_lead_and_hostile_ones_as_text(house: House) -> None:
    lead_id = a_lead(house)
    hostile = "<script>alert(1)</script>"
    assert post(house, f"/leads/{lead_id}/notes", text=hostile) == 303
    assert post(house, f"/leads/{lead_id}/tasks", text=hostile, due_on="2026-01-05") == 303
    assert post(house, f"/leads/{lead_id}/labels", name=hostile) == 303
    page = house.client.get(f"/leads/{lead_id}").text
    assert page.count("&lt;script&gt;alert(1)") >= 4
    assert hostile not in page
    assert hostile not in house.client.get("/leads?column=labels").text
    assert hostile not in house.client.get("/leads/views").text


def test_the_second_of_two_who_edit_a_note_gets_a_conflict_that_keeps_the_first(house: House) -> None:
    lead_id = a_lead(house)
    post(house, f"/leads/{lead_id}/notes", text="first")
    note_id = re.findall(r'id="note-([0-9a-f-]{36})"', house.client.get(f"/leads/{lead_id}").text)[0]
    path = f"/leads/{lead_id}/notes/{note_id}"
    assert post(house, path, text="second", seen="0", do="save") == 303
    assert post(house, path, text="third", seen="0", do="save") == 409
    page = house.client.get(f"/leads/{lead_id}").text
    assert "second" in page
    assert "third" not in page


def test_a_form_without_the_token_changes_nothing(house: House) -> None:
    lead_id = a_lead(house)
    for path in ("notes", "tasks", "labels", "owner", "restore"):
        assert (
            house.client.post(f"/leads/{lead_id}/{path}", data={"text": "x", "name": "x"}).status_code == 403
        )


def test_rows_of_another_business_cannot_be_seen_or_changed(house: House) -> None:
    other = house.context.db.write_now(lambda tx: make.business(tx, "Other"))
    foreign = a_lead(house, other.id)
    assert house.client.get(f"/leads/{foreign}").status_code == 404
    for path, values in {
        "notes": {"text": "x"}, "tasks": {"text": "x"}, "labels": {"name": "x"}, "owner": {"owner": ""},
        "restore": {}, "status": {"status": "contacted", "seen": "raw"}, "notes/1": {"text": "x"},
        "tasks/1": {"text": "x"}, "labels/1/remove": {},
    }.items():  # fmt: skip
        assert post(house, f"/leads/{foreign}/{path}", **values) == 404, path
    assert "0 leads" in house.client.get("/leads").text


def test_an_analyst_sees_no_leads_and_an_agent_gets_no_file(house: House) -> None:
    lead_id = a_lead(house)
    sign_in_as(house, Role.AGENT)
    assert 'id="csv"' not in house.client.get("/leads").text
    assert house.client.get("/leads.csv").status_code == 403
    sign_in_as(house, Role.ANALYST)
    for path in ("/leads", "/leads/rows", "/leads/views", f"/leads/{lead_id}", "/leads.csv"):
        assert house.client.get(path).status_code == 403, path


def test_a_saved_view_keeps_only_what_the_grammar_knows(house: House) -> None:
    a_lead(house)
    query = "status=raw&status=nonsense&drop=table&column=owner&q=mei"
    assert post(house, "/leads/views", name="Raw ones", query=query, shared="true") == 303
    bar = house.client.get("/leads/views").text
    assert 'href="/leads?q=mei&amp;status=raw&amp;column=owner"' in bar
    assert re.search(r"Raw ones</span><span class=\"chip__n\">1<", bar)
    view_id = re.findall(r"/leads/views/([0-9a-f-]{36})", bar)[0]
    assert post(house, f"/leads/views/{view_id}", do="delete", query="") == 303
    assert "Raw ones" not in house.client.get("/leads/views").text


def test_a_chip_leads_to_the_list_without_it(house: House) -> None:
    a_lead(house)
    page = house.client.get("/leads?status=raw&country=SG&has=phone&sort=name").text
    assert 'href="/leads?country=SG&amp;has=phone&amp;sort=name"' in page
    assert 'href="/leads?status=raw&amp;country=SG&amp;sort=name"' in page
    assert "1 lead<" in page


def test_a_deleted_lead_says_so_and_can_be_restored(house: House) -> None:

    lead_id = a_lead(house)
    db = house.context.db
    lead = db.read_now(lambda tx: find_lead(tx, house.business_id, lead_id))
    assert lead
    db.write_now(lambda tx: actions.delete_lead(tx, lead, "Owner"))
    assert "This lead was deleted" in house.client.get(f"/leads/{lead_id}").text
    assert post(house, f"/leads/{lead_id}/restore") == 303
    assert "This lead was deleted" not in house.client.get(f"/leads/{lead_id}").text
