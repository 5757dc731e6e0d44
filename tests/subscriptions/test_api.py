"""Subscriptions through the API: leads pushed to a client's own server, tried again, ended; refusals."""

from collections.abc import Iterator
from typing import Any

import pytest

from contatto.accounts import actions as accounts
from contatto.accounts.model import Permission
from contatto.integrations.model import DeliveryState
from contatto.kit.db.tx import Tx
from contatto.kit.values import micros
from contatto.subscriptions import store
from contatto.subscriptions.model import Entity, Push
from tests.forms.edges import offer, send
from tests.forms.papers import kitchen
from tests.journeys.running import (
    API,
    APP_ID,
    APP_SECRET,
    House,
    csrf_of,
    message,
    running_house,
    until,
)
from tests.subscriptions.receiver import Receiver, is_signed_lead, running_receiver
from tests.unchanged import all_rows, nothing_changes

APP = {"app_id": APP_ID, "secret": APP_SECRET}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house"), allowed_hosts=(receiver.host,)) as running:
        yield running


def call(house: House, path: str, **body: Any) -> dict[str, Any]:
    """As a script does: without a header, by the app's secret alone."""
    answer = house.client.post(f"{API}/subscription/{path}/", json=body)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def subscribe(house: House, url: str, **changes: Any) -> dict[str, Any]:
    detail = {
        "access_token": house.token, "advertiser_id": house.advertiser_id, "lead_source": "DIRECT_MESSAGE",
    } | changes  # fmt: skip
    return call(
        house, "subscribe", **APP, subscribe_entity="LEAD", callback_url=url, subscription_detail=detail
    )


def listed(house: House, **query: Any) -> dict[str, Any]:
    answer = house.client.get(f"{API}/subscription/get/", params=APP | query).json()
    assert answer["code"] == 0, answer
    found: dict[str, Any] = answer["data"]
    return found


def write(house: House, user: str, text: str) -> None:
    now_ms = micros(house.context.clock.now()) // 1_000
    assert house.webhook("im_receive_msg", message(text, user, now_ms)).status_code == 200


FIELDS_OF_ENTRY = [
    "id", "lead_source", "page_id", "page_name", "advertiser_id", "advertiser_name", "library_id",
    "campaign_id", "campaign_name", "adgroup_id", "adgroup_name", "ad_id", "ad_name", "create_time",
    "is_test", "changes",
]  # fmt: skip
"""All that the platform names, in its order, and our ``is_test``."""


def pushes(house: House) -> list[Push]:
    return house.context.db.read_now(lambda tx: store.ledger.list_entries(tx, house.business_id))


def test_each_new_or_updated_lead_is_pushed_signed_and_in_the_shape_of_the_platform(
    house: House, receiver: Receiver
) -> None:
    made = subscribe(house, f"{receiver.url}/chat")
    assert made["code"] == 0, made
    again = subscribe(house, f"{receiver.url}/chat")
    assert again["data"] == made["data"]
    write(house, "梅", "my number is +65 8123 4567")
    assert until(lambda: receiver.entries("/chat"))
    entry = receiver.entries("/chat")[0]
    assert list(entry) == FIELDS_OF_ENTRY
    assert (entry["lead_source"], entry["page_id"], entry["library_id"]) == ("DIRECT_MESSAGE", "", "")
    assert entry["advertiser_id"] == house.advertiser_id
    assert entry["changes"] == [
        {"field": "name", "value": "name of 梅"}, {"field": "phone", "value": "+6581234567"},
    ]  # fmt: skip
    shown = house.data("GET", "/lead/get/", lead_source="DIRECT_MESSAGE")["meta_data"]
    assert (entry["id"], entry["is_test"]) == (shown["lead_id"], False)
    write(house, "梅", "or mei@example.com")
    assert until(lambda: len(receiver.entries("/chat")) > 1)
    assert receiver.entries("/chat")[1]["changes"][1] == {"field": "email", "value": "mei@example.com"}
    assert all(is_signed_lead(push, APP_SECRET) for push in receiver.received)
    assert until(lambda: [push.state for push in pushes(house)] == [DeliveryState.SENT, DeliveryState.SENT])


def test_answers_of_a_form_go_to_those_who_want_that_form(house: House, receiver: Receiver) -> None:
    version = offer(house, kitchen())
    page = str(version.number)
    for path, changes in (("/all", {}), ("/this", {"page_id": page})):
        made = subscribe(house, receiver.url + path, lead_source="INSTANT_FORM", **changes)
        assert made["code"] == 0, made
    send(house, version, {"q1": "b", "q5": "lin@example.com"})
    assert until(lambda: receiver.entries("/all") and receiver.entries("/this"))
    entry = receiver.entries("/this")[0]
    assert (entry["page_id"], entry["page_name"]) == (page, "Quote")
    assert {"field": "Label of q5", "value": "lin@example.com"} in entry["changes"]
    assert all(each["lead_source"] == "DIRECT_MESSAGE" for each in receiver.entries("/chat"))
    test_lead = house.data("POST", "/page/lead/mock/create/", page_id=page)["meta_data"]["lead_id"]
    assert until(lambda: len(receiver.entries("/this")) > 1)
    assert (receiver.entries("/this")[1]["id"], receiver.entries("/this")[1]["is_test"]) == (test_lead, True)
    house.data("POST", "/page/lead/mock/delete/", lead_id=test_lead)
    assert until(lambda: len([push for push in pushes(house) if push.subject_id == test_lead]) == 0)


def test_what_is_not_taken_comes_again_and_gone_ends_the_subscription(
    house: House, receiver: Receiver
) -> None:
    number = subscribe(house, f"{receiver.url}/again")["data"]["subscription_id"]
    for other in listed(house, page_size=1000)["subscriptions"]:
        if other["subscription_id"] != number:
            assert call(house, "unsubscribe", **APP, subscription_id=other["subscription_id"])["code"] == 0
    receiver.statuses += [500, 200, 410]
    write(house, "u3", "+65 8123 0003")
    assert until(lambda: len(receiver.entries("/again")) == 2)
    assert receiver.entries("/again")[0] == receiver.entries("/again")[1]
    write(house, "u4", "+65 8123 0004")
    assert until(lambda: listed(house)["subscriptions"] == [])
    assert pushes(house)[0].reason == "410"
    assert call(house, "unsubscribe", **APP, subscription_id=number)["code"] == 40007


def test_a_revoked_token_ends_its_subscription_before_the_next_push(house: House, receiver: Receiver) -> None:
    def issue(tx: Tx) -> tuple[str, str]:
        kept, token = accounts.issue_token(
            tx,
            house.business_id,
            "narrow",
            [Permission.READ_LEADS.value],
        )
        return kept.id, token

    token_id, token = house.context.db.write_now(issue)
    assert subscribe(house, f"{receiver.url}/narrow", access_token=token)["code"] == 0
    house.context.db.write_now(lambda tx: accounts.revoke_token(tx, house.business_id, token_id))  # type: ignore[arg-type]
    write(house, "u5", "+65 8123 0005")
    assert until(lambda: listed(house)["subscriptions"] == [])
    assert receiver.entries("/narrow") == []


def test_a_revoked_token_ends_the_pushes_that_it_has_set(house: House, receiver: Receiver) -> None:
    def second(tx: Tx) -> tuple[str, str]:
        kept, token = accounts.issue_token(tx, house.business_id, "pushes", [Permission.READ_INBOX])  # type: ignore[arg-type]
        return kept.id, token

    token_id, token = house.context.db.write_now(second)
    body = APP | {"callback_url": f"{receiver.url}/set-by-token"}
    set_up = house.client.post(
        f"{API}/business/webhook/update/", json=body, headers={"Access-Token": token}
    ).json()
    assert set_up["code"] == 0, set_up
    write(house, "u-before", "Hello")

    def told() -> int:
        return sum(push.path == "/set-by-token" for push in receiver.received)

    assert until(told)
    house.context.db.write_now(lambda tx: accounts.revoke_token(tx, house.business_id, token_id))  # type: ignore[arg-type]
    before = told()
    write(house, "u-after", "Hello again")

    def live() -> list[Any]:
        return house.context.db.read_now(
            lambda tx: store.list_subscriptions(tx, house.business_id, Entity.DIRECT_MESSAGE)
        )

    assert until(lambda: not live())
    assert told() == before


def test_secrets_and_pushed_values_are_sealed_at_rest(house: House, receiver: Receiver) -> None:
    subscribe(house, f"{receiver.url}/sealed")
    write(house, "u6", "sealed@example.com")
    assert until(lambda: receiver.entries("/sealed"))
    rows = all_rows(house.context.db)
    kept = str(rows["subscriptions"]) + str(rows["pushes"])
    assert APP_SECRET not in kept
    assert "sealed@example.com" not in kept


WRONG: list[tuple[str, dict[str, Any], int]] = [
    ("app_id", {"app_id": None}, 40002),
    ("secret", {"secret": "another"}, 40001),
    ("subscribe_entity", {"subscribe_entity": "WEATHER"}, 40002),
    ("callback_url", {"callback_url": "http://example.com/x"}, 40002),
    ("callback_url", {"callback_url": "https://example.com:8443/x"}, 40002),
    ("callback_url", {"callback_url": "nowhere"}, 40002),
    ("callback_url", {"callback_url": "https://example.com/" + "x" * 3000}, 40002),
    ("token", {"access_token": "contatto_forged"}, 40105),
    ("advertiser", {"advertiser_id": "1"}, 40300),
    ("lead_source", {"lead_source": "FAX"}, 40002),
    ("page_id", {"page_id": "1"}, 40002),
    ("page_id", {"page_id": "1", "lead_source": "INSTANT_FORM"}, 40007),
]


@pytest.mark.parametrize(("what", "changes", "code"), WRONG)
def test_a_wrong_subscription_is_refused_with_its_code_and_keeps_no_row(
    house: House, receiver: Receiver, what: str, changes: dict[str, Any], code: int
) -> None:
    detail = {
        "access_token": house.token,
        "advertiser_id": house.advertiser_id,
        "lead_source": "DIRECT_MESSAGE",
    }
    inner = {name: value for name, value in changes.items() if name in {*detail, "page_id"}}
    outer = {name: value for name, value in changes.items() if name not in inner}
    body: dict[str, Any] = APP | {
        "subscribe_entity": "LEAD", "callback_url": f"{receiver.url}/wrong",
        "subscription_detail": detail | inner,
    } | outer  # fmt: skip
    with nothing_changes(house.context.db):
        refused = call(house, "subscribe", **body)
    assert refused["code"] == code, refused
    assert what in refused["message"]


def test_an_app_that_nobody_registered_needs_a_token_and_sees_its_own(house: House) -> None:
    stranger = {"app_id": "app-9", "secret": "brought along"}
    assert house.client.get(f"{API}/subscription/get/", params=stranger).json()["code"] == 40001
    headers = {"Access-Token": house.token}
    answer = house.client.get(f"{API}/subscription/get/", params=stranger, headers=headers).json()
    assert answer["data"]["subscriptions"] == []
    wrong = APP | {"secret": "x"}
    assert house.client.get(f"{API}/subscription/get/", params=wrong, headers=headers).json()["code"] == 40001
    assert house.client.get(f"{API}/subscription/get/", params=wrong).json()["code"] == 40001


def test_a_member_looks_at_pushes_sends_one_again_and_ends_a_subscription(
    house: House, receiver: Receiver
) -> None:
    number = subscribe(house, f"{receiver.url}/page")["data"]["subscription_id"]
    write(house, "u7", "+65 8123 0007")
    assert until(lambda: receiver.entries("/page"))

    def pushed() -> Push | None:
        found = house.context.db.read_now(
            lambda tx: store.find_subscription(tx, house.business_id, int(number))
        )
        mine = [each for each in pushes(house) if found and each.subscription_id == found.id]
        return next((each for each in mine if each.state is DeliveryState.SENT), None)

    sent = until(pushed)
    assert sent is not None
    house.sign_in()
    page = house.client.get("/settings/subscriptions").text
    assert f"{receiver.url}/page" in page
    assert "Send again" in page
    form = {"csrf_token": csrf_of(page)}
    replay = house.client.post(f"/settings/subscriptions/pushes/{sent.id}/replay", data=form)
    assert replay.status_code == 200
    assert until(lambda: len(receiver.entries("/page")) == 2)
    house.client.post(f"/settings/subscriptions/{number}/end", data=form)
    assert number not in str(listed(house))
