"""The start page: what came in, what leads cost, what needs somebody, and who lands on it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from contatto.accounts.actions import NewMember, add_member
from contatto.accounts.model import BusinessId, Role
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import SendFailure
from contatto.leads.actions.annotations import add_task
from contatto.leads.model import Actor
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads
from tests.failing import fail_push
from tests.journeys.running import PASSWORD, House, csrf_of, message, running_house, until, weak_hash

NOTHING = "Nothing is waiting for you."


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        yield running


def write_with_a_number(house: House) -> None:
    now_ms = int(house.context.clock.now().timestamp() * 1000)
    text = "my number is +65 8123 4567"
    assert house.webhook("im_receive_msg", message(text, "anna", now_ms)).status_code == 200


def sign_in_as(house: House, role: Role) -> None:
    email = f"{role}@example.com"
    new = NewMember(email, role.capitalize(), role)
    house.context.db.write_now(
        lambda tx: add_member(tx, BusinessId(house.business_id), new, weak_hash(PASSWORD))
    )
    house.client.cookies.clear()
    form = {"email": email, "password": PASSWORD, "csrf_token": csrf_of(house.client.get("/login").text)}
    assert house.client.post("/login", data=form, follow_redirects=False).status_code == 303


def test_an_owner_lands_on_the_start_page_and_a_new_business_is_told_what_is_special(house: House) -> None:
    house.sign_in()
    landing = house.client.get("/", follow_redirects=True)
    assert landing.url.path == "/home"
    assert "Turn chats into leads" in landing.text
    assert 'href="/home" aria-current="page"' in landing.text
    assert NOTHING in landing.text


@pytest.mark.parametrize(("role", "place"), [
    (Role.ADMIN, "/home"), (Role.MANAGER, "/home"), (Role.ANALYST, "/home"), (Role.AGENT, "/inbox"),
])  # fmt: skip
def test_each_role_lands_where_its_work_is(house: House, role: Role, place: str) -> None:
    sign_in_as(house, role)
    assert house.client.get("/", follow_redirects=True).url.path == place
    assert house.client.get("/home").status_code == (403 if role is Role.AGENT else 200)


def test_what_came_in_and_what_waits_is_shown_with_its_number(house: House) -> None:
    house.make_ad("LEAD_GENERATION")
    house.sign_in()
    write_with_a_number(house)
    page = until(lambda: _page_with(house, "1 new lead has not been contacted."))
    assert "1 lead is waiting for your reply." in page
    assert "1 chat has unread messages." in page
    assert NOTHING not in page
    fail_push(house.context.db, house.business_id, trouble=SendFailure.FORBIDDEN)
    assert "1 background job failed." in house.client.get("/home").text


def _page_with(house: House, text: str) -> str:
    page = house.client.get("/home").text
    return page if text in page else ""


def test_a_task_that_is_due_leads_to_its_lead(house: House) -> None:
    house.sign_in()
    write_with_a_number(house)

    def find(tx: Tx) -> str:
        return next((lead.id for lead in list_leads(tx, house.business_id, LeadFilter(), limit=1)), "")

    lead_id = until(lambda: house.context.db.read_now(find))
    today = house.context.clock.now().date()
    actor = Actor(house.business_id, "", "Owner")

    def plan(tx: Tx) -> None:
        for day in (today, today + timedelta(days=1)):
            add_task(tx, actor, lead_id, "Call", day)

    house.context.db.write_now(plan)
    page = house.client.get("/home").text
    assert "1 task is due." in page
    assert f'href="/leads/{lead_id}"' in page


def test_an_analyst_sees_costs_and_nothing_of_chats_and_leads(house: House) -> None:
    write_with_a_number(house)
    sign_in_as(house, Role.ANALYST)
    page = house.client.get("/home").text
    assert "Spend" in page
    assert "Active chats" not in page
    assert "/inbox" not in page
