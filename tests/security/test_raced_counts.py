"""Attacks by many requests at once: what may be there so often is not there more often afterwards."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from contatto.accounts import actions as accounts
from contatto.accounts import store as accounts_store
from contatto.accounts.model import Permission, Role
from contatto.kit.db.tx import metadata
from contatto.kit.errors import Refused
from contatto.subscriptions.model import Entity
from contatto.subscriptions.store import list_subscriptions
from tests import make
from tests.forms.edges import offer as offer_form
from tests.forms.edges import opened
from tests.forms.papers import kitchen
from tests.journeys.running import API, APP_ID, APP_SECRET, House, ad_group, csrf_of, until
from tests.security.servers import Served

AT_ONCE = 24
MOST = 4
"""To what each limit is lowered here."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request of a burst."""

    path: str
    form: dict[str, Any] | None = None
    body: dict[str, Any] | None = None
    content: bytes | None = None
    content_type: str = ""


async def send_at_once(served: Served, requests: list[Sent], client: httpx2.Client, token: str) -> list[Any]:
    """Send all at once, in turn to each server, with the cookies of a browser or an access token."""
    headers = {"Access-Token": token} if token else {}
    limits = httpx2.Limits(max_connections=len(requests))
    cookies = {} if token else dict(client.cookies)
    async with httpx2.AsyncClient(limits=limits, timeout=120, cookies=cookies, headers=headers) as many:
        asked = []
        for number, sent in enumerate(requests):
            url = served.urls[number % 2] + sent.path
            if sent.content is not None:
                of = {"Content-Type": sent.content_type}
                asked.append(many.post(url, content=sent.content, headers=of))
            else:
                asked.append(many.post(url, data=sent.form, json=sent.body))
        return list(await asyncio.gather(*asked))


def burst(served: Served, requests: list[Sent], *, as_program: bool = False) -> Counter[int]:
    """The statuses of a burst; those of the API are its codes."""
    token = served.house.token if as_program else ""
    answers = asyncio.run(send_at_once(served, requests, served.house.client, token))
    return Counter(
        answer.json()["code"] if answer.url.path.startswith(API) else answer.status_code for answer in answers
    )


def rows(served: Served, table: str) -> int:
    """How many rows of a table there are."""
    found = select(func.count()).select_from(metadata.tables[table])
    return int(served.context.db.read_now(lambda tx: tx.scalar(found)))


def signed_in(served: Served) -> str:
    """The CSRF token of the owner, who is signed in."""
    served.house.sign_in()
    return csrf_of(served.house.client.get("/settings").text)


def label(served: Served, number: int, made: dict[str, str]) -> Sent:
    return Sent(f"/leads/{made['lead']}/labels", {"name": f"label {number}"})


def view(served: Served, number: int, made: dict[str, str]) -> Sent:
    return Sent("/leads/views", {"name": f"view {number}", "query": "status=raw"})


def report(served: Served, number: int, made: dict[str, str]) -> Sent:
    return Sent("/reports/saved", {"name": f"report {number}", "query": ""})


def saved_reply(served: Served, number: int, made: dict[str, str]) -> Sent:
    return Sent("/settings/replies", {"shortcut": f"word{number}", "text": "Hi"})


def scheduled(served: Served, number: int, made: dict[str, str]) -> Sent:
    form = {"text": f"later {number}", "at": made["at"], "client_message_id": str(uuid.uuid4())}
    return Sent(f"/inbox/{made['conversation']}/scheduled", form)


PAGES: dict[str, tuple[str, str, Callable[[Served, int, dict[str, str]], Sent]]] = {
    "labels": ("contatto.leads.rules.records.MOST_LABELS", "labels", label),
    "views": ("contatto.leads.actions.annotations.MOST_VIEWS", "lead_views", view),
    "reports": ("contatto.reports.actions.overview.MOST_SAVED", "saved_reports", report),
    "saved replies": ("contatto.inbox.rules.MOST_SAVED", "saved_replies", saved_reply),
    "scheduled replies": ("contatto.inbox.rules.MOST_SCHEDULED", "scheduled_replies", scheduled),
}


@pytest.mark.parametrize("kind", PAGES)
def test_no_burst_of_forms_makes_more_than_there_may_be(
    served: Served, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, table, made_by = PAGES[kind]
    monkeypatch.setattr(place, MOST)
    token, made = signed_in(served), world_of(served)
    requests = [made_by(served, number, made) for number in range(AT_ONCE)]
    sent = [Sent(each.path, (each.form or {}) | {"csrf_token": token}) for each in requests]
    got = burst(served, sent)
    assert rows(served, table) == MOST, got
    assert set(got) <= {200, 204, 303, 422}, got


def world_of(served: Served) -> dict[str, str]:
    """A lead and a conversation, made as a customer's message makes them."""
    house = served.house
    house.client.get(f"/chat/{house.webchat_id}")
    body = {"client_message_id": str(uuid.uuid4()), "text": "Hi, call me at +65 9123 4567"}
    assert house.client.post(f"/chat/{house.webchat_id}/messages", json=body).status_code == 200

    def find(tx: Any) -> dict[str, str]:
        lead = tx.scalar(select(metadata.tables["leads"].c.id))
        talk = tx.scalar(select(metadata.tables["conversations"].c.id))
        return {"lead": lead, "conversation": talk} if lead and talk else {}

    found = until(lambda: served.context.db.read_now(find))
    tomorrow = served.context.clock.now() + timedelta(days=1)
    return found | {"at": tomorrow.replace(second=0, microsecond=0).isoformat()}


def event_set(number: int, made: dict[str, str]) -> Sent:
    return Sent(f"{API}/crm/create/", body={"advertiser_id": made["advertiser"], "name": f"set {number}"})


def subscription(number: int, made: dict[str, str]) -> Sent:
    detail = {
        "access_token": made["token"],
        "advertiser_id": made["advertiser"],
        "lead_source": "DIRECT_MESSAGE",
    }
    body = {"app_id": APP_ID, "secret": APP_SECRET, "subscribe_entity": "LEAD", "subscription_detail": detail}
    return Sent(
        f"{API}/subscription/subscribe/", body=body | {"callback_url": f"https://example.com/{number}"}
    )


def smart_group(number: int, made: dict[str, str]) -> Sent:
    body = ad_group(made["campaign"], "LEAD_GENERATION", made["channel"])
    named = {"advertiser_id": made["advertiser"], "adgroup_name": f"group {number}"}
    return Sent(f"{API}/smart_plus/adgroup/create/", body=body | named)


PROGRAMS: dict[str, tuple[str, str, Callable[[int, dict[str, str]], Sent]]] = {
    "event sets": ("contatto.crm.api.MOST_SETS", "crm_event_sets", event_set),
    "subscriptions": ("contatto.subscriptions.rules.MOST_SUBSCRIPTIONS", "subscriptions", subscription),
    "ad groups": ("contatto.ads.api.smart_plus.MOST_AD_GROUPS", "ad_groups", smart_group),
}


def made_of(house: House) -> dict[str, str]:
    made = {"advertiser": house.advertiser_id, "token": house.token, "channel": house.webchat_id}
    campaign = house.data("POST", "/campaign/create/", campaign_name="C", objective_type="LEAD_GENERATION")
    return made | {"campaign": campaign["campaign_id"]}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_no_burst_of_a_program_makes_more_than_there_may_be(
    served: Served, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, table, made_by = PROGRAMS[kind]
    monkeypatch.setattr(place, MOST)
    made = made_of(served.house)
    got = burst(served, [made_by(number, made) for number in range(AT_ONCE)], as_program=True)
    assert rows(served, table) == MOST, got
    assert got == {0: MOST, 40502: AT_ONCE - MOST}


def test_the_same_subscription_at_once_is_one(served: Served) -> None:
    made = made_of(served.house)
    got = burst(served, [subscription(1, made)] * AT_ONCE, as_program=True)
    assert (got, rows(served, "subscriptions")) == ({0: AT_ONCE}, 1)


def test_an_app_has_one_address_for_messages_however_many_are_set_at_once(served: Served) -> None:
    body = {"app_id": APP_ID, "secret": APP_SECRET}
    sent = [Sent(f"{API}/business/webhook/update/", body=body | {"callback_url": f"https://example.com/{n}"})
            for n in range(AT_ONCE)]  # fmt: skip
    got = burst(served, sent, as_program=True)
    live = served.context.db.read_now(
        lambda tx: list_subscriptions(tx, served.house.business_id, Entity.DIRECT_MESSAGE)
    )
    assert (got, len(live)) == ({0: AT_ONCE}, 1)


def test_an_auth_code_that_is_sent_many_times_at_once_gives_one_token(served: Served) -> None:
    code = served.context.db.write_now(
        lambda tx: accounts.issue_auth_code(tx, served.house.business_id, "x", [Permission.READ_ADS])
    )
    before = rows(served, "api_tokens")
    body = {"app_id": "1", "secret": "2", "auth_code": code}
    got = burst(served, [Sent(f"{API}/oauth2/access_token/", body=body)] * 8)
    assert (got, rows(served, "api_tokens")) == ({0: 1, 40110: 7}, before + 1)


def test_one_request_id_at_once_makes_one_thing(served: Served) -> None:
    made = made_of(served.house)
    sent = smart_group(1, made)
    same = Sent(sent.path, body=(sent.body or {}) | {"request_id": "4711"})
    assert burst(served, [same] * AT_ONCE, as_program=True) == {0: AT_ONCE}
    assert rows(served, "ad_groups") == 1


def test_one_form_that_is_sent_many_times_at_once_is_kept_once(served: Served) -> None:
    house = served.house
    version = offer_form(house, kitchen())
    answers = {"q1": "a", "q2": ["b"], "q4": "Mei", "q5": "mei@example.com", "q8": "essay"}
    body = {"page_id": str(version.number), "opening": opened(house, version), "language": "en",
            "submission_id": "submission-1", "answers": answers, "consents": ["c1"]}  # fmt: skip
    got = burst(served, [Sent(f"/chat/{house.webchat_id}/form", body=body)] * 16)
    assert (set(got), rows(served, "form_answers"), rows(served, "leads")) == ({200}, 1, 1)


def test_a_visitor_sends_no_more_forms_and_messages_at_once_than_one_by_one(served: Served) -> None:
    """Each server counts for itself; all go to the first."""
    house = served.house
    house.client.get(f"/chat/{house.webchat_id}")
    path = f"/chat/{house.webchat_id}/messages"
    sent = [Sent(path, body={"client_message_id": str(uuid.uuid4()), "text": "Hi"}) for _ in range(120)]
    one_server = Served(house, (served.urls[0], served.urls[0]), served.opened, served.threads)
    got = burst(one_server, sent)
    assert got == {200: 40, 429: 80}


def test_owners_who_take_each_other_away_at_once_leave_one(served: Served) -> None:
    db, business_id = served.context.db, served.house.business_id

    def add(tx: Any) -> None:
        for number in range(7):
            make.member(tx, business_id, f"owner{number}@example.com")

    db.write_now(add)
    members = db.read_now(lambda tx: accounts_store.list_members(tx, business_id))

    def deactivate(member_id: str) -> bool:
        def work(tx: Any) -> None:
            accounts.deactivate_member(tx, accounts.load_member(tx, business_id, member_id))

        try:
            db.write_now(work)
        except Refused:
            return False
        return True

    gone = list(served.threads.map(deactivate, [each.id for each in members]))
    assert gone.count(False) == 1
    members = db.read_now(lambda tx: accounts_store.list_members(tx, business_id))
    owners = [member for member in members if member.role is Role.OWNER and member.deactivated_at is None]
    assert len(owners) == 1
