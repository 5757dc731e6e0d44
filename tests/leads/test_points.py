"""Contact details of a lead through its page: added, corrected, the main one, called wrong, put back."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from contatto.capture.model import MessageContacts
from contatto.capture.store import list_uncorrected
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from contatto.leads.actions.annotations import (
    purge_rejected,
    put_back_contact,
    reject_contact_point,
)
from contatto.leads.model import Actor, Lead
from contatto.leads.store import listing, records, tables
from contatto.leads.store.records import list_rejected
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import find_attribution
from tests import make
from tests.journeys.running import House, csrf_of, running_house
from tests.quoting import quotes

PHONE, MAIL = "+6591234567", "mei@example.com"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def a_lead(house: House, *values: str) -> str:
    contacts = [make.contact(value) for value in values]
    return house.context.db.write_now(
        lambda tx: make.lead(tx, house.business_id, *contacts, channel_account_id=house.webchat_id)
    ).id


def post(house: House, path: str, **values: str) -> tuple[int, str]:
    token = csrf_of(house.client.get("/leads").text)
    answer = house.client.post(path, data=values | {"csrf_token": token})
    return answer.status_code, answer.text


def shown(page: str) -> list[tuple[str, str]]:
    """Each contact detail with its badge."""
    found = []
    for item in page.split('<li class="found-item">')[1:]:
        value = re.findall(r'<bdi dir="ltr" class="wrap-any">([^<]+)</bdi>', item)[0]
        badge = re.findall(r'<span class="badge[^"]*">(Main|Wrong)</span>', item)
        found.append((value, badge[0] if badge else ""))
    return found


def point_of(page: str, value: str) -> str:
    item = next(each for each in page.split('<li class="found-item">')[1:] if value in each)
    return re.findall(r"/points/([0-9a-f-]{36})", item)[0]


def test_a_number_that_is_wrong_is_the_main_one_no_more_and_calls_nobody(house: House) -> None:
    lead_id = a_lead(house, PHONE)
    _, page = post(house, f"/leads/{lead_id}/points", field="phone", value="9222 3333")
    assert shown(page) == [(PHONE, "Main"), ("+6592223333", "")]
    path = f"/leads/{lead_id}/points/{point_of(page, PHONE)}"
    code, page = post(house, path, do="wrong", seen=PHONE)
    assert (code, shown(page)) == (200, [("+6592223333", "Main"), (PHONE, "Wrong")])
    assert f"tel:{PHONE}" not in page
    assert f"Marked as wrong: {PHONE}" in page
    assert PHONE not in house.client.get("/leads.csv").text
    code, page = post(house, path, do="right", seen=PHONE)
    assert shown(page) == [(PHONE, "Main"), ("+6592223333", "")]


def test_a_wrong_number_that_becomes_the_main_one_counts_for_filters_again(house: House) -> None:
    lead_id = a_lead(house, PHONE)
    path = f"/leads/{lead_id}/points/{point_of(house.client.get(f'/leads/{lead_id}').text, PHONE)}"
    post(house, path, do="wrong", seen=PHONE)
    assert lead_id not in house.client.get("/leads/rows?has=phone").text
    assert post(house, path, do="main", seen=PHONE)[0] == 200
    assert lead_id in house.client.get("/leads/rows?has=phone").text


def test_a_detail_is_corrected_and_chosen_as_the_main_one_and_the_history_says_so(house: House) -> None:
    lead_id = a_lead(house, PHONE, MAIL)
    page = house.client.get(f"/leads/{lead_id}").text
    path = f"/leads/{lead_id}/points/{point_of(page, PHONE)}"
    code, page = post(house, path, do="save", seen=PHONE, value="9123 9999")
    assert (code, "+6591239999" in page) == (200, True)
    assert f"Contact detail changed: {PHONE} → +6591239999" in page
    _, page = post(house, f"/leads/{lead_id}/points/{point_of(page, MAIL)}", do="main", seen=MAIL)
    assert shown(page)[0] == (MAIL, "Main")
    code, page = post(house, path, do="save", seen=PHONE, value="9123 0000")
    assert (code, "Somebody else changed this contact detail" in page) == (409, True)
    assert "+6591230000" not in page


@pytest.mark.parametrize(
    ("field", "value"),
    [("phone", "12"), ("email", "nothing"), ("phone", PHONE), ("phone", ""), ("line", "?")],
)
def test_what_is_no_detail_or_there_already_is_refused_on_the_page(
    house: House, field: str, value: str
) -> None:
    lead_id = a_lead(house, PHONE)
    code, page = post(house, f"/leads/{lead_id}/points", field=field, value=value)
    assert (code, 'id="lead-notice"' in page) == (422, True)
    assert shown(page) == [(PHONE, "Main")]


def test_not_a_contact_is_put_back_with_its_evidence_and_is_captured_again(house: House) -> None:
    lead_id = a_lead(house, PHONE, MAIL)
    page = house.client.get(f"/leads/{lead_id}").text
    _, page = post(house, f"/leads/{lead_id}/points/{point_of(page, PHONE)}/reject")
    assert shown(page) == [(MAIL, "Main")]
    back = re.findall(rf"/leads/{lead_id}/rejected/[0-9a-f-]+/undo", page)[0]
    code, page = post(house, back)
    assert code == 200
    assert sorted(shown(page)) == sorted([(PHONE, "Main"), (MAIL, "")])
    assert page.count("Original text") == 2
    assert "Contact detail restored: Phone" in page
    assert back not in page
    assert post(house, back)[0] == 404
    [found] = house.context.db.read_now(
        lambda tx: list_uncorrected(tx, house.business_id, [MessageContacts((make.contact(PHONE),), None)])
    )
    assert [match.value for match in found.contacts] == [PHONE]


def test_a_lead_that_went_with_its_only_detail_comes_back_and_counts_again(house: House) -> None:
    lead_id = a_lead(house, PHONE)
    db, of = house.context.db, house.business_id
    before = db.read_now(lambda tx: find_attribution(tx, of, lead_id, ConversionKind.LEAD))
    page = house.client.get(f"/leads/{lead_id}").text
    code, page = post(house, f"/leads/{lead_id}/points/{point_of(page, PHONE)}/reject")
    assert (code, "Not a contact detail" in page) == (200, True)
    assert db.read_now(lambda tx: records.find_lead(tx, of, lead_id)) is None
    back = re.findall(rf"/leads/{lead_id}/rejected/[0-9a-f-]+/undo", page)[0]
    code, page = post(house, back)
    assert (code, shown(page)) == (200, [(PHONE, "Main")])
    assert "Became a lead. Shared: Phone" in page
    assert db.read_now(lambda tx: find_attribution(tx, of, lead_id, ConversionKind.LEAD)) == before


def test_a_label_that_was_taken_off_is_put_back(house: House) -> None:
    lead_id = a_lead(house, PHONE)
    _, page = post(house, f"/leads/{lead_id}/labels", name="vip")
    label = re.findall(r"/labels/([0-9a-f-]{36})/remove", page)[0]
    _, page = post(house, f"/leads/{lead_id}/labels/{label}/remove")
    undo = page.split('class="undos"')[1].split("</ul>")[0]
    assert "Label removed: vip" in undo
    assert 'name="name" value="vip"' in undo
    _, page = post(house, f"/leads/{lead_id}/labels", name="vip")
    assert f"/labels/{label}/remove" in page
    assert 'class="undos"' not in page


@pytest.fixture
def actor(database: Database) -> Actor:
    def build(tx: Tx) -> Actor:
        business = make.business(tx)
        return Actor(business.id, make.member(tx, business.id).id, "Owner")

    return database.write_now(build)


def rejected(database: Database, actor: Actor) -> tuple[Lead, str]:
    lead = database.write_now(lambda tx: make.lead(tx, actor.business_id, make.contact(PHONE)))
    [point] = database.read_now(lambda tx: listing.list_contact_points(tx, actor.business_id, {lead.id}))[
        lead.id
    ]
    database.write_now(lambda tx: reject_contact_point(tx, actor.business_id, lead.id, point.id, actor.name))
    [kept] = database.read_now(lambda tx: list_rejected(tx, actor.business_id, lead.id))
    return lead, kept.id


def test_a_person_who_is_a_lead_again_meanwhile_is_not_made_one_twice(
    database: Database, actor: Actor
) -> None:
    lead, kept = rejected(database, actor)
    database.write_now(
        lambda tx: make.lead(tx, actor.business_id, make.contact(MAIL), person_id=lead.person_id)
    )
    with pytest.raises(Refused, match="now a lead again"):
        database.write_now(lambda tx: put_back_contact(tx, actor, lead.id, kept))


def test_what_was_no_contact_is_sealed_and_forgotten_after_a_month(
    database: Database, actor: Actor, clock: FixedClock
) -> None:
    lead, kept = rejected(database, actor)
    rows = database.read_now(lambda tx: tx.execute(select(tables.rejected_contacts)).all())
    assert not quotes(str(rows), "91234567")
    clock.advance(days=31)
    with pytest.raises(Refused, match="time to restore it is over"):
        database.write_now(lambda tx: put_back_contact(tx, actor, lead.id, kept))
    assert database.write_now(purge_rejected) == 1


def test_nobody_of_another_business_puts_a_contact_back(database: Database, actor: Actor) -> None:
    lead, kept = rejected(database, actor)
    with pytest.raises(Refused, match="already restored"):
        database.write_now(lambda tx: put_back_contact(tx, Actor("other", "m", "Stranger"), lead.id, kept))
