"""Apps of platforms: their ids are no name space of all tenants, and wrong secrets cost the owner nothing."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from contatto.accounts import actions as accounts
from contatto.app import create_app
from contatto.channels.actions import NewAccount, connect_account, register_app, webhook_verify_token
from contatto.channels.connectors.tiktok import sign_body
from contatto.channels.model import ChannelApp, Platform
from contatto.inbox.store.conversations import count_receipts
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.wiring import install
from tests import make
from tests.journeys.running import API, APP_ID, APP_SECRET, OPEN_ID, House, open_house
from tests.unchanged import nothing_changes

LIST = f"{API}/business/webhook/list/"
THEIR_SECRET = "their-secret-1"
REQUESTS = 5
"""What an app or a token may ask in a minute here."""


class Town:
    """A house with few requests a minute, another business, and clients at many addresses."""

    def __init__(self, folder: Path, database_url: str, opened: ExitStack) -> None:
        context, made = open_house(folder, database_url=database_url)
        opened.callback(context.db.close)
        few = context.settings.model_copy(update={"api_requests_per_minute": REQUESTS})
        self.context = replace(context, installation=install(few))
        self.app = create_app(self.context)
        self.house = House(context=self.context, client=self.client("198.51.100.1"), **made)
        self.other = self.context.db.write_now(lambda tx: make.business(tx, "Other").id)

    def client(self, address: str) -> httpx2.Client:
        return TestClient(self.app, base_url="http://127.0.0.1:8000", client=(address, 50_000))

    def register(self, business_id: str, secret: str, app_id: str = APP_ID) -> None:
        app = ChannelApp(app_id, business_id, Platform.TIKTOK, secret)
        self.context.db.write_now(lambda tx: register_app(tx, app))

    def deliver(self, secret: str, app_id: str = APP_ID) -> httpx2.Response:
        """Post a webhook as a platform does that knows this secret."""
        now = self.context.clock.now()
        body = make.webhook("im_receive_msg", make.said("Hello"), user_openid=OPEN_ID)
        headers = {"TikTok-Signature": sign_body(body, secret, int(now.timestamp()))}
        return self.house.client.post(f"/webhooks/tiktok/{app_id}", content=body, headers=headers)

    def received(self, business_id: str) -> int:
        return self.context.db.read_now(lambda tx: count_receipts(tx, business_id)).received


@pytest.fixture(params=["sqlite", "postgresql"])
def town(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Town]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_copy")
    with ExitStack() as opened:
        yield Town(tmp_path, url, opened)


def ask(client: httpx2.Client, secret: str, app_id: str = APP_ID, **headers: str) -> dict[str, Any]:
    answer = client.get(LIST, params={"app_id": app_id, "secret": secret}, headers=headers)
    found: dict[str, Any] = answer.json()
    return found


def test_no_tenant_takes_the_id_of_another_ones_app_or_learns_that_it_is_there(town: Town) -> None:
    town.register(town.other, THEIR_SECRET)  # no refusal: it says nothing of the house's app
    for app in ("app-of-the-other", "app-of-nobody"):
        town.register(town.other, THEIR_SECRET, app)
        town.register(town.house.business_id, APP_SECRET, app)  # nor is it in the way
    with pytest.raises(Refused, match="registered already"):
        town.register(town.house.business_id, "another secret")


def test_a_webhook_is_of_the_business_whose_secret_signed_it(town: Town) -> None:
    town.register(town.other, THEIR_SECRET)
    assert town.deliver(APP_SECRET).status_code == 200
    assert (town.received(town.house.business_id), town.received(town.other)) == (1, 0)
    assert town.deliver(THEIR_SECRET).status_code == 200
    assert (town.received(town.house.business_id), town.received(town.other)) == (1, 1)
    with nothing_changes(town.context.db):
        assert town.deliver("guessed").status_code == 401


def test_a_webhook_says_not_whether_anybody_has_an_app(town: Town) -> None:
    def said(app_id: str, secret: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        if headers is None:
            answer = town.deliver(secret, app_id)
        else:
            answer = town.house.client.post(f"/webhooks/tiktok/{app_id}", content=b"{}", headers=headers)
        return answer.status_code, answer.json() | {"request_id": ""}

    assert said(APP_ID, "guessed") == said("nobodys-app", "guessed")
    for headers in ({}, {"TikTok-Signature": "t=1,s=00"}, {"TikTok-Signature": "x"}):
        assert said(APP_ID, "", headers) == said("nobodys-app", "", headers)
    for path in ("whatsapp", "tiktok"):
        query = {"hub.mode": "subscribe", "hub.verify_token": "guessed", "hub.challenge": "1"}
        known, unknown = (
            town.house.client.get(f"/webhooks/{path}/{app_id}", params=query) for app_id in (APP_ID, "x")
        )
        assert (known.status_code, known.json() | {"request_id": ""}) == (
            unknown.status_code,
            unknown.json() | {"request_id": ""},
        )


def test_each_business_has_a_verify_token_of_its_own(town: Town) -> None:
    apps = [ChannelApp("meta-1", of, Platform.WHATSAPP, "s") for of in (town.house.business_id, town.other)]
    for app in apps:
        town.context.db.write_now(lambda tx, app=app: register_app(tx, app))  # type: ignore[misc]
    tokens = {webhook_verify_token(town.context.vault, app) for app in apps}
    assert len(tokens) == 2
    for token in tokens:
        query = {"hub.mode": "subscribe", "hub.verify_token": token, "hub.challenge": "4711"}
        assert town.house.client.get("/webhooks/whatsapp/meta-1", params=query).text == "4711"


def test_a_secret_speaks_for_the_business_that_registered_it(town: Town) -> None:
    town.register(town.other, THEIR_SECRET)
    body = {"app_id": APP_ID, "secret": THEIR_SECRET, "callback_url": "https://example.com/theirs"}
    assert town.house.client.post(f"{API}/business/webhook/update/", json=body).json()["code"] == 0
    assert ask(town.house.client, APP_SECRET)["data"]["callback_url"] == ""
    assert ask(town.house.client, THEIR_SECRET)["data"]["callback_url"] == "https://example.com/theirs"


def test_a_token_is_held_to_the_secret_of_its_own_business_alone(town: Town) -> None:
    """What another tenant registered under an id is no reason to turn somebody down."""
    town.register(town.other, THEIR_SECRET, "common-id")
    assert ask(town.house.client, "mine", "common-id", **{"Access-Token": town.house.token})["code"] == 0
    assert ask(town.house.client, "wrong", APP_ID, **{"Access-Token": town.house.token})["code"] == 40001


def test_businesses_that_share_an_app_each_hear_of_it_and_say_by_a_token_who_they_are(town: Town) -> None:
    def join(tx: Tx) -> str:
        connect_account(tx, town.other, NewAccount(Platform.TIKTOK, "tt-other", "Other", "o", "SG"))
        return accounts.issue_token(tx, town.other, "x", ["inbox.read"])[1]

    token = town.context.db.write_now(join)
    town.register(town.other, APP_SECRET)
    assert town.deliver(APP_SECRET).status_code == 200
    assert (town.received(town.house.business_id), town.received(town.other)) == (1, 1)
    assert ask(town.house.client, APP_SECRET)["code"] == 40104
    assert ask(town.house.client, APP_SECRET, **{"Access-Token": token})["code"] == 0


def test_an_unknown_app_and_a_wrong_secret_are_answered_alike(town: Town) -> None:
    known, unknown = ask(town.house.client, "guessed"), ask(town.house.client, "guessed", "nobodys-app")
    assert known | {"request_id": ""} == unknown | {"request_id": ""}
    assert known["code"] == 40001


def test_wrong_secrets_use_up_nothing_of_the_apps_requests(town: Town) -> None:
    stranger = town.client("203.0.113.9")
    with nothing_changes(town.context.db):
        codes = Counter(ask(stranger, f"guess {number}")["code"] for number in range(REQUESTS + 30))
    assert codes == {40001: 10, 40100: REQUESTS + 20}
    own = [ask(town.house.client, APP_SECRET)["code"] for _ in range(REQUESTS + 1)]
    assert own == [0] * REQUESTS + [40100]


def test_wrong_secrets_for_many_apps_from_one_network_end_too(town: Town) -> None:
    codes = [
        ask(town.client(f"2001:db8:1:2::{number:x}"), "guess", f"app {number}")["code"]
        for number in range(1, 64)
    ]
    assert codes == [40001] * 60 + [40100] * 3
    assert ask(town.client("2001:db8:1:3::1"), "guess")["code"] == 40001


def test_auth_codes_are_not_guessed_without_end(town: Town) -> None:
    stranger = town.client("203.0.113.9")
    body = {"app_id": "1", "secret": "2"}
    with nothing_changes(town.context.db):
        codes = [
            stranger.post(f"{API}/oauth2/access_token/", json=body | {"auth_code": f"code_{number}"}).json()
            for number in range(12)
        ]
    assert [each["code"] for each in codes] == [40110] * 10 + [40100] * 2


async def burst(app: Any, requests: list[dict[str, str]], token: str = "") -> list[int]:
    transport = httpx2.ASGITransport(app, client=("203.0.113.9", 50_000))
    headers = {"Access-Token": token} if token else {}
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        asked = [client.get(LIST, params=each, headers=headers) for each in requests]
        return [json.loads(answer.text)["code"] for answer in await asyncio.gather(*asked)]


def test_of_many_wrong_secrets_at_once_no_more_than_the_limit_are_judged(town: Town) -> None:
    guesses = [{"app_id": APP_ID, "secret": f"guess {number}"} for number in range(119)]
    right = [{"app_id": APP_ID, "secret": APP_SECRET}]
    codes = asyncio.run(burst(town.app, guesses + right))
    assert Counter(codes) == {40001: 10, 40100: 110}  # the right one came last: it is not let through


def test_of_many_requests_of_a_token_at_once_no_more_than_its_rate_are_answered(town: Town) -> None:
    asked = [{"app_id": "own-app", "secret": "own secret"}] * 60
    assert Counter(asyncio.run(burst(town.app, asked, town.house.token))) == {
        0: REQUESTS,
        40100: 60 - REQUESTS,
    }
