"""The Leads Center shows each member the columns and the density that they chose last."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from contatto.accounts.model import Role
from contatto.kit.db.database import Database
from contatto.leads.rules.records import USUAL_COLUMNS, ListLayout, known_columns
from contatto.leads.store.listing import find_look, save_look
from contatto.leads.store.tables import lead_looks
from tests.journeys.running import House, running_house
from tests.leads.test_center_pages import a_lead, sign_in_as

DENSE, OWNER = "table--dense", '<th scope="col">Owner</th>'


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def test_a_look_is_kept_for_one_member_of_one_business(database: Database) -> None:
    for look in (ListLayout(columns=("owner",), dense=True), ListLayout(columns=("status", "owner"))):
        database.write_now(lambda tx, look=look: save_look(tx, "b1", "m1", look))  # type: ignore[misc]
        assert database.read_now(lambda tx: find_look(tx, "b1", "m1")) == look
    database.write_now(lambda tx: save_look(tx, "b2", "m1", ListLayout(dense=True)))
    assert database.read_now(lambda tx: find_look(tx, "b1", "m1")) == ListLayout(columns=("status", "owner"))
    # an id belongs to one member: nobody else can write over it
    assert database.read_now(lambda tx: find_look(tx, "b2", "m1")) is None
    assert database.read_now(lambda tx: find_look(tx, "b1", "m2")) is None


def test_columns_that_are_gone_are_left_out() -> None:
    assert known_columns(["owner", "shoe size", "contact"]) == ("contact", "owner")
    assert known_columns(["shoe size"]) == USUAL_COLUMNS


def test_what_a_member_chose_shows_again_without_a_word_in_the_address(house: House) -> None:
    a_lead(house)
    usual = house.client.get("/leads").text
    assert DENSE not in usual
    house.client.get("/leads?column=owner&dense=1&status=raw")
    for path in ("/leads", "/leads?status=raw", "/leads/rows"):
        page = house.client.get(path).text
        assert DENSE in page
        assert OWNER in page
        assert '<th scope="col">Contact</th>' not in page
    columns = "&".join(f"column={each}" for each in USUAL_COLUMNS)
    house.client.get(f"/leads?{columns}")
    assert DENSE not in house.client.get("/leads").text
    house.client.get("/leads/rows?column=owner&dense=1")
    assert DENSE not in house.client.get("/leads").text, "only the page itself keeps what it is asked for"


def test_another_member_sees_their_own_columns(house: House) -> None:
    a_lead(house)
    house.client.get("/leads?column=owner&dense=1")
    sign_in_as(house, Role.AGENT)
    assert DENSE not in house.client.get("/leads").text


def test_who_may_not_read_leads_keeps_nothing(house: House) -> None:
    sign_in_as(house, Role.ANALYST)
    assert house.client.get("/leads?column=owner&dense=1").status_code == 403
    count = select(func.count()).select_from(lead_looks)
    assert house.context.db.read_now(lambda tx: tx.scalar(count)) == 0
