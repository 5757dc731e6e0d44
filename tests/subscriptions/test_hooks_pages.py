"""Hooks for Zapier, Make, n8n and others: through the API and the settings page, to a real receiver."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from standardwebhooks.webhooks import Webhook

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount, NewMember
from contatto.accounts.model import BusinessId, Role
from contatto.integrations.model import DeliveryState
from contatto.kit.db.tx import Tx
from contatto.kit.values import micros
from contatto.leads.actions.records import change_lead_status
from contatto.leads.model import LeadStatus
from contatto.leads.store.tables import leads
from contatto.subscriptions import store
from contatto.subscriptions.model import Subscription
from tests.journeys.running import API, PASSWORD, House, csrf_of, message, running_house, until, weak_hash
from tests.subscriptions.receiver import Received, Receiver, running_receiver

HOME = "/settings/subscriptions"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house"), allowed_hosts=(receiver.host,)) as running:
        running.sign_in()
        yield running


def subscribe(house: House, url: str, event: str = "lead.created", **more: Any) -> dict[str, Any]:
    made = house.data("POST", "/contatto/hook/subscribe/", event=event, callback_url=url, **more)
    assert isinstance(made, dict)
    return made


def hook(house: House, number: str) -> Subscription:
    found = house.context.db.read_now(lambda tx: store.find_subscription(tx, house.business_id, int(number)))
    assert found is not None
    return found


def got(receiver: Receiver, path: str, count: int = 1) -> list[Received]:
    found = until(lambda: [each for each in receiver.received if each.path == path][count - 1 :])
    assert found, f"nothing came to {path}"
    return [each for each in receiver.received if each.path == path]


def write(house: House, user: str, text: str) -> None:
    now_ms = micros(house.context.clock.now()) // 1_000
    assert house.webhook("im_receive_msg", message(text, user, now_ms)).status_code == 200


def post(house: House, path: str, **form: str) -> httpx2.Response:
    token = csrf_of(house.client.get(HOME).text)
    return house.client.post(path, data=form | {"csrf_token": token}, follow_redirects=False)


def secret_on(page: str) -> str:
    found = re.search(r'id="new-secret">([^<]+)<', page)
    assert found, "no secret is shown"
    return found[1]


def test_a_program_subscribes_is_told_of_leads_and_goes(house: House, receiver: Receiver) -> None:
    made = subscribe(house, f"{receiver.url}/new")
    assert subscribe(house, f"{receiver.url}/new") == made, "the same again is the one that is there"
    changed = subscribe(house, f"{receiver.url}/changed", "lead.changed")
    write(house, "mei", "Hi, my number is +65 9123 4567")
    (push,) = got(receiver, "/new")
    Webhook(made["secret"]).verify(push.body, push.headers)
    (sample,) = house.data("GET", "/contatto/hook/sample/", event="lead.created")["leads"]
    assert push.content.keys() <= sample.keys()
    assert (push.content["event"], push.content["phone"]) == ("lead.created", "+6591234567")

    def qualify(tx: Tx) -> None:
        (lead_id,) = tx.execute(leads.select().where(leads.c.business_id == house.business_id)).scalars()
        change_lead_status(tx, house.business_id, lead_id, LeadStatus.RAW, LeadStatus.QUALIFIED, "Owner")

    house.context.db.write_now(qualify)
    got(receiver, "/changed")
    last = until(lambda: [e for e in got(receiver, "/changed") if e.content["status"] == "qualified"])
    assert last[0].content["id"] == push.content["id"]
    Webhook(changed["secret"]).verify(last[0].body, last[0].headers)
    ended = house.data("POST", "/contatto/hook/unsubscribe/", subscription_id=changed["subscription_id"])
    assert ended["subscription_id"] == changed["subscription_id"]
    assert hook(house, changed["subscription_id"]).ended_at is not None


def test_410_ends_a_hook_and_so_does_the_end_of_its_token(house: House, receiver: Receiver) -> None:
    gone = subscribe(house, f"{receiver.url}/gone")["subscription_id"]
    receiver.statuses.append(410)
    post(house, f"{HOME}/{gone}/test")
    assert until(lambda: hook(house, gone).ended_at)
    assert hook(house, gone).end_reason == "gone"

    def issue(tx: Tx) -> tuple[str, str]:
        kept, value = accounts.issue_token(tx, BusinessId(house.business_id), "zapier", ["leads.read"])
        return kept.id, value

    token_id, value = house.context.db.write_now(issue)
    body = {
        "advertiser_id": house.advertiser_id,
        "event": "lead.created",
        "callback_url": f"{receiver.url}/z",
    }
    answer = house.client.post(f"{API}/contatto/hook/subscribe/", json=body, headers={"Access-Token": value})
    number = answer.json()["data"]["subscription_id"]
    post(house, f"/settings/tokens/{token_id}/revoke")
    post(house, f"{HOME}/{number}/test")
    assert until(lambda: hook(house, number).ended_at)
    assert [each for each in receiver.received if each.path == "/z"] == []


def test_a_member_makes_tests_pauses_rotates_and_ends_a_hook(house: House, receiver: Receiver) -> None:
    url = f"{receiver.url}/page"
    wrong = post(house, HOME, event="lead.created", callback_url="http://10.0.0.1/")
    assert wrong.status_code == 422
    assert 'value="http://10.0.0.1/"' in wrong.text
    made = post(house, HOME, event="lead.created", callback_url=url)
    first = secret_on(made.text)
    assert first not in house.client.get(HOME).text, "the secret is shown once"
    numbers = re.findall(rf"{HOME}/(\d+)/test", made.text)
    (number,) = [each for each in numbers if hook(house, each).callback_url == url]
    post(house, f"{HOME}/{number}/pause")
    assert "Paused" in house.client.get(HOME).text
    post(house, f"{HOME}/{number}/test")
    second = secret_on(post(house, f"{HOME}/{number}/rotate").text)
    assert second != first
    assert [each for each in receiver.received if each.path == "/page"] == []
    post(house, f"{HOME}/{number}/resume")
    (push,) = got(receiver, "/page")
    for secret in (first, second):
        Webhook(secret).verify(push.body, push.headers)
    third = secret_on(post(house, f"{HOME}/{number}/rotate").text)
    post(house, f"{HOME}/{number}/test")
    last = got(receiver, "/page", 2)[1]
    Webhook(third).verify(last.body, last.headers)
    with pytest.raises(Exception, match="signature"):
        Webhook(first).verify(last.body, last.headers)
    assert until(lambda: "Accepted" in house.client.get(HOME).text)
    assert post(house, f"{HOME}/{number}/end").status_code == 303
    assert hook(house, number).ended_at is not None
    assert post(house, f"{HOME}/{number}/test").status_code == 404


def test_a_hook_of_another_business_or_account_is_not_there(house: House, receiver: Receiver) -> None:
    number = subscribe(house, f"{receiver.url}/mine")["subscription_id"]

    def move_in(tx: Tx) -> tuple[str, str]:
        rival = accounts.create_business(tx, "Rivals")
        new = NewMember("rival@example.com", "Rival", Role.OWNER)
        accounts.add_member(tx, rival.id, new, weak_hash(PASSWORD))
        _, theirs = accounts.issue_token(tx, rival.id, "rival", ["leads.read"])
        new_account = NewAdAccount("B", "SG", "SGD", "Asia/Singapore")
        other = accounts.add_ad_account(tx, BusinessId(house.business_id), new_account)
        _, narrow = accounts.issue_token(
            tx, BusinessId(house.business_id), "narrow", ["leads.read"], "", [other.id]
        )
        return theirs, narrow

    for token in house.context.db.write_now(move_in):
        for path, body in (
            ("unsubscribe", {"subscription_id": number}),
            ("subscribe", {"advertiser_id": house.advertiser_id, "event": "lead.created",
                           "callback_url": f"{receiver.url}/theirs"}),
        ):  # fmt: skip
            answer = house.client.post(
                f"{API}/contatto/hook/{path}/", json=body, headers={"Access-Token": token}
            ).json()
            assert answer["code"] != 0, path
    assert hook(house, number).ended_at is None


def test_the_log_says_in_words_why_a_push_never_arrived(house: House, receiver: Receiver) -> None:
    number = subscribe(house, f"{receiver.url}/late")["subscription_id"]
    post(house, f"{HOME}/{number}/test")
    got(receiver, "/late")

    def expire(tx: Tx) -> bool:
        push = store.ledger.list_entries(tx, house.business_id)[0]
        store.ledger.record(tx, push, DeliveryState.DEAD, "expired")
        return push.settled_at is not None

    assert until(lambda: house.context.db.write_now(expire))
    assert "The time limit for sending has passed" in house.client.get(HOME).text
