"""Who does not look at the page sees in its title that something happened; one click leads to it."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from contatto.accounts import store as accounts
from contatto.accounts.model import BusinessId
from contatto.kit.db.tx import Tx
from contatto.leads.actions.annotations import assign_lead
from contatto.leads.model import Actor
from tests import make
from tests.browser.conftest import Served, serving
from tests.journeys.running import EMAIL, PASSWORD, message

pytestmark = pytest.mark.browser
LOOK_AWAY = "Object.defineProperty(document, 'hidden', { value: true })"


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(
        tmp_path_factory.mktemp("alerts"), smtp_url="smtp://127.0.0.1:1", mail_from="c@x.example.com"
    ) as own:
        yield own


@pytest.fixture
def owner(browser: Browser, served: Served) -> Iterator[Page]:
    context = browser.new_context(locale="en-GB", timezone_id="Asia/Singapore")
    page = context.new_page()
    page.goto(f"{served.url}/login?next=/settings/alerts")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Alerts", level=1)).to_be_visible()
    yield page
    context.close()


def test_a_push_is_shown_by_the_browser_and_the_page_offers_to_subscribe(served: Served, owner: Page) -> None:
    """The push service of a browser is its maker's; what comes from there is handed in by its own tools."""
    owner.context.grant_permissions(["notifications"])
    expect(owner.get_by_role("button", name="Turn on alerts in this browser")).to_be_visible()
    tools = owner.context.new_cdp_session(owner)
    known: list[str] = []
    tools.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda told: known.extend(each["registrationId"] for each in told["registrations"]),
    )
    tools.send("ServiceWorker.enable")
    owner.evaluate(
        """async () => {
          const made = await navigator.serviceWorker.register("/static/alerts/worker.js");
          const worker = made.installing ?? made.waiting ?? made.active;
          const changed = () => new Promise((go) => worker.addEventListener("statechange", go));
          while (worker.state !== "activated") await changed();
        }"""
    )
    told = {"title": "A new lead", "body": "Kopi and Co", "path": "/leads/1", "tag": "lead-1"}
    pushed = {"origin": served.url, "registrationId": known[0], "data": json.dumps(told)}
    tools.send("ServiceWorker.deliverPushMessage", pushed)
    shown = owner.evaluate(
        """async () => {
          const made = await navigator.serviceWorker.getRegistration("/static/alerts/worker.js");
          for (let look = 0; look < 600; look += 1) {
            const [first] = await made.getNotifications();
            if (first) return [first.title, first.body, first.tag, first.data.url];
            await new Promise((go) => setTimeout(go, 100));
          }
          return [];
        }"""
    )
    assert shown == ["A new lead", "Kopi and Co", "lead-1", f"{served.url}/leads/1"]


def write(served: Served, text: str) -> None:
    now_ms = int(served.house.context.clock.now().timestamp() * 1000)
    assert served.house.webhook("im_receive_msg", message(text, "anna", now_ms)).status_code == 200


def test_what_happens_while_nobody_looks_is_counted_and_leads_there(served: Served, owner: Page) -> None:
    row = owner.get_by_role("row", name="A new lead")
    row.get_by_label("E-mail at once").check()
    owner.get_by_role("row", name="A task is due").get_by_label("On the page").uncheck()
    owner.get_by_label("Quiet hours from").select_option("22:00")
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
    expect(row.get_by_label("E-mail at once")).to_be_checked()
    expect(owner.get_by_label("Quiet hours from")).to_have_value("1320")
    expect(owner.locator("[data-live-state]").first).to_have_attribute("data-state", "on")
    owner.evaluate(LOOK_AWAY)
    write(served, "hello")
    expect(owner).to_have_title(re.compile(r"^\(1\) "))

    def give(tx: Tx) -> str:
        business_id = served.house.business_id
        [member] = accounts.list_members(tx, BusinessId(business_id))
        lead = make.lead(tx, business_id, person_id="p")
        assign_lead(tx, Actor(business_id, "", "Somebody"), lead.id, None, member.id)
        return lead.id

    lead_id = served.house.context.db.write_now(give)
    expect(owner).to_have_title(re.compile(r"^\(3\) "))
    owner.get_by_text("A conversation, lead or task is assigned to you").last.locator("..").get_by_role(
        "link", name="Open"
    ).click()
    expect(owner).to_have_url(f"{served.url}/leads/{lead_id}")
