"""Connecting a CRM by consent at its vendor's: through the running app, its worker and a vendor in memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path

import httpx2
import pytest

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Role
from contatto.crm.actions.checks import CheckWork
from contatto.crm.actions.deliveries import CrmPorts, queue_work
from contatto.crm.model import Target, TargetState
from contatto.crm.registry import CONNECTORS
from contatto.crm.store.deliveries import list_targets, record_target
from contatto.kit.db.tx import Parts, Tx
from contatto.leads.ports import LeadPorts
from contatto.measurement.actions import ChargePort
from contatto.simulator.crms.failure_kit import CASES
from contatto.simulator.crms.server import CrmServer
from contatto.wiring import PORTS
from tests.crm.consent import CLIENT_ID, CLIENT_SECRET, ConsentFake, landed, led_to
from tests.journeys.running import PASSWORD, House, csrf_of, running_house, until, weak_hash

HOME = "/integrations/oauth"
CALLBACK = f"{HOME}/callback"
APP = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


@dataclass
class Road:
    """A house, and a vendor to which its members go."""

    house: House
    vendor: ConsentFake

    def post(self, path: str, **form: str) -> httpx2.Response:
        token = csrf_of(self.house.client.get("/settings").text)
        data = form | {"csrf_token": token}
        return self.house.client.post(path, data=data, follow_redirects=False)

    def begin(self, **changes: str) -> str:
        """Link it by its own form; the page from which the member goes on."""
        given = dict(CASES[self.vendor.name].settings) | APP | changes
        shown = self.house.client.get(f"{HOME}/{self.vendor.name}/start", follow_redirects=False)
        form = {f"given.{name}": text for name, text in given.items()}
        return where(self.post(shown.headers["location"], **form))

    def address(self, page: str) -> str:
        found = re.search(r'id="allow" href="([^"]+)"', self.house.client.get(page).text)
        assert found, "the page leads nowhere"
        return unescape(found[1])

    def visit(self, address: str) -> dict[str, str]:
        """Go to the vendor; what it sends back."""
        answer = httpx2.get(address, trust_env=False)
        assert answer.status_code == 302, answer.text
        return landed(answer.headers["location"])

    def come_back(self, sent: dict[str, str]) -> httpx2.Response:
        """Arrive at our page with what the vendor sent, and confirm it there."""
        shown = self.house.client.get(CALLBACK, params=sent, follow_redirects=False)
        if shown.status_code != 200:
            return shown
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', shown.text))
        return self.post(CALLBACK, **{name: unescape(fields[name]) for name in ("state", "code", "server")})

    def target(self) -> Target:
        (found,) = self.house.context.db.read_now(lambda tx: list_targets(tx, self.house.business_id))
        return found

    def shows(self, page: str, text: str) -> bool:
        return bool(until(lambda: text in unescape(self.house.client.get(page).text)))


def where(answer: httpx2.Response) -> str:
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


@contextmanager
def road(name: str, folder: Path, patch: pytest.MonkeyPatch, url: str = "") -> Iterator[Road]:
    vendor = ConsentFake(name, CASES[name].vendor(), f"http://127.0.0.1:8000{CALLBACK}")
    with CrmServer(vendor).running() as server:
        vendor.address = server.address
        connector = led_to(CONNECTORS[name], server.address)
        crm = replace(PORTS[CrmPorts], connectors={**CONNECTORS, name: connector})
        patch.setattr("contatto.wiring.PORTS", Parts(PORTS[LeadPorts], PORTS[ChargePort], crm))
        with running_house(folder, database_url=url, allowed_hosts=("127.0.0.1:*",)) as house:
            house.sign_in()
            yield Road(house, vendor)


@pytest.fixture(params=["sqlite", "postgresql"])
def salesforce(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Road]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_copy")
    with road("salesforce", tmp_path, monkeypatch, url) as found:
        yield found


@pytest.mark.parametrize("name", ["google_sheets", "hubspot", "salesforce", "zoho"])
def test_a_member_allows_it_at_the_vendor_and_leads_go_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with road(name, tmp_path, monkeypatch) as by:
        page = by.begin()
        assert by.target().state is TargetState.DISCONNECTED
        assert where(by.come_back(by.visit(by.address(page)))) == page
        assert by.shows(page, "Connected. Check the field mapping, then start syncing.")
        place = f"/settings/integrations/{by.target().number}"
        assert where(by.post(f"{place}/resume")) == place
        assert by.shows(page, "Connected. Leads are sent automatically.")
        assert page in unescape(by.house.client.get(place).text), "nothing leads to consent again"
        assert until(lambda: by.target().described_at), "the CRM took none of our tokens"
        assert CLIENT_SECRET not in by.house.client.get(page).text

        def look_again(tx: Tx) -> None:
            record_target(tx, by.target(), described_at=None)
            queue_work(tx, by.target(), CheckWork)

        def is_renewed() -> bool:
            by.house.context.db.write_now(
                look_again
            )  # one that was under way with the old token may end first
            return by.vendor.refreshes == 1

        by.vendor.end_access()
        assert until(is_renewed), "the token was not renewed"
        assert until(lambda: by.target().described_at), "the new token was not taken"


def test_a_refusal_is_told_on_the_page_and_the_next_try_connects(salesforce: Road) -> None:
    by = salesforce
    page = by.begin(client_secret="another")
    by.vendor.is_allowed = False
    refused = by.come_back(by.visit(by.address(page)))
    assert refused.status_code == 303
    assert "Access was not granted" in by.house.client.get(refused.headers["location"]).text
    by.vendor.is_allowed = True
    by.come_back(by.visit(by.address(page)))
    assert by.shows(page, "The client ID and client secret do not match")
    target_id = page.partition("target_id=")[2]
    app = f"{HOME}/salesforce/start"
    lacking = by.post(app, target_id=target_id, client_id="", client_secret="sec-9")
    assert lacking.status_code == 422
    assert "sec-9" not in lacking.text
    assert where(by.post(app, target_id=target_id, **APP)) == page
    sent = by.visit(by.address(page))
    by.vendor.end_codes()
    by.come_back(sent)
    assert by.shows(page, "has expired or was already used")
    assert by.target().state is TargetState.DISCONNECTED
    by.vendor.return_address = "https://elsewhere.example.com/callback"
    assert httpx2.get(by.address(page), trust_env=False).status_code == 400
    by.vendor.return_address = f"http://127.0.0.1:8000{CALLBACK}"
    by.come_back(by.visit(by.address(page)))
    assert by.shows(page, "Connected. Check the field mapping")


def test_a_state_is_good_once_and_for_whom_it_was_made(salesforce: Road) -> None:
    by = salesforce
    page = by.begin()
    address = by.address(page)
    sent = by.visit(address)
    forged = {**sent, "state": sent["state"][:-4] + "AAAA"}
    other = {**sent, "state": sent["state"].replace(sent["state"].partition(".")[0], "1")}
    for wrong in (forged, other, {**sent, "state": ""}, {"code": "x"}):
        assert by.house.client.get(CALLBACK, params=wrong).status_code == 401
        assert by.post(CALLBACK, **({"state": "", "code": "x"} | wrong)).status_code in (401, 422)
    without = by.house.client.post(CALLBACK, data=sent)
    assert without.status_code == 403, "a form of another site was taken"
    mine = dict(by.house.client.cookies)

    def move_in(tx: Tx) -> None:
        business = accounts.create_business(tx, "Rivals")
        new = NewMember("rival@example.com", "Rival", Role.OWNER)
        accounts.add_member(tx, business.id, new, weak_hash(PASSWORD))

    by.house.context.db.write_now(move_in)
    for email in ("rival@example.com", "owner@example.com"):  # another tenant, then another session
        by.house.client.cookies.clear()
        token = csrf_of(by.house.client.get("/login").text)
        form = {"email": email, "password": PASSWORD, "csrf_token": token}
        assert by.house.client.post("/login", data=form, follow_redirects=False).status_code == 303
        assert by.house.client.get(CALLBACK, params=sent).status_code == 401
        assert by.post(CALLBACK, state=sent["state"], code=sent["code"]).status_code == 401
        if email.startswith("rival"):
            assert by.house.client.get(page).status_code == 404
            target_id = page.partition("target_id=")[2]
            assert by.post(page.partition("?")[0], target_id=target_id, **APP).status_code == 404
            assert by.post(f"{HOME}/zoho/start", target_id=target_id, **APP).status_code == 404
    assert by.target().state is TargetState.DISCONNECTED
    assert by.vendor.access == ""
    by.house.client.cookies.clear()
    by.house.client.cookies.update(mine)
    assert by.come_back(sent).status_code == 303
    assert by.shows(page, "Connected. Check the field mapping")
    again = by.visit(address)  # the vendor gives a code for the old state once more
    assert by.come_back(again).status_code == 409
    assert by.come_back(by.visit(by.address(page))).status_code == 303, "a new state is good"


def test_only_what_has_consent_begins(salesforce: Road) -> None:
    for name in ("tryton", "webhook", "nosuch"):
        assert salesforce.house.client.get(f"{HOME}/{name}/start").status_code == 404
        assert salesforce.post(f"{HOME}/{name}/start", target_id="1", **APP).status_code == 404
