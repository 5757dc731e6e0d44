"""People before the chats of two businesses of one installation: each with a browser of their own."""

import re
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx2

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount
from contatto.accounts.model import Permission
from contatto.capture.actions import turn_on_capture
from contatto.channels.actions import NewAccount, allow_embedding, connect_account
from contatto.channels.model import Platform
from contatto.inbox.store.desk import ConversationFilter, list_conversations
from contatto.kit.db.tx import Tx
from tests.journeys.running import COMPANY, House, flush_decisions, until

SITE = "https://shop.example.com"


@dataclass
class Browser:
    """Somebody's browser: it keeps its own cookies, and follows no redirect by itself."""

    house: House
    cookies: dict[str, str] = field(default_factory=dict)
    address: str = "testclient"

    def send(self, method: str, path: str, **values: Any) -> httpx2.Response:
        client = self.house.client
        client.cookies.clear()
        headers = dict(values.pop("headers", {}))
        if self.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = client.request(method, path, headers=headers, follow_redirects=False, **values)
        self.cookies |= {cookie.name: cookie.value or "" for cookie in client.cookies.jar}
        client.cookies.clear()
        return answer

    def get(self, path: str, **values: Any) -> httpx2.Response:
        return self.send("GET", path, **values)

    @property
    def identity(self) -> dict[str, str]:
        """The cookies by which a chat knows this browser."""
        strange = ("contatto_guest", "contatto_language", "contatto_session")
        return {name: value for name, value in self.cookies.items() if name not in strange}

    def open_chat(self) -> None:
        assert self.get(f"/chat/{self.house.webchat_id}").status_code == 200

    def tap(self, link: str) -> None:
        """Follow a link to the chat that it leads to."""
        tapped = self.get(link)
        assert tapped.status_code == 303, tapped.text
        assert self.get(tapped.headers["location"]).status_code == 200

    def say(self, text: str, **query: str) -> httpx2.Response:
        body = {"client_message_id": str(uuid.uuid4()), "text": text}
        return self.send("POST", f"/chat/{self.house.webchat_id}/messages", json=body, params=query)

    def reads(self, **query: str) -> httpx2.Response:
        return self.get(f"/chat/{self.house.webchat_id}/messages", params=query)

    def at(self, house: House) -> "Browser":
        """The same browser, before the chat of another business."""
        return Browser(house, self.cookies, self.address)


def neighbour_of(house: House) -> House:
    def build(tx: Tx) -> dict[str, str]:
        business = accounts.create_business(tx, "Tea and Co")
        number = accounts.add_ad_account(
            tx, business.id, NewAdAccount("Theirs", "SG", "SGD", "Asia/Singapore")
        ).number
        webchat = connect_account(tx, business.id, NewAccount(Platform.WEBCHAT, "", "Tea", "tea", "SG"))
        tiktok = connect_account(tx, business.id, NewAccount(Platform.TIKTOK, "tt-tea", "Tea", "tea", "SG"))
        for account in (webchat, tiktok):
            turn_on_capture(tx, business.id, account.id, COMPANY)
        _, token = accounts.issue_token(tx, business.id, "tests", [scope.value for scope in Permission])
        return {"business_id": business.id, "advertiser_id": str(number), "webchat_id": webchat.id,
                "tiktok_id": tiktok.id, "token": token}  # fmt: skip

    return House(context=house.context, client=house.client, **house.context.db.write_now(build))


def ads_token(house: House) -> str:
    """A token that may ask for ads and nothing else."""
    scopes = [Permission.READ_ADS.value]
    _, token = house.context.db.write_now(
        lambda tx: accounts.issue_token(tx, house.business_id, "publisher", scopes)
    )
    return token


def decide(house: House, viewer: str, token: str = "", **more: str) -> dict[str, str]:
    """The ad that a publisher is given for a viewer whom it names; it asks again while pacing has none.

    That it was decided is in the log afterwards.
    """
    asked = {"viewer_id": viewer, "country": "SG", **more}
    headers = {"Access-Token": token or house.token}

    def ask() -> dict[str, str]:
        answer = house.client.post("/delivery/decide", json=asked, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()["ad"] or {}

    ad = until(ask)
    assert ad
    flush_decisions(house.client)
    return ad


def embed(house: House) -> str:
    """Let a site show the chat, and give the token that its frame gets."""
    house.context.db.write_now(lambda tx: allow_embedding(tx, house.business_id, house.webchat_id, SITE))
    shown = Browser(house).get(f"/chat/{house.webchat_id}/embed")
    found = re.search(r'data-fresh="([^"]+)"', shown.text)
    assert found, shown.text
    return found.group(1)


def texts_of(answer: httpx2.Response) -> list[str]:
    return [message["text"] for message in answer.json().get("messages", [])]


def settled(house: House, chats: int = 1) -> list[str]:
    """The conversations of a business, as soon as there are so many."""

    def look(tx: Tx) -> list[str]:
        return [each.id for each in list_conversations(tx, house.business_id, ConversationFilter())]

    def enough() -> list[str]:
        found = house.context.db.read_now(look)
        return found if len(found) >= chats else []

    return until(enough)
