"""The pages of linked CRMs, through the running app and its worker, against an Odoo in memory."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from html import unescape

import pytest

from contatto.crm.model.targets import TargetState
from contatto.crm.registry import CONNECTORS
from contatto.crm.store.targets import list_targets
from contatto.simulator.crms import odoo
from contatto.simulator.crms.server import CrmServer
from tests import postgres
from tests.journeys.running import House, csrf_of, running_house, until

HOME = "/settings/integrations"
GIVEN = {"given.database": odoo.DATABASE, "given.user": odoo.USER, "given.password": odoo.KEY}


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
    with CrmServer(odoo.OdooFake()).running() as server:
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
    assert "No CRM is linked yet" in see(house)
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
    assert (status, "API key: this is needed." in page) == (422, True)
    status, page = post(house, f"{HOME}/connect/odoo", **typed | {"given.password": "k"})
    assert (status, "give a public https address" in page) == (422, True)
    token = csrf_of(house.client.get(HOME).text)
    sent = typed | {"given.password": "sesame-0815", "csrf_token": token}
    answer = house.client.post(f"{HOME}/connect/odoo", data=sent)
    assert 'value="ada"' in answer.text
    assert "sesame-0815" not in answer.text


def test_a_wrong_secret_is_shown_where_it_is_mended(house: House, crm: CrmServer) -> None:
    place = link(house, crm, "Wrong key", **{"given.password": "wrong"})
    assert until(lambda: "does not take the token or password" in see(house, place))
    assert state(house, place) is TargetState.PAUSED  # nobody has started it
    given = {"given.database": odoo.DATABASE, "given.user": odoo.USER, "given.password": odoo.KEY}
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
