"""An owner links a CRM, maps it, tries a lead, and mends what breaks; the CRM is an Odoo in memory."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from contatto.simulator.crms.self_hosted import ODOO_DATABASE, ODOO_KEY, ODOO_USER, OdooFake
from contatto.simulator.crms.server import CrmServer
from tests.conformance.conftest import running_server_house
from tests.journeys.running import EMAIL, PASSWORD, House, message, until

pytestmark = pytest.mark.browser


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_server_house(tmp_path, allowed_hosts=("127.0.0.1:*",)) as running:
        running.client.timeout = 60.0  # a busy machine needs time
        yield running


@pytest.fixture
def crm() -> Iterator[CrmServer]:
    with CrmServer(OdooFake()).running() as server:
        yield server


def write(house: House, user: str, phone: str) -> None:
    said = message(f"my number is +65 {phone}", user, int(time.time()) * 1_000)
    assert house.webhook("im_receive_msg", said).status_code == 200


def shows(page: Page, where: str, text: str) -> bool:
    page.goto(where)
    return text in page.locator("main").inner_text()


def has_verified(page: Page, home: str, count: int) -> bool:
    page.goto(home)
    cards = page.locator("#standing .kpi").filter(has=page.get_by_text("Verified", exact=True))
    return cards.locator("dd").first.inner_text() == str(count)


def link(house: House, crm: CrmServer, page: Page) -> str:
    """Log in, and link the CRM; give the address of its page."""
    url = str(house.client.base_url).rstrip("/")
    page.goto(f"{url}/login")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/home"))
    page.goto(f"{url}/settings")
    page.get_by_role("navigation", name="Settings").get_by_role("link", name="Integrations").click()
    expect(page.get_by_text("No CRM connected yet")).to_be_visible()
    page.get_by_role("link", name=re.compile("Odoo")).click()
    page.get_by_label("Address").fill(crm.address)
    page.get_by_label("Database").fill(ODOO_DATABASE)
    page.get_by_label("User", exact=True).fill(ODOO_USER)
    page.get_by_label("API key").fill(ODOO_KEY)
    page.get_by_role("button", name="Connect CRM").click()
    expect(page.locator("#state")).to_have_text("Not started")
    return page.url


def map_and_try(page: Page, home: str) -> None:
    """Map our status to their priority, and try the lead that is shown."""
    assert until(lambda: shows(page, f"{home}/mapping", "+6591234567"))
    page.get_by_label("Lead field, new row 1").select_option("Status")
    page.get_by_label("CRM field, new row 1").select_option("Priority")
    page.get_by_role("button", name="Save mapping").click()
    for status in ("Raw", "Contacted", "Qualified", "Unqualified", "Converted"):
        page.get_by_label(f"CRM value for {status}").select_option("Medium")
    page.get_by_role("button", name="Save mapping").click()
    page.get_by_role("button", name="Test with this lead").click()
    expect(page.get_by_text("This would create a new record.")).to_be_visible(timeout=60_000)
    trial = page.get_by_role("group", name="Test with this lead")
    expect(trial.get_by_role("row", name=re.compile("priority"))).to_contain_text("1")


def test_an_owner_links_a_crm_maps_tests_breaks_and_mends_it_until_all_is_verified(
    house: House, crm: CrmServer, page: Page
) -> None:
    memory = crm.vendor.crm
    write(house, "anna", "9123 4567")
    home = link(house, crm, page)
    assert until(lambda: shows(page, home, "6 fields"))
    map_and_try(page, home)
    assert not memory.records  # a trial writes nothing

    page.goto(home)
    page.get_by_role("button", name="Start syncing").click()
    assert until(lambda: has_verified(page, home, 1))
    assert [each.values["phone"] for each in memory.live()] == ["+6591234567"]

    # somebody removes a field that the CRM itself requires: a failed delivery that says why
    name = memory.fields["name"]
    del memory.fields["name"]  # by an administrator
    write(house, "bea", "9123 4568")
    all_of_them = home.rpartition("/")[0]
    assert until(lambda: shows(page, all_of_them, "1 lead was not delivered to Odoo"))
    page.get_by_role("link", name="View details").first.click()
    page.get_by_role("link", name="View failed deliveries").click()
    row = page.get_by_role("group", name="Log").get_by_role("row", name=re.compile("Failed"))
    expect(row).to_contain_text("A CRM field rejects its value")

    # mended there, edited here, sent again, and verified
    memory.fields["name"] = name
    page.goto(home)
    page.get_by_role("button", name="Read fields now").click()
    assert until(lambda: not shows(page, home, "no longer fits its fields"))
    page.goto(f"{home}/log?state=dead")
    page.get_by_role("link", name="Edit and resend").click()
    page.get_by_label("Contact Name").fill("Bea by hand")
    page.get_by_role("button", name="Send again").click()
    expect(page).to_have_url(re.compile("/log$"))
    assert until(lambda: has_verified(page, home, 2))
    assert {each.values["contact_name"] for each in memory.live()} >= {"Bea by hand"}


def test_the_pages_of_a_crm_refresh_themselves_and_keep_what_is_typed(
    house: House, crm: CrmServer, page: Page
) -> None:
    write(house, "anna", "9123 4567")
    home = link(house, crm, page)
    page.get_by_role("button", name="Start syncing").click()
    verified = (
        page.locator("#standing .kpi")
        .filter(has=page.get_by_text("Verified", exact=True))
        .locator("dd")
        .first
    )
    expect(verified).to_have_text("1", timeout=60_000)
    expect(page.locator("#connection-facts")).to_contain_text("6 fields", timeout=60_000)
    page.get_by_label(re.compile("Enter the name to confirm")).fill("Od")
    write(house, "bea", "9123 4568")
    expect(verified).to_have_text("2", timeout=60_000)
    expect(page.get_by_label(re.compile("Enter the name to confirm"))).to_have_value("Od")
    page.goto(f"{home}/log?state=verified")
    rows = page.get_by_role("group", name="Log").locator("tbody tr")
    expect(rows).to_have_count(2)
    write(house, "carl", "9123 4569")
    expect(rows).to_have_count(3, timeout=60_000)
    page.goto(home.rpartition("/")[0])
    card = page.locator("#integrations")
    write(house, "dora", "9123 4560")
    expect(card).to_contain_text("4", timeout=60_000)
