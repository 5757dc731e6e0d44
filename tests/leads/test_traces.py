"""The timeline of a lead shows what was agreed to, who took it away in a file, and who looked at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from contatto.accounts.model import BusinessId, Role
from contatto.audit import audit_entries, list_audit_entries
from contatto.forms.model import ConsentReceipt
from contatto.forms.store import consent_receipts, form_answers, list_receipts_of_lead
from contatto.kit.db.tx import Tx, row_of
from tests import make
from tests.forms.edges import offer, send
from tests.journeys.running import House, csrf_of, running_house, until
from tests.leads.test_center_pages import a_lead, sign_in_as


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def test_each_consent_stands_in_the_timeline_with_the_text_that_was_shown(house: House) -> None:
    version = offer(house)
    assert send(house, version, {"q1": "mei@example.com"}).status_code == 200
    lead_id = until(lambda: _lead_of_answer(house))

    def ask(tx: Tx) -> None:
        answer_id = tx.scalar(select(form_answers.c.id))
        for number, given in enumerate((True, False)):
            text = f"May we call you {number}? {'x' * 300}"
            receipt = ConsentReceipt(
                f"r{number}", house.business_id, answer_id, "p", f"c{number}", given, text, "h", "", "en",
                tx.now,
            )  # fmt: skip
            tx.insert(consent_receipts, row_of(receipt))

    house.context.db.write_now(ask)
    page = house.client.get(f"/leads/{lead_id}").text
    assert "Agreed to: May we call you 0?" in page
    assert "Did not agree to: May we call you 1?" in page
    assert "x" * 300 not in page
    found = house.context.db.read_now(lambda tx: list_receipts_of_lead(tx, "another", lead_id))
    assert found == []


def _lead_of_answer(house: House) -> str:
    found = house.context.db.read_now(lambda tx: tx.scalar(select(form_answers.c.lead_id)))
    return str(found or "")


def test_who_looked_is_shown_once_a_day_to_those_who_may_read_the_audit_log(house: House) -> None:
    lead_id = a_lead(house)
    for _ in range(3):
        house.client.get(f"/leads/{lead_id}")
    page = house.client.get(f"/leads/{lead_id}").text
    assert "Viewed this lead 3 times on this day" in page
    assert page.count("Viewed this lead") == 1
    sign_in_as(house, Role.AGENT)
    assert "Viewed this lead" not in house.client.get(f"/leads/{lead_id}").text
    sign_in_as(house, Role.ADMIN)
    page = house.client.get(f"/leads/{lead_id}").text
    assert page.count("Viewed this lead") == 2
    business_id = BusinessId(house.context.db.write_now(lambda tx: make.business(tx, "Elsewhere").id))
    is_view = audit_entries.c.act == "GET /leads/{lead_id}", audit_entries.c.object == f"lead_id={lead_id}"
    foreign = house.context.db.read_now(lambda tx: list_audit_entries(tx, business_id, (0, 10), *is_view))
    assert foreign == []


def test_a_file_of_chosen_leads_is_in_their_history_and_in_the_audit_log(house: House) -> None:
    one, other = a_lead(house, person_id="p1"), a_lead(house, person_id="p2")
    token = csrf_of(house.client.get("/leads").text)
    form = {"csrf_token": token, "do": "csv", "ids": [one]}
    assert house.client.post("/leads/bulk", data=form).status_code == 200
    assert "Exported with selected leads" in house.client.get(f"/leads/{one}").text
    assert "Exported with selected leads" not in house.client.get(f"/leads/{other}").text
    acts = select(audit_entries.c.act).where(audit_entries.c.act == "POST /leads/bulk")
    assert house.context.db.read_now(lambda tx: tx.scalar(acts)) is not None


def test_a_refused_download_leaves_nothing_in_the_history(house: House) -> None:
    lead_id = a_lead(house)
    sign_in_as(house, Role.AGENT)
    token = csrf_of(house.client.get("/leads").text)
    form = {"csrf_token": token, "do": "csv", "ids": [lead_id]}
    assert house.client.post("/leads/bulk", data=form).status_code == 403
    assert "Exported with selected leads" not in house.client.get(f"/leads/{lead_id}").text
