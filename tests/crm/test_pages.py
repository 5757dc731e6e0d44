"""The pages of linked CRMs, through the running app and its worker, against an Odoo in memory."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from html import unescape
from typing import Any

import pytest

from contatto.crm.model import TargetState
from contatto.crm.registry import CONNECTORS
from contatto.crm.store.deliveries import list_targets
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_contact_points, list_leads
from contatto.simulator.crms.self_hosted import ODOO_DATABASE, ODOO_KEY, ODOO_USER, OdooFake
from contatto.simulator.crms.server import CrmServer
from tests import postgres
from tests.journeys.running import House, csrf_of, message, running_house, until

HOME = "/settings/integrations"
GIVEN = {
    "given.database": ODOO_DATABASE,
    "given.user": ODOO_USER,
    "given.password": ODOO_KEY,
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as over:
        url = ""
        if request.param == "postgresql":
            databases = request.getfixturevalue("emptied_databases")
            taken = databases.take()
            over.callback(databases.give_back, taken)
            url = postgres.url_of(taken.name)
        running = running_house(
            tmp_path_factory.mktemp("house"), database_url=url, allowed_hosts=("127.0.0.1:*",)
        )
        house = over.enter_context(running)
        house.sign_in()
        yield house


@pytest.fixture
def crm() -> Iterator[CrmServer]:
    with CrmServer(OdooFake()).running() as server:
        yield server


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", unescape(html)).split())


def see(house: House, path: str = HOME) -> str:
    return words(house.client.get(path).text)


def post(house: House, path: str, **form: str) -> tuple[int, str]:
    token = csrf_of(house.client.get(HOME).text)
    answer = house.client.post(path, data=form | {"csrf_token": token}, follow_redirects=False)
    return answer.status_code, answer.headers.get("location", "") or words(answer.text)


def link(house: House, crm: CrmServer, name: str, **changes: str) -> str:
    """Link the Odoo in memory; give the path of its page."""
    form = {"name": name, "address": crm.address, **GIVEN, **changes}
    status, place = post(house, f"{HOME}/connect/odoo", **form)
    assert status == 303, place
    return place


def state(house: House, place: str) -> TargetState:
    number = int(place.rpartition("/")[2])
    found = house.context.db.read_now(lambda tx: list_targets(tx, house.business_id))
    return next(each.state for each in found if each.number == number)


def test_a_crm_is_linked_looked_at_started_paused_and_removed(house: House, crm: CrmServer) -> None:
    assert "No CRM connected yet" in see(house)
    place = link(house, crm, "Our Odoo")
    assert state(house, place) is TargetState.PAUSED
    assert until(lambda: "fields," in see(house, place))
    assert "Not started" in see(house, place)
    assert "Our Odoo" in see(house)
    for act, then in (("resume", "Syncing"), ("pause", "Paused"), ("resync", "Paused")):
        assert post(house, f"{place}/{act}") == (303, place)
        assert then in see(house, place)
    status, page = post(house, f"{place}/remove", word="something else")
    assert (status, "Nothing was removed" in page) == (422, True)
    assert post(house, f"{place}/remove", word="our odoo") == (303, HOME)
    assert house.client.get(place).status_code == 404


def test_what_is_missing_is_said_in_place_and_what_was_typed_stays(house: House) -> None:
    typed = {"address": "http://10.0.0.1", "given.database": "crm", "given.user": "ada", "given.password": ""}
    status, page = post(house, f"{HOME}/connect/odoo", **typed)
    assert (status, "API key: Enter a value." in page) == (422, True)
    status, page = post(house, f"{HOME}/connect/odoo", **typed | {"given.password": "k"})
    assert (status, "Enter a public https address" in page) == (422, True)
    token = csrf_of(house.client.get(HOME).text)
    sent = typed | {"given.password": "sesame-0815", "csrf_token": token}
    answer = house.client.post(f"{HOME}/connect/odoo", data=sent)
    assert 'value="ada"' in answer.text
    assert "sesame-0815" not in answer.text


def test_a_secret_that_may_be_left_out_is_marked_as_optional(house: House) -> None:
    shown = see(house, f"{HOME}/connect/hubspot")
    assert "Access token of a private app (optional)" in shown
    assert "Client secret of the app (optional)" in shown
    assert "(optional)" not in see(house, f"{HOME}/connect/tryton").replace("Name (optional)", "")


def test_a_wrong_secret_is_shown_where_it_is_mended(house: House, crm: CrmServer) -> None:
    place = link(house, crm, "Wrong key", **{"given.password": "wrong"})
    assert until(lambda: "rejects the token or password" in see(house, place))
    assert state(house, place) is TargetState.PAUSED  # nobody has started it
    given = {
        "given.database": ODOO_DATABASE,
        "given.user": ODOO_USER,
        "given.password": ODOO_KEY,
    }
    assert post(house, f"{place}/reconnect", address=crm.address, **given) == (303, place)
    assert until(lambda: "fields," in see(house, place))
    post(house, f"{place}/remove", word="Wrong key")


def test_each_connector_is_offered_once_and_asks_for_what_it_describes(house: House) -> None:
    page = house.client.get(HOME).text
    connectors = re.findall(rf'href="{HOME}/connect/(\w+)"', page)
    assert len(connectors) == len(set(connectors)) == len(CONNECTORS)
    for name in connectors:
        assert house.client.get(f"{HOME}/connect/{name}").status_code == 200
    assert house.client.get(f"{HOME}/connect/nothing").status_code == 404


def captured(house: House, user: str, phone: str) -> str:
    """Somebody writes their number; give the id of the lead."""
    said = message(f"my number is +65 {phone}", user, int(time.time()) * 1_000)
    assert house.webhook("im_receive_msg", said).status_code == 200

    def look() -> str:
        found = house.context.db.read_now(
            lambda tx: {
                point.value: point.lead_id
                for lead in list_leads(tx, house.business_id, LeadFilter())
                for point in list_contact_points(tx, house.business_id, {lead.id})[lead.id]
            }
        )
        return str(found.get(f"+65{phone.replace(' ', '')}", ""))

    lead_id = until(look)
    assert lead_id
    return lead_id


def test_a_lead_is_tried_and_nothing_is_written_until_the_sync_is_started(
    house: House, crm: CrmServer
) -> None:
    place = link(house, crm, "Tried")
    assert until(lambda: "fields," in see(house, place))
    lead = captured(house, "anna", "9123 4567")
    rows = {"source": ["name", "phone", "status"], "target": ["name", "phone", "priority"]}
    words = {
        "word_field": ["priority"] * 2,
        "word_ours": ["raw", "qualified"],
        "word_theirs": ["0", "2"],
        "lead_id": lead,
    }
    token = csrf_of(house.client.get(HOME).text)
    saved = house.client.post(
        f"{place}/mapping", data=rows | words | {"csrf_token": token}, follow_redirects=False
    )
    assert saved.status_code == 303
    shown = see(house, f"{place}/mapping?lead_id={lead}")
    assert "Not among the field's options, so not written: contacted" in shown  # its word is not mapped yet
    assert post(house, f"{place}/trial", lead_id=lead)[0] == 303
    assert until(lambda: "This would create a new record." in see(house, f"{place}/mapping?lead_id={lead}"))
    assert crm.vendor.crm.records == {}

    known = crm.vendor.crm.make({"name": "Anna", "phone": "+6591234567", "email_from": ""})
    assert post(house, f"{place}/trial", lead_id=lead)[0] == 303
    assert until(lambda: f"update record {known.id}" in see(house, f"{place}/mapping?lead_id={lead}"))
    twice = {"source": ["name", "phone"], "target": ["name", "name"], "csrf_token": token}
    refused = house.client.post(f"{place}/mapping", data=twice)
    assert (refused.status_code, "can be used only once" in refused.text) == (422, True)
    assert len(crm.vendor.crm.records) == 1
    post(house, f"{place}/remove", word="Tried")


def test_a_dead_letter_says_why_and_is_edited_and_sent_again(house: House, crm: CrmServer) -> None:
    lead = captured(house, "bea", "9123 4568")
    place = link(house, crm, "Dying")
    assert until(lambda: "fields," in see(house, place))
    name = crm.vendor.crm.fields["name"]
    del crm.vendor.crm.fields["name"]  # by an administrator
    assert post(house, f"{place}/resume") == (303, place)
    assert until(lambda: "Send all failed again" in see(house, f"{place}/log"))
    assert "not delivered to Dying" in see(house)
    crm.vendor.crm.fields["name"] = name
    assert post(house, f"{place}/check") == (303, place)
    assert until(lambda: "Opportunity" in see(house, f"{place}/mapping?lead_id={lead}"))
    letters = re.findall(
        rf'/leads/([0-9a-f-]+)".*?{place}/dead/(\d+)', house.client.get(f"{place}/log?state=dead").text, re.S
    )
    letter = dict(letters)[lead]
    shown = see(house, f"{place}/dead/{letter}")
    assert "Not delivered" in shown
    assert post(house, f"{place}/dead/{letter}", **{"value.contact_name": "Bea Edited"})[0] == 303
    assert post(house, f"{place}/resend")[0] == 303
    assert until(lambda: "Bea Edited" in {each.values.get("contact_name") for each in crm.vendor.crm.live()})
    assert until(lambda: "Failed" not in see(house, f"{place}/log").partition("Actions")[2])
    status, page = post(house, f"{place}/dead/{letter}")
    assert (status, "Nothing was sent" in page) == (409, True)
    post(house, f"{place}/remove", word="Dying")


def test_the_ledger_adds_up_on_the_page_and_in_the_api(house: House, crm: CrmServer) -> None:
    place = link(house, crm, "Counted")
    lead = captured(house, "carl", "9123 4569")
    post(house, f"{place}/resume")
    number = place.rpartition("/")[2]

    def told() -> dict[str, Any]:
        found = house.data("GET", "/contatto/crm/ledger/get/")
        intake = found["intake"]
        parts = ("stored", "merged", "refused", "waiting")
        assert intake["received"] == sum(intake[each] for each in parts) > 0
        (of_ours,) = [each for each in found["targets"] if each["target_id"] == number]
        return dict(of_ours)

    assert until(lambda: told()["verified"] == told()["leads"] > 0)
    found = told()
    assert (found["adds_up"], found["alarms"], found["state"]) == (True, [], "active")
    assert found["last_arrived_time"]

    def row() -> str:
        listed = house.client.get("/leads?q=91234569&column=crm").text
        (one,) = re.findall(r'<tr id="lead-[^"]*".*?</tr>', listed, re.S)
        return words(one)

    assert until(lambda: "Verified" in row())  # in every CRM: another test's may still be waiting
    assert "91234569" not in see(house, "/leads?crm=dead&column=contact")
    assert "91234569" in see(house, "/leads?crm=verified&column=contact").replace(" ", "")
    part = house.client.get(f"/leads/{lead}/crm").text
    assert "Counted Verified" in words(part)
    assert f'href="{crm.address}/' in part
    shown = see(house, f"{HOME}/ledger")
    assert "Received = saved + duplicates + rejected + waiting" in shown
    assert re.search(rf"Counted {found['leads']} 0 0 0 {found['verified']} 0 Yes", shown)
    post(house, f"{place}/remove", word="Counted")


def test_its_records_are_compared_on_demand_and_what_differs_is_shown(house: House, crm: CrmServer) -> None:
    place = link(house, crm, "Compared")
    post(house, f"{place}/resume")
    assert until(lambda: state(house, place) is TargetState.ACTIVE)
    crm.vendor.crm.make({"name": "Copy", crm.vendor.crm.our_id: "contatto.lead_unheard_of"})
    assert post(house, f"{place}/compare") == (303, place)
    assert until(lambda: "Unknown records 1" in see(house, place))
    assert "differ from the leads sent" in see(house, place)
    assert "differ from the leads sent" in see(house, f"{HOME}/ledger")
    answer = house.data("GET", "/contatto/crm/ledger/get/")
    (found,) = [each for each in answer["targets"] if each["name"] == "Compared"]
    assert (found["comparison"]["unknown"], found["alarms"]) == (1, ["differs"])
