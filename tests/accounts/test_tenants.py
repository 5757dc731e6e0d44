"""Who asks for another business's id, at any door, is told that there is no such thing; no row changes."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from contatto.accounts import actions as accounts
from contatto.app import HOT_ROUTES, OPEN_PATHS, ROUTERS
from contatto.channels.actions import register_app
from contatto.channels.model import ChannelApp, Platform
from contatto.inbox.actions.deliveries import settle_receipts
from contatto.inbox.actions.threads import conversation_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import count_waiting
from contatto.leads.rules.filters import LeadFilter
from contatto.leads.store.listing import list_leads
from contatto.leads.store.records import list_contact_points
from contatto.measurement.store import find_measured_ad
from contatto.notices.actions import NewSubscription, subscribe_program
from contatto.notices.model import Entity
from tests import make
from tests.accounts.foreign import OWN_ALONE, QUERIES, THEIR_APP, Theirs, bodies, ids_of
from tests.ads.world import add_chain, add_world
from tests.forms.papers import published
from tests.journeys.running import API, House, csrf_of, running_house, until
from tests.unchanged import nothing_changes

PUBLIC = ("/webhooks/", "/chat/", "/form/", "/form-pictures/", "/t/", "/static")
"""Doors that are open to all: their addresses carry secrets, signatures or a public account."""
NOT_THERE = {40007, 40300}
TURNED_DOWN = {"GET": {404}, "POST": {400, 404, 422}, "PUT": {404}}
"""A form may be found wanting before anybody looks for the thing that it is about."""
NOBODYS = "0190a5a1-7c2e-7aaa-8000-00000000000f"
FORM = {
    "text": "Hi", "client_message_id": "message-1", "status": "qualified", "seen": "raw", "on": "1",
    "company_name": "X", "privacy_policy_url": "https://x.example.com/p", "name": "X", "operation": "DISABLE",
    "headline": "X", "goal": "lead", "budget": "50", "countries": "SG", "reason": "wrong",
}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        running.sign_in()
        running.make_ad("LEAD_GENERATION")  # also notes the use of the token, which is a write
        yield running


@pytest.fixture(scope="module")
def theirs(house: House) -> Theirs:
    db = house.context.db

    def build(tx: Tx) -> dict[str, Any]:
        world = add_world(tx)
        chain = add_chain(tx, world)
        tiktok = make.channel(tx, world.id, external_id="tt-theirs")
        body = make.webhook(
            "im_receive_msg", make.said("their words, +65 9123 4567"), user_openid="tt-theirs"
        )
        make.receipt(tx, world.id, body)
        token, _ = accounts.issue_token(tx, world.business.id, "their token", ["leads.read"])
        page = published(tx, world.id)
        register_app(tx, ChannelApp(THEIR_APP["app_id"], world.id, Platform.TIKTOK, THEIR_APP["secret"]))
        new = NewSubscription(Entity.LEAD, **THEIR_APP, callback_url="https://their.example.com/push")
        subscription = subscribe_program(tx, world.id, new)
        return {"world": world, "chain": chain, "tiktok": tiktok, "token": token, "page": page,
                "subscription": subscription}  # fmt: skip

    made = db.write_now(build)
    while db.write_now(settle_receipts):
        pass

    def look(tx: Tx) -> tuple[str, str, int, int]:
        lead = list_leads(tx, made["world"].id, LeadFilter())[0]
        point = list_contact_points(tx, made["world"].id, {lead.id})[lead.id][0]
        ad = find_measured_ad(tx, made["world"].id, made["chain"].ad.id)
        assert ad is not None
        return lead.id, point.id, ad.ad_number, lead.number

    until(lambda: not db.read_now(count_waiting))
    lead_id, point_id, ad_number, lead_number = db.read_now(look)
    chain = made["chain"]
    path = {
        "conversation_id": conversation_id_of(made["tiktok"], "conversation of u1"),
        "lead_id": lead_id,
        "point_id": point_id,
        "account_id": made["world"].channel.id,
        "token_id": made["token"].id,
        "subscription_id": str(made["subscription"].number),
        "/ads/campaigns/": str(chain.campaign.number),
        "/ads/ad-groups/": str(chain.ad_group.number),
        "/ads/": str(ad_number),
    }
    return Theirs(
        path, str(made["world"].ad_account.number), str(chain.campaign.number), str(chain.ad_group.number),
        str(ad_number), made["world"].channel.id, str(made["page"].number),
        str(lead_number), str(made["subscription"].number),
        ("their words", "their token", "+6591234567", "their.example.com"),
    )  # fmt: skip


def walk(routes: Any) -> Iterator[Any]:
    """All routes, those of included routers too."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        yield from walk(inner.routes) if inner is not None else [route]


ROUTES = sorted(
    (method, route.path)
    for route in walk([*HOT_ROUTES, *(each for router in ROUTERS for each in router.routes)])
    for method in route.methods - {"HEAD"}
)
WITH_IDS = [(m, path) for m, path in ROUTES if "{" in path and not path.startswith((*PUBLIC, API))]
API_POSTS = [path for method, path in ROUTES if method == "POST" and path.startswith(API)]
WITHOUT_TOKEN = set(OPEN_PATHS)
"""An auth code or an app's secret is what lets a program in."""
API_GETS = [path for method, path in ROUTES if method == "GET" and path.startswith(API)]


def filled(path: str, theirs: Theirs, kind: str = "") -> str:
    """A route's address with the other business's ids."""

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name == "kind":
            return kind
        if name == "number":
            longest = max((part for part in theirs.path if (kind or path).startswith(part)), key=len)
            return theirs.path[longest]
        return theirs.path.get(name, NOBODYS)  # better: put a new kind of id into `theirs`

    return re.sub(r"{(\w+)}", value, path)


def addresses(path: str, theirs: Theirs) -> list[str]:
    if "{kind}" not in path:
        return [filled(path, theirs)]
    campaign, ad_group = theirs.campaign_id, theirs.adgroup_id
    numbers = {"campaigns": campaign, "ad-groups": ad_group, "ads": theirs.ad_id}
    parents = {"campaigns": campaign, "ad-groups": campaign, "ads": ad_group}
    return [
        path.replace("{kind}", kind).replace("{number}", numbers[kind]).replace("{parent}", parents[kind])
        for kind in numbers
    ]


@pytest.fixture(scope="module")
def csrf(house: House) -> dict[str, str]:
    """What a form of ours carries: it is the same for all of a session."""
    return {"x-csrf-token": csrf_of(house.client.get("/settings").text)}


def ask(house: House, method: str, path: str, headers: dict[str, str]) -> httpx2.Response:
    if method == "GET":
        return house.client.get(path, headers=headers, follow_redirects=False)
    form = FORM | {"status": "paused"} if path.startswith("/ads/") else FORM
    return house.client.request(method, path, data=form, headers=headers, follow_redirects=False)


@pytest.mark.parametrize(("method", "path"), WITH_IDS)
def test_a_page_of_another_business_is_not_there(
    house: House, theirs: Theirs, csrf: dict[str, str], method: str, path: str
) -> None:
    for address in addresses(path, theirs):
        with nothing_changes(house.context.db):
            answer = ask(house, method, address, csrf)
        assert answer.status_code in TURNED_DOWN[method], address
        assert not any(word in answer.text for word in theirs.secret_words)


@pytest.mark.parametrize(("method", "path"), WITH_IDS)
@pytest.mark.parametrize(
    "value", ["%00", "x", "9" * 30, "9" * 5_000, "²", "a%0Ab", "%FF%FE", "-1", "x" * 2_000]
)
def test_a_senseless_id_is_not_there_and_breaks_nothing(
    house: House, csrf: dict[str, str], method: str, path: str, value: str
) -> None:
    address = re.sub(r"{\w+}", value, path)
    with nothing_changes(house.context.db):
        answer = ask(house, method, address, csrf)
    assert answer.status_code in TURNED_DOWN[method] | {422}


@pytest.mark.parametrize(("method", "path"), WITH_IDS)
def test_a_stranger_is_asked_to_sign_in(house: House, theirs: Theirs, method: str, path: str) -> None:
    stranger = {"cookie": "contatto_session=session_forged"}
    kept = dict(house.client.cookies)
    house.client.cookies.clear()
    try:
        for address in addresses(path, theirs):
            with nothing_changes(house.context.db):
                answer = ask(house, method, address, stranger)
            assert answer.status_code in (303, 401)
            assert answer.status_code == 401 or answer.headers["location"].startswith("/login")
    finally:
        house.client.cookies.update(kept)


@pytest.mark.parametrize("path", [path for method, path in WITH_IDS if method == "POST"])
def test_a_form_without_its_token_changes_nothing(house: House, theirs: Theirs, path: str) -> None:
    for address in addresses(path, theirs):
        with nothing_changes(house.context.db):
            assert ask(house, "POST", address, {}).status_code == 403


@pytest.mark.parametrize("path", API_POSTS)
def test_the_api_changes_nothing_of_another_business(house: House, theirs: Theirs, path: str) -> None:
    short = path.removeprefix(API)
    known = bodies(theirs, house.webchat_id, house.token)
    body = known.get(short, ids_of(theirs))  # better: put a new POST into `bodies`
    codes = NOT_THERE if short in known else NOT_THERE | {40002}
    codes |= {40001} if "/webhook/" in short else set()
    with nothing_changes(house.context.db):
        answer = house.api("POST", short, **(body | {"advertiser_id": theirs.advertiser_id}))
        assert answer["code"] in codes
    if short not in OWN_ALONE:
        with nothing_changes(house.context.db):
            answer = house.api("POST", short, **body)
            assert answer["code"] in codes


OF_THE_TOKEN = {
    "/oauth2/advertiser/get/",
    "/advertiser/info/",
    "/subscription/get/",
    "/business/webhook/list/",
    "/contatto/audit/list/",
}
"""They take no advertiser_id: they list what the token may see."""


@pytest.mark.parametrize("path", API_GETS)
def test_the_api_shows_nothing_of_another_business(house: House, theirs: Theirs, path: str) -> None:
    short = path.removeprefix(API)
    with nothing_changes(house.context.db):
        answer = house.api("GET", short, **(QUERIES.get(short, {}) | {
            "advertiser_id": theirs.advertiser_id, "advertiser_ids": [theirs.advertiser_id],
        }))  # fmt: skip
    if short in OF_THE_TOKEN:
        assert not any(word in str(answer) for word in (theirs.advertiser_id, *theirs.secret_words))
    else:
        assert answer["code"] in NOT_THERE


FORM_OF_THEIRS = ["/page/field/get/", "/page/lead/mock/get/", "/lead/field/get/", "/lead/get/"]


@pytest.mark.parametrize("path", FORM_OF_THEIRS)
def test_a_form_of_another_business_is_not_there_for_ones_own_ad_account(
    house: House, theirs: Theirs, path: str
) -> None:
    named = {"page_id": theirs.page_id, "lead_source": "INSTANT_FORM"}
    assert house.api("GET", path, **named)["code"] == 40007
    if path == "/lead/get/":
        named = {"lead_source": "DIRECT_MESSAGE", "lead_id": theirs.lead_number}
        assert house.api("GET", path, **named)["code"] == 40007


@pytest.mark.parametrize("kind", ["campaign", "adgroup", "ad"])
def test_a_list_filtered_by_ids_of_another_business_is_empty(house: House, theirs: Theirs, kind: str) -> None:
    ids = {"campaign": theirs.campaign_id, "adgroup": theirs.adgroup_id, "ad": theirs.ad_id}
    data = house.data("GET", f"/{kind}/get/", filtering={f"{kind}_ids": [ids[kind]]})
    assert data["list"] == []


@pytest.mark.parametrize("path", sorted({*API_POSTS, *API_GETS} - WITHOUT_TOKEN))
def test_the_api_wants_a_token_that_holds(house: House, path: str) -> None:
    method = "POST" if path in API_POSTS else "GET"
    for headers, code in (({}, 40104), ({"Access-Token": "contatto_forged"}, 40105)):
        with nothing_changes(house.context.db):
            answer = house.client.request(
                method, path, headers=headers, json={} if method == "POST" else None
            )
        assert (answer.status_code, answer.json()["code"]) == (200, code)


@pytest.mark.parametrize("path", API_POSTS)
@pytest.mark.parametrize(
    "raw", [b"", b"not json", b"[]", b"[" * 60_000, b'{"advertiser_id":' * 5_000, b"\xff\xfe", b"null",
            b'{"advertiser_id":1e999}', b'{"advertiser_id":"\\ud800"}', b'{"advertiser_id":"1\\u0000"}'],
)  # fmt: skip
def test_a_body_that_makes_no_sense_has_a_coded_answer(house: House, path: str, raw: bytes) -> None:
    headers = {"Access-Token": house.token, "Content-Type": "application/json"}
    with nothing_changes(house.context.db):
        answer = house.client.post(path, content=raw, headers=headers)
    assert answer.status_code == 200
    assert 40_000 <= answer.json()["code"] < 50_000
    assert answer.json()["message"]


NAMES = (
    "q", "status", "source", "sort", "page", "before", "tab", "selected", "next", "from", "to", "level",
    "advertiser_id", "advertiser_ids", "filtering", "fields", "page_size", "section", "by", "columns", "goal",
    "start_date", "end_date", "dimensions", "metrics", "location_ids", "account",
)  # fmt: skip


@pytest.mark.parametrize("path", [path for method, path in ROUTES if method == "GET" and "{" not in path
                                  and path not in ("/live", "/")])  # fmt: skip
def test_a_hostile_query_breaks_no_page(house: House, path: str) -> None:
    headers = {"Access-Token": house.token}
    for value in (
        "\0",
        "²",
        "9" * 40,
        "-1",
        "<script>alert(1)</script>",
        "[" * 500,
        "%",
        "\ufffd",
        "🙂" * 100,
    ):
        answer = house.client.get(path, params=dict.fromkeys(NAMES, value), headers=headers)
        assert answer.status_code in (200, 303, 401, 404, 422), (
            path,
            value,
        )  # 401: a link that we never signed
        assert "<script>alert(1)" not in answer.text
        if path.startswith(API):
            assert answer.json()["code"] != 50_000
