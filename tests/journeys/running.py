"""A running installation with one business, for the journeys: everything goes through its real doors."""

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount, NewMember
from contatto.accounts.model import Permission, Role
from contatto.app import create_app, open_context
from contatto.capture.actions import CompanyData, turn_on_capture
from contatto.channels.actions import NewAccount, connect_account, register_app
from contatto.channels.connectors.tiktok import sign_body
from contatto.channels.model import ChannelApp, Platform
from contatto.delivery.actions.serving import AdServer
from contatto.kit.db.tx import Tx
from contatto.kit.settings import Settings
from contatto.migrations.steps import migrate_schema
from contatto.ui.requests import Context
from contatto.wiring import install
from tests import schema
from tests.client import AppClient
from tests.passwords import QUICK

PASSWORD = "a long enough password"
EMAIL = "owner@example.com"
API = "/open_api/v1.3"
OPEN_ID = "tt-business-1"
APP_ID, APP_SECRET = "app-1", "app-secret-1"
ROOMY = 5_000.0
"""A daily budget whose plan of half an hour outlasts what a test asks for, at any time of the day."""
METRICS = ["spend", "impressions", "clicks", "conversion", "cost_per_conversion"]
COMPANY = CompanyData("Kopi and Co", "", "https://kopi.example.com/privacy")


@dataclass
class House:
    """One business of a running installation, and a browser-like client."""

    context: Context
    client: httpx2.Client
    business_id: str
    advertiser_id: str
    webchat_id: str
    tiktok_id: str
    token: str

    def api(self, method: str, path: str, **values: Any) -> dict[str, Any]:
        """Call the API v1.3 and give the whole envelope."""
        values.setdefault("advertiser_id", self.advertiser_id)
        headers = {"Access-Token": self.token}
        if method == "GET":
            query = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
            answer = self.client.get(API + path, params=query, headers=headers)
        else:
            answer = self.client.post(API + path, json=values, headers=headers)
        assert answer.status_code == 200, answer.text
        envelope: dict[str, Any] = answer.json()
        return envelope

    def data(self, method: str, path: str, **values: Any) -> Any:
        envelope = self.api(method, path, **values)
        assert envelope["code"] == 0, envelope
        return envelope["data"]

    def first_message(self) -> str:
        """Return the id of a welcome message; the first call makes it."""
        found = self.data("GET", "/creative/auto_message/get/")["list"]
        if not found:
            pairs = [{"question": "What does it cost?", "answer": "From 20."}]
            text = {"title": "Kopi", "content": "Hello!", "suggested_questions": pairs}
            self.data("POST", "/creative/auto_message/create/", auto_message_type="WELCOME_MESSAGE",
                      welcome_message=text)  # fmt: skip
            found = self.data("GET", "/creative/auto_message/get/")["list"]
        return str(found[0]["auto_message_id"])

    def make_ad(self, goal: str, channel: str | None = None, budget: float = 50.0) -> dict[str, str]:
        """Make campaign, ad group and ad through the API; give their ids."""
        campaign = self.data("POST", "/campaign/create/", campaign_name=f"Campaign {uuid.uuid4()}",
                             objective_type="LEAD_GENERATION")["campaign_id"]  # fmt: skip
        asked = ad_group(campaign, goal, channel or self.webchat_id) | {"budget": budget}
        group = self.data("POST", "/adgroup/create/", **asked)
        creative = {"ad_name": f"Ad of {goal}", "ad_text": "Write to us", "ad_format": "SINGLE_VIDEO",
                    "call_to_action": "SEND_MESSAGE", "auto_message_id": self.first_message(),
                    "identity_type": "TT_USER", "identity_id": channel or self.webchat_id}  # fmt: skip
        made = self.data("POST", "/ad/create/", adgroup_id=group["adgroup_id"], creatives=[creative])
        return {"campaign_id": campaign, "adgroup_id": group["adgroup_id"], "ad_id": made["ad_ids"][0]}

    def webhook(self, event: str, content: dict[str, Any], open_id: str = OPEN_ID) -> httpx2.Response:
        """Post a signed webhook as the platform does."""
        body = webhook_body(event, content, open_id)
        now = int(self.context.clock.now().timestamp())
        headers = {"TikTok-Signature": sign_body(body, APP_SECRET, now), "Content-Type": "application/json"}
        return self.client.post(f"/webhooks/tiktok/{APP_ID}", content=body, headers=headers)

    def sign_in(self) -> None:
        page = self.client.get("/login").text
        form = {"email": EMAIL, "password": PASSWORD, "csrf_token": csrf_of(page)}
        answer = self.client.post("/login", data=form, follow_redirects=False)
        assert answer.status_code == 303, answer.text

    def report(self, **values: Any) -> dict[str, dict[str, str]]:
        """The lifetime report by ad group: metrics by ad group id."""
        asked = {"service_type": "AUCTION", "report_type": "BASIC", "data_level": "AUCTION_ADGROUP",
                 "dimensions": ["adgroup_id"], "query_lifetime": "True",
                 "page_size": "100", "metrics": METRICS}  # fmt: skip
        data = self.data("GET", "/report/integrated/get/", **(asked | values))
        return {row["dimensions"]["adgroup_id"]: row["metrics"] for row in data["list"]}


def flush_decisions(client: Any) -> None:
    """Have what was decided written down, as happens behind the answers."""
    client.portal.call(client.app.state.resources[AdServer].flush)


def ad_group(campaign_id: str, goal: str, identity_id: str) -> dict[str, Any]:
    return {
        "campaign_id": campaign_id, "adgroup_name": f"{goal} group", "optimization_goal": goal,
        "promotion_type": "LEAD_GEN_CLICK_TO_TT_DIRECT_MESSAGE", "billing_event": "OCPM",
        "budget": 50.0, "budget_mode": "BUDGET_MODE_DAY", "pacing": "PACING_MODE_SMOOTH",
        "schedule_type": "SCHEDULE_FROM_NOW", "schedule_start_time": "2026-01-01 00:00:00",
        "location_ids": ["1880251"], "identity_type": "TT_USER", "identity_id": identity_id,
    }  # fmt: skip


def webhook_body(event: str, content: dict[str, Any], open_id: str = OPEN_ID) -> bytes:
    envelope = {"client_key": "key", "event": event, "create_time": 1_795_000_000, "user_openid": open_id,
                "content": json.dumps(content)}  # fmt: skip
    return json.dumps(envelope).encode()


def message(text: str, user: str, at_ms: int, message_id: str | None = None) -> dict[str, Any]:
    """The content of ``im_receive_msg``."""
    return {
        "from": f"name of {user}", "to": "kopi", "from_user": {"id": user, "role": "personal_account"},
        "conversation_id": f"conversation of {user}", "message_id": message_id or str(uuid.uuid4()),
        "timestamp": at_ms, "type": "text", "text": {"body": text},
    }  # fmt: skip


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf[_-]token" (?:value|content)="([\w-]{43})"', page)
    assert found, "the page carries no CSRF token"
    return found.group(1)


def until[T](look: Callable[[], T], seconds: float = 60.0) -> T:
    """Look again and again until there is something; the last look is given back either way."""
    end = time.monotonic() + seconds
    while not (seen := look()) and time.monotonic() < end:
        time.sleep(0.02)
    return seen


def open_house(
    folder: Path, *, capture_on: bool = True, url: str = "http://127.0.0.1:8000", **settings: Any
) -> tuple[Context, dict[str, str]]:
    """Open an installation with one business; give the context, and the ids that a House needs."""
    settings.setdefault("trial_share", 0.0)  # nobody is served by lot, but where a test is about it
    chosen = Settings(data_dir=folder, base_url=url, **settings)
    if not chosen.database_url:
        schema.copy_schema(folder / "contatto.sqlite3")
    context = open_context(install(chosen))
    if chosen.database_url:
        migrate_schema(context.db.engine)
    hashed = weak_hash(PASSWORD)

    def build(tx: Tx) -> dict[str, str]:
        business = accounts.create_business(tx, "Kopi and Co")
        accounts.add_member(tx, business.id, NewMember(EMAIL, "Owner", Role.OWNER), hashed)
        new = NewAdAccount("Main", "SG", "SGD", "Asia/Singapore")
        number = accounts.add_ad_account(tx, business.id, new).number
        webchat = connect_account(tx, business.id, NewAccount(Platform.WEBCHAT, "", "Kopi", "kopi", "SG"))
        new_tiktok = NewAccount(Platform.TIKTOK, OPEN_ID, "Kopi on TikTok", "kopi", "SG")
        tiktok = connect_account(tx, business.id, new_tiktok)
        register_app(tx, ChannelApp(APP_ID, business.id, Platform.TIKTOK, APP_SECRET))
        if capture_on:
            for account in (webchat, tiktok):
                turn_on_capture(tx, business.id, account.id, COMPANY)
        _, token = accounts.issue_token(tx, business.id, "tests", [scope.value for scope in Permission])
        return {"business_id": business.id, "advertiser_id": str(number), "webchat_id": webchat.id,
                "tiktok_id": tiktok.id, "token": token}  # fmt: skip

    return context, context.db.write_now(build)


def weak_hash(password: str) -> str:
    """A real hash, but one that is checked at once: the usual one takes its time on purpose."""
    return QUICK.hash(password)


@contextmanager
def running_house(folder: Path, *, capture_on: bool = True, **settings: Any) -> Iterator[House]:
    """A house in this process: its client calls the app without a socket."""
    context, made = open_house(folder, capture_on=capture_on, **settings)
    try:
        with AppClient(create_app(context), base_url="http://127.0.0.1:8000") as client:
            yield House(context=context, client=client, **made)
    finally:
        context.db.close()
