"""Every main screen in light, dark and Arabic: axe finds nothing, and no phone has to scroll sideways."""

import re
from typing import Any, Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from contatto.accounts.actions import NewMember, add_member
from contatto.accounts.model import BusinessId, Role
from contatto.accounts.store import find_business
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import SendFailure
from contatto.operators import actions as operators_actions
from contatto.operators.model import AdmissionState, Category
from contatto.ui.render import SESSION_COOKIE
from tests import make
from tests.browser.conftest import Served
from tests.failing import fail_push
from tests.forms.edges import offer
from tests.journeys.running import PASSWORD, csrf_of, message, until, weak_hash
from tests.operators.marketplace import PLACEMENT, send_all

pytestmark = pytest.mark.browser

AXE: Final = Axe()
WCAG: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CONTRAST: Final = "color-contrast"
# Axe skips the contrast of Arabic letters, which the test of the design tokens looks at.
RULES: Final[dict[str, dict[str, Any]]] = {
    "en": {"runOnly": {"type": "tag", "values": WCAG}},
    "ar": {"runOnly": {"type": "tag", "values": WCAG}, "rules": {CONTRAST: {"enabled": False}}},
}
IN_THE_DARK: Final = {"runOnly": {"type": "rule", "values": [CONTRAST]}}
"""A page is the same in the dark but for its colours."""
DIRECTIONS: Final = {"en": "ltr", "ar": "rtl"}
NARROW: Final = (320, 390)
HOST: Final = "host@example.com"


def furnish(served: Served) -> dict[str, str]:
    """A house with a form, three people who wrote, two leads who share a number, and failed work."""
    house = served.house
    form = offer(house)
    now_ms = int(house.context.clock.now().timestamp() * 1000)
    for user, text in (
        ("anna", "Hello! Do you cater for 20?"),
        ("anna", "my number is +65 8123 4567"),
        ("bea", "please call +65 8123 4567, or write to bea@example.com"),
        ("carl", "What is the price?"),
    ):
        assert house.webhook("im_receive_msg", message(text, user, now_ms)).status_code == 200
    house.sign_in()
    token = {"X-CSRF-Token": csrf_of(house.client.get("/ads").text)}
    kept = house.client.put("/ads/drafts/campaigns/0", data={"name": "Half a campaign"}, headers=token)
    assert kept.status_code == 200
    form_of_invitation = {"email": "mei@example.com", "role": "agent", "csrf_token": token["X-CSRF-Token"]}
    members = house.client.post("/settings/invitations", data=form_of_invitation, follow_redirects=True).text
    invitation = _first(r"(/invitations/[\w.=~-]+)", members)
    own = _first(r"(/settings/members/[\w-]{36}/reset)", members)
    reset = _first(r"(/password/reset/[\w.=~-]+)", house.client.post(own, headers=token).text)
    leads = until(lambda: _ids(served, "/leads", "leads", 2))
    gone = _erased(served)
    for trouble in (SendFailure.FORBIDDEN, SendFailure.UNREACHED):
        fail_push(house.context.db, house.business_id, trouble=trouble)
    talks = until(lambda: _ids(served, f"/leads/{leads[0]}", "inbox", 1))
    _open_marketplace(served)
    return {
        "form": form.form_id, "lead": leads[0], "other": leads[1], "talk": talks[0], "chat": house.webchat_id,
        "gone": gone, "elsewhere": _elsewhere(served), "crm": _linked(served),
        "invitation": invitation, "reset": reset,
        "campaign": served.lead_ad["campaign_id"], "group": served.lead_ad["adgroup_id"],
        "ad": served.lead_ad["ad_id"],
    }  # fmt: skip


def _elsewhere(served: Served) -> str:
    """An ad account of another platform, from a file."""
    text = "Campaign name,Ad group name,Ad name,Ad ID,Day,Cost,Impressions,Clicks\nSpring,Chats,Cat,1801,"
    day = served.house.context.clock.now().date().isoformat()
    form = {"text": f"{text}{day},12.50,400,9", "external_id": "7001", "name": "Shop", "currency": "EUR"}
    token = {"csrf_token": csrf_of(served.house.client.get("/ads").text)}
    answer = served.house.client.post("/settings/ad-platforms/upload/start", data=form | token)
    assert answer.status_code == 303
    return answer.headers["location"].rpartition("/")[2]


def _open_marketplace(served: Served) -> None:
    """A marketplace with a placement, where the house takes part and has an ad that waits for its review."""
    db, hashed = served.house.context.db, weak_hash(PASSWORD)

    def work(tx: Tx) -> None:
        operator = operators_actions.open_operator(tx, "The Forum", "UTC")
        add_member(tx, BusinessId(operator.business_id), NewMember(HOST, "Host", Role.OWNER), hashed)
        operators_actions.add_placement(tx, operator, PLACEMENT)
        business = find_business(tx, BusinessId(served.house.business_id))
        assert business is not None
        operators_actions.ask_admission(tx, operator.business_id, business, Category.FOOD)
        operators_actions.decide_admission(tx, operator, str(business.id), AdmissionState.ADMITTED, "")

    db.write_now(work)
    send_all(db)


def _linked(served: Served) -> str:
    """A program that is told of leads by signed messages; it was not started."""
    client = served.house.client
    form = {"address": "https://crm.example.com", "given.secret": f"whsec_{'A' * 43}="}
    token = {"csrf_token": csrf_of(client.get("/ads").text)}
    answer = client.post("/settings/integrations/connect/webhook", data=form | token)
    assert answer.status_code == 303
    return str(answer.headers["location"].rpartition("/")[2])


def _erased(served: Served) -> str:
    """Somebody who was erased."""
    house = served.house
    lead_id: str = house.context.db.write_now(
        lambda tx: make.lead(tx, house.business_id, person_id="gone", profile_name="Zelda").id
    )
    form = {"ids": lead_id, "word": "erase", "csrf_token": csrf_of(house.client.get("/leads").text)}
    assert house.client.post("/leads/erase", data=form).status_code == 303
    assert until(lambda: "was erased" in house.client.get(f"/leads/{lead_id}").text)
    return lead_id


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found, pattern
    return found[1]


def _ids(served: Served, path: str, folder: str, least: int) -> list[str]:
    """The ids that a page links to, once there are so many."""
    page = served.house.client.get(path).text
    found = sorted(set(re.findall(rf'href="/{folder}/([0-9a-f-]{{36}})"', page)))
    return found if len(found) >= least else []


SCREENS: Final = {
    "the start page": "/home",
    "the inbox": "/inbox",
    "a thread": "/inbox/{talk}",
    "the Leads Center": "/leads",
    "a lead": "/leads/{lead}",
    "a merge": "/leads/{lead}/merge/{other}",
    "erasing a person": "/leads/{lead}/erase",
    "an erased person": "/leads/{gone}",
    "the import": "/leads/import",
    "the Ads Manager": "/ads",
    "a new campaign": "/ads/campaigns/new",
    "a draft": "/ads/campaigns/new?draft=continue",
    "a new ad group": "/ads/campaigns/{campaign}/ad-groups/new",
    "a new ad": "/ads/ad-groups/{group}/ads/new",
    "an ad": "/ads/{ad}/preview",
    "ad delivery": "/ads/delivery",
    "prediction quality": "/ads/delivery/model",
    "the audiences": "/ads/audiences",
    "a new audience": "/ads/audiences/new",
    "a new lookalike": "/ads/audiences/lookalikes/new",
    "a campaign that is edited": "/ads/campaigns/{campaign}/edit",
    "an ad group that is edited": "/ads/ad-groups/{group}/edit",
    "an ad that is edited": "/ads/ads/{ad}/edit",
    "the forms": "/forms",
    "a new form": "/forms/new",
    "the builder": "/forms/{form}",
    "the test of a form": "/forms/{form}/test",
    "the answers": "/forms/{form}/answers",
    "the report": "/reports",
    "a what-if": "/reports/what-if",
    "all ads": "/reports/sources",
    "the first steps": "/start",
    "the help": "/help?q=capture",
    "a document": "/help/how-to/invite-colleagues",
    "the settings": "/settings",
    "the members": "/settings/members",
    "the own profile": "/settings/profile",
    "the alerts": "/settings/alerts",
    "the ad accounts": "/settings/ad-accounts",
    "the capture settings": "/settings/capture",
    "the channels": "/settings/channels",
    "the saved replies": "/settings/replies",
    "the subscriptions": "/settings/subscriptions",
    "the marketplaces": "/settings/marketplaces",
    "external ad accounts": "/settings/ad-platforms",
    "an ad account elsewhere": "/settings/ad-platforms/{elsewhere}",
    "the signals of an ad account": "/settings/ad-platforms/{elsewhere}/signals",
    "an upload": "/settings/ad-platforms/upload",
    "the integrations": "/settings/integrations",
    "a CRM to link": "/settings/integrations/connect/hubspot",
    "the ledger": "/settings/integrations/ledger",
    "a linked CRM": "/settings/integrations/{crm}",
    "the field mapping": "/settings/integrations/{crm}/mapping",
    "the log of a CRM": "/settings/integrations/{crm}/log",
    "the failed jobs": "/settings/jobs",
    "the audit log": "/settings/audit",
    "the automatic messages": "/settings/chat/{chat}",
    "a page that is not there": "/nothing",
}
"""What a member opens; the pages of people without an account come on top."""


def _found_by_axe(page: Page, screen: str, rules: dict[str, Any]) -> list[str]:
    result = AXE.run(page, options=rules | {"resultTypes": ["violations"]})
    return [
        f"{screen}: {each['id']} at {node['target']}"
        for each in result.response["violations"]
        for node in each["nodes"]
    ]


STICKS_OUT = """() => [...document.body.querySelectorAll("*")].filter((each) => {
  const { left, right, width } = each.getBoundingClientRect();
  return width > 0 && (left < -0.5 || right > document.documentElement.clientWidth + 0.5);
}).slice(-3).map((each) => `${each.tagName} ${each.className} ${each.id}`).join(", ")"""
"""The innermost of what reaches over an edge of the window."""


def _too_wide(page: Page, screen: str) -> list[str]:
    found = []
    for width in NARROW:
        page.set_viewport_size({"width": width, "height": 700})
        across = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if across > 0:
            found.append(f"{screen}: {across} px too wide at {width}: {page.evaluate(STICKS_OUT)}")
    page.set_viewport_size({"width": 1280, "height": 800})
    return found


def _in_the_dark(page: Page, screen: str) -> list[str]:
    page.emulate_media(color_scheme="dark")
    found = _found_by_axe(page, f"{screen} in the dark", IN_THE_DARK)
    page.emulate_media(color_scheme="light")
    return found


def _faults(page: Page, screen: str, lang: str) -> list[str]:
    shown = page.evaluate("[document.documentElement.dir, document.documentElement.lang]")
    wrong = [] if shown == [DIRECTIONS[lang], lang] else [f"{screen}: {shown}"]
    dark = [] if lang == "ar" else _in_the_dark(page, screen)
    return wrong + _too_wide(page, screen) + _found_by_axe(page, screen, RULES[lang]) + dark


def _reader(browser: Browser, served: Served, lang: str) -> BrowserContext:
    return browser.new_context(
        base_url=served.url, locale="ar" if lang == "ar" else "en-GB", timezone_id="UTC",
        viewport={"width": 1280, "height": 800}, color_scheme="light",
        reduced_motion="reduce",  # what is measured stands still
    )  # fmt: skip


def _open_operator(page: Page) -> None:
    """The page of a marketplace, as its owner sees it."""
    page.context.clear_cookies()
    page.goto("/login")
    page.fill("[name=email]", HOST)
    page.fill("[name=password]", PASSWORD)
    page.locator("main form button").first.click()
    page.wait_for_url(lambda url: "/login" not in url)
    page.goto("/operator")
    expect(page.locator("#reviews article").first).to_be_visible()


@pytest.mark.parametrize("lang", RULES)
def test_every_screen_can_be_read_by_everybody(browser: Browser, served: Served, lang: str) -> None:
    ids = furnish(served)
    context = _reader(browser, served, lang)
    page = context.new_page()
    faults: list[str] = []
    for screen, path in {
        "the log-in": "/login",
        "a forgotten password": "/password/forgotten",
        "an invitation": ids["invitation"],
        "a new password": ids["reset"],
        "the API": "/docs",
        "the chat": f"/chat/{ids['chat']}",
    }.items():
        page.goto(path)
        faults += _faults(page, screen, lang)
    page.locator("#form-open").click()
    expect(page.locator("#form-sheet")).to_be_visible()
    faults += _faults(page, "the form in the chat", lang)

    session = served.house.client.cookies[SESSION_COOKIE]
    context.add_cookies([{"name": SESSION_COOKIE, "value": session, "url": served.url}])
    for screen, path in SCREENS.items():
        page.goto(path.format(**ids))
        faults += _faults(page, screen, lang)
    page.goto("/leads/import")
    page.locator("details:has(#import-text) summary").click()
    page.locator("#import-text").fill("name,phone\nMei Tan,+65 9123 4567\nA name that is long,12\n")
    page.locator('form[action="/leads/import"] .btn').click()
    expect(page.locator("#preview")).to_be_visible()
    faults += _faults(page, "what an import will do", lang)
    page.goto("/ads?tree=open")
    page.locator(f"#ads-{ids['ad']} [name=rows]").check()
    expect(page.locator("#bulk")).to_be_visible()
    faults += _faults(page, "chosen rows", lang)
    page.locator('#bulk [formaction="/ads/bulk/bid"]').click()
    expect(page).to_have_url(re.compile("/ads\\?(.*&)?shown="))
    faults += _faults(page, "what became of rows", lang)
    page.goto(f"/leads/{ids['lead']}")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    faults += _faults(page, "the list of keys", lang)
    _open_operator(page)
    faults += _faults(page, "the marketplace of an operator", lang)
    context.close()
    assert not faults, "\n".join(faults)
