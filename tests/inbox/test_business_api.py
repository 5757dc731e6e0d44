"""Business messages through the API: lists, sending, automatic messages, and pushes; never a notice."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from contatto.accounts import actions as accounts
from contatto.accounts.store import list_tokens
from contatto.channels.actions import set_access_token
from contatto.inbox.rules import media_token, read_media_token
from contatto.inbox.store.conversations import list_notices
from contatto.inbox.store.desk import ConversationFilter, list_conversations
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.values import micros
from contatto.kit.vault import Vault
from tests.channels.vendor import Vendor, running_vendor
from tests.journeys.running import (
    API,
    APP_ID,
    APP_SECRET,
    OPEN_ID,
    House,
    csrf_of,
    message,
    running_house,
    until,
)
from tests.subscriptions.receiver import Receiver, is_signed_message, running_receiver
from tests.unchanged import nothing_changes, wait_until_quiet

APP = {"app_id": APP_ID, "secret": APP_SECRET}
OF = {"business_id": OPEN_ID}
CONVERSATION = "conversation of mei"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture(scope="module")
def platform() -> Iterator[Vendor]:
    with running_vendor() as running:
        yield running


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, platform: Vendor) -> Iterator[House]:
    """One person came from two ads, one after the other, and shared a number."""
    folder = tmp_path_factory.mktemp("house")
    allowed = (receiver.host, platform.host)
    with running_house(folder, allowed_hosts=allowed, platform_urls={"tiktok": platform.url}) as running:
        running.context.db.write_now(
            lambda tx: set_access_token(tx, running.business_id, running.tiktok_id, "token-of-the-platform")
        )
        running.ads = [  # type: ignore[attr-defined]
            running.make_ad(goal, running.tiktok_id)["ad_id"] for goal in ("CONVERSATION", "LEAD_GENERATION")
        ]
        now_ms = micros(running.context.clock.now()) // 1_000
        for ago_ms, ad_id in zip((9_000, 5_000), running.ads, strict=True):  # type: ignore[attr-defined]
            ad = {"ad": {"ad_id": ad_id, "timestamp": now_ms - ago_ms}, "source": "ad"}
            running.webhook("im_referral_msg", message("hi", "mei", now_ms - ago_ms) | {"referral": ad})
        running.webhook("im_receive_msg", message("+65 8123 4567", "mei", now_ms))

        assert until(lambda: listed(running, "STRANGER"))
        yield running


def listed(house: House, kind: str, **query: Any) -> list[dict[str, Any]]:
    asked = OF | {"conversation_type": kind} | query
    rows: list[dict[str, Any]] = house.data("GET", "/business/message/conversation/list/", **asked)[
        "conversations"
    ]
    return rows


def said(house: House, **query: Any) -> dict[str, Any]:
    asked = OF | {"conversation_id": CONVERSATION} | query
    data: dict[str, Any] = house.data("GET", "/business/message/content/list/", **asked)
    return data


def send(house: House, **changes: Any) -> dict[str, Any]:
    body = OF | {"recipient_type": "CONVERSATION", "recipient": CONVERSATION, "message_type": "TEXT",
                 "text": {"body": "We call you."}} | changes  # fmt: skip
    return house.api("POST", "/business/message/send/", **body)


def test_a_conversation_tells_all_ads_that_the_person_came_from_in_seconds(house: House) -> None:
    (row,) = listed(house, "STRANGER")
    assert row["conversation_id"] == CONVERSATION
    ads = row["referral"]["ad"]
    assert [ad["ad_id"] for ad in ads] == house.ads  # type: ignore[attr-defined]
    assert {ad["advertiser_id"] for ad in ads} == {house.advertiser_id}
    assert row["update_time"] // 1_000 - ads[0]["timestamp"] in (8, 9, 10)
    assert listed(house, "SINGLE") == []


def test_an_answer_makes_it_a_conversation_of_two_and_leaves_for_the_platform(
    house: House, platform: Vendor
) -> None:
    sent = send(house)
    assert sent["code"] == 0, sent
    assert until(lambda: [each.body["text"]["body"] for each in platform.taken] == ["We call you."])
    assert [row["conversation_id"] for row in listed(house, "SINGLE")] == [CONVERSATION]
    newest = said(house)["messages"][0]
    assert (newest["message_id"], newest["text"], newest["message_tag"]) == (
        sent["data"]["message"]["message_id"], {"body": "We call you."}, {"source": "API"},
    )  # fmt: skip
    assert newest["from_user"] == {
        "role": "BUSINESS_ACCOUNT",
        "id": OPEN_ID,
        "display_name": "Kopi on TikTok",
    }
    assert newest["to_user"]["id"] == "mei"


def test_a_template_is_a_text_and_an_action_is_no_message(house: House) -> None:
    card = {"type": "QA_BUTTON_CARD", "title": "When?", "buttons": [{"title": "Today"}, {"title": "Later"}]}
    assert send(house, message_type="TEMPLATE", template=card)["code"] == 0
    assert said(house)["messages"][0]["text"]["body"] == "When?\n1. Today\n2. Later"
    before = said(house)
    for action in ("TYPING", "MARK_READ"):
        done = send(house, message_type="SENDER_ACTION", sender_action=action)
        assert done["data"] == {"message": {"message_id": ""}}
    assert said(house) == before


def test_pages_of_messages_lead_to_the_first_one(house: House) -> None:
    whole = said(house)
    assert not whole["has_more"]
    first = said(house, limit=1)
    rest = said(house, limit=20, cursor=first["cursor"])
    assert first["messages"] + rest["messages"] == whole["messages"]
    assert {each["role"] for each in whole["participants"]} == {"BUSINESS_ACCOUNT", "PERSONAL_ACCOUNT"}


def test_the_notice_of_the_inbox_is_in_no_answer_of_the_api(house: House) -> None:
    def notices(tx: Tx) -> Any:
        found = list_conversations(tx, house.business_id, ConversationFilter())
        return [notice for each in found for notice in list_notices(tx, house.business_id, each.id)]

    assert until(lambda: house.context.db.read_now(notices))
    everything = json.dumps([said(house), listed(house, "SINGLE"), listed(house, "STRANGER")])
    assert "Leads Center" not in everything
    assert len(said(house)["messages"]) == 3


def upload(house: House, business_id: str) -> str:
    """The ``media_id`` of a picture."""
    sent: dict[str, Any] = {
        "data": {"business_id": business_id},
        "files": {"file": ("p.png", PIXEL, "image/png")},
    }
    headers = {"Access-Token": house.token}
    answer = house.client.post(f"{API}/business/message/media/upload/", **sent, headers=headers).json()
    return str(answer["data"]["media_id"])


def test_pictures_go_where_the_channel_takes_them(house: House) -> None:
    media_id = upload(house, OPEN_ID)
    refused = send(house, message_type="IMAGE", image={"media_id": media_id})
    assert (refused["code"], "Photos" in refused["message"]) == (40002, True)
    asked = OF | {"conversation_id": CONVERSATION, "capability_types": ["IMAGE_SEND"]}
    infos = house.data("GET", "/business/message/capabilities/get/", **asked)["capability_infos"]
    assert infos == [{"capability_type": "IMAGE_SEND", "capability_result": False}]


def another_token(house: House) -> Callable[[Tx], str]:
    return lambda tx: accounts.issue_token(tx, house.business_id, "pictures", ["inbox.read"])[1]  # type: ignore[arg-type]


def revoke_newest(tx: Tx, house: House) -> None:
    newest = next(each for each in list_tokens(tx, house.business_id) if each.name == "pictures")  # type: ignore[arg-type]
    accounts.revoke_token(tx, house.business_id, newest.id)  # type: ignore[arg-type]


def test_a_picture_of_a_message_is_fetched_by_a_link_that_ends(house: House) -> None:
    house.client.get(f"/chat/{house.webchat_id}")
    hello = {"client_message_id": "hello-there", "text": "Hi"}
    assert house.client.post(f"/chat/{house.webchat_id}/messages", json=hello).status_code == 200
    of = {"business_id": house.webchat_id, "conversation_type": "STRANGER"}

    def waiting() -> Any:
        return house.data("GET", "/business/message/conversation/list/", **of)["conversations"]

    to = {"business_id": house.webchat_id, "recipient": until(waiting)[0]["conversation_id"]}
    media_id = upload(house, house.webchat_id)
    sent = send(house, **to, message_type="IMAGE", image={"media_id": media_id})["data"]["message"]
    asked = {"business_id": house.webchat_id, "conversation_id": to["recipient"], **sent,
             "media_id": media_id, "media_type": "IMAGE"}  # fmt: skip
    url = house.data("POST", "/business/message/media/download/", **asked)["download_url"]
    with httpx2.Client(transport=house.client._transport, base_url=house.client.base_url) as stranger:
        picture = stranger.get(url)
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
        assert stranger.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status_code == 401
        own, house.token = house.token, house.context.db.write_now(another_token(house))
        of_another = house.data("POST", "/business/message/media/download/", **asked)["download_url"]
        assert stranger.get(of_another).status_code == 200
        house.context.db.write_now(lambda tx: revoke_newest(tx, house))
        house.token = own
        assert [stranger.get(each).status_code for each in (of_another, url)] == [410, 200]
    other = asked | {"media_id": "x"}
    refused = house.api("POST", "/business/message/media/download/", **other)
    assert (refused["code"], refused["message"].startswith("media_id: ")) == (40007, True)
    refused = house.api("POST", "/business/message/media/download/", **asked | OF)
    assert (refused["code"], refused["message"].startswith("conversation_id: ")) == (40007, True)


def test_a_link_to_a_picture_is_good_until_its_time_and_for_that_picture() -> None:
    signer, other = (Vault({"k": bytes([n]) * 32}).signer("media") for n in (1, 2))
    token = media_token("business", "token", "digest", 600, signer)
    assert read_media_token(token, 600, signer) == ("business", "token", "digest")
    for key, wrong, now_s in (
        (signer, token, 601),
        (other, token, 1),
        (signer, token[1:], 1),
        (signer, token[:-1], 1),
        (signer, "", 1),
    ):
        with pytest.raises(Refused):
            read_media_token(wrong, now_s, key)


def test_a_shared_post_is_a_text_with_its_address(house: House) -> None:
    assert send(house, message_type="SHARE_POST", share_post={"item_id": "7123"})["code"] == 0
    assert said(house)["messages"][0]["text"]["body"] == "https://www.tiktok.com/@kopi/video/7123"


@pytest.mark.parametrize(
    ("changes", "code", "names"),
    [
        ({"business_id": "nobody"}, 40007, "business_id"),
        ({"recipient": "nobody"}, 40007, "conversation_id"),
        ({"message_type": "SHARE_POST"}, 40002, "share_post"),
        ({"message_type": "SHARE_POST", "share_post": {"item_id": "x"}}, 40002, "share_post.item_id"),
        ({"message_type": "STICKER"}, 40002, "message_type"),
        ({"message_type": "TEMPLATE"}, 40002, "template"),
        ({"text": {"body": ""}}, 40002, "text.body"),
        ({"text": {"body": "x" * 6001}}, 40002, "text"),
        ({"message_type": "IMAGE", "image": {"media_id": "x"}}, 40007, "image"),
        ({"message_type": "TEMPLATE", "template": {"type": "QA_BUTTON_CARD", "title": "x",
                                                   "buttons": [{"title": "x" * 21}]}}, 40002, "template"),
    ],
)  # fmt: skip
def test_a_wrong_message_is_refused_by_name_and_not_kept(
    house: House, changes: dict[str, Any], code: int, names: str
) -> None:
    with nothing_changes(house.context.db):
        refused = send(house, **changes)
    assert (refused["code"], refused["message"].startswith(names)) == (code, True), refused


def test_the_eleventh_message_after_the_persons_last_is_too_fast(house: House) -> None:
    house.webhook("im_receive_msg", message("And?", "mei", micros(house.context.clock.now()) // 1_000))
    wait_until_quiet(house.context.db)
    codes = [send(house, text={"body": f"number {number}"})["code"] for number in range(11)]
    assert codes == [0] * 10 + [40064]


def test_messages_of_both_sides_are_pushed_signed_and_notices_are_not(
    house: House, receiver: Receiver
) -> None:
    def ask(path: str, **body: Any) -> Any:
        return house.client.post(f"{API}/business/webhook/{path}/", json=APP | body).json()

    wait_until_quiet(house.context.db)  # what was sent before is told to nobody
    set_up = ask("update", event_type="DIRECT_MESSAGE", callback_url=f"{receiver.url}/messages")
    assert set_up["data"] == {
        "app_id": APP_ID, "event_type": "DIRECT_MESSAGE", "callback_url": f"{receiver.url}/messages",
    }  # fmt: skip
    shown = house.client.get(f"{API}/business/webhook/list/", params=APP).json()["data"]
    assert shown == set_up["data"]
    now_ms = micros(house.context.clock.now()) // 1_000
    house.webhook("im_receive_msg", message("or mei@example.com 梅", "mei", now_ms))

    def pushed() -> list[Any]:
        return [each for each in receiver.received if each.path == "/messages"]

    assert until(pushed)
    assert send(house, text={"body": "Thank you"})["code"] == 0
    assert until(lambda: len(pushed()) == 2)
    assert all(is_signed_message(each, APP_SECRET) for each in pushed())
    first, second = (each.content for each in pushed())
    assert (first["event"], second["event"]) == ("im_receive_msg", "im_send_msg")
    assert (first["user_openid"], first["client_key"]) == (OPEN_ID, APP_ID)
    content = json.loads(first["content"])
    assert content["text"] == {"body": "or mei@example.com 梅"}
    assert (content["conversation_id"], content["timestamp"], content["type"]) == (
        CONVERSATION,
        now_ms,
        "text",
    )
    assert content["from_user"] == {"id": "mei", "role": "personal_account"}
    tap = {"referral": {"source": "ad", "ad": {"ad_id": house.ads[0], "timestamp": now_ms}}}  # type: ignore[attr-defined]
    house.webhook("im_referral_msg", message("", "mei", now_ms) | tap)
    assert until(lambda: len(pushed()) == 3)
    house.webhook("im_mark_read_msg", message("", "mei", now_ms + 9_000) | {
        "read": {"last_read_timestamp": now_ms + 9_000}})  # fmt: skip
    assert until(lambda: len(pushed()) == 4)
    tapped, read = (each.content for each in pushed()[2:])
    assert (tapped["event"], read["event"]) == ("im_referral_msg", "im_mark_read_msg")
    came = json.loads(tapped["content"])
    assert came["referral"] == {"source": "ad", "ad": {
        "advertiser_id": house.advertiser_id, "ad_id": house.ads[0],  # type: ignore[attr-defined]
        "timestamp": now_ms, "ad_name": "Ad of CONVERSATION", "embed_url": "",
    }}  # fmt: skip
    told = json.loads(read["content"])
    assert told["read"] == {"last_read_timestamp": now_ms + 9_000}
    assert (told["from_user"]["id"], told["conversation_id"]) == ("mei", CONVERSATION)
    assert ask("delete")["code"] == 0
    assert house.client.get(f"{API}/business/webhook/list/", params=APP).json()["data"]["callback_url"] == ""
    assert ask("update", callback_url="http://10.0.0.1/x")["code"] == 40002
    assert ask("update", secret="wrong", callback_url=f"{receiver.url}/m")["code"] == 40001


def auto(house: House, path: str, kind: str = "SUGGESTED_QUESTION", **body: Any) -> dict[str, Any]:
    method = "GET" if path == "get" else "POST"
    asked = {"business_id": house.webchat_id, "auto_message_type": kind} | body
    return house.api(method, f"/business/message/auto_message/{path}/", **asked)


def add(house: House, question: str, answer: str = "Yes.") -> dict[str, Any]:
    return auto(house, "create", suggested_question={"question": question, "answer": answer})


def save_settings(house: House) -> int:
    """Save the questions on the settings page as they are there; give the status of the answer."""
    house.sign_in()
    url = f"/settings/chat/{house.webchat_id}"
    page = house.client.get(url).text
    questions = [each["suggested_question"] for each in auto(house, "get")["data"]["auto_messages"]]
    revision = page.partition('name="revision" value="')[2].partition('"')[0]
    typed = {name: [each[name] for each in questions] for name in ("question", "answer")}
    form = {"csrf_token": csrf_of(page), "revision": revision, **typed}
    return house.client.post(url, data=form, follow_redirects=False).status_code


def test_automatic_messages_are_made_changed_sorted_turned_off_and_taken_away(house: House) -> None:
    first, second = (
        add(house, each)["data"]["auto_message"]["auto_message_id"] for each in ("Open?", "Where?")
    )
    welcome = {"welcome_message": {"content": "Hello from the API"}}
    assert auto(house, "create", "WELCOME_MESSAGE", **welcome)["code"] == 0
    changed = {"question": "Open today?", "answer": "Until six."}
    assert auto(house, "update", auto_message_id=first, suggested_question=changed)["code"] == 0
    assert auto(house, "sort", auto_message_id=second)["code"] == 0
    kept = auto(house, "get")["data"]
    assert [each["auto_message_id"] for each in kept["auto_messages"]] == [second, first]
    assert kept["auto_messages"][1]["suggested_question"] == changed
    page = house.client.get(f"/chat/{house.webchat_id}").text
    assert "Hello from the API" in page
    assert "Open today?" in page
    assert auto(house, "status/update", operation_status="DISABLE")["code"] == 0
    assert auto(house, "get")["data"]["operation_status"] == "DISABLE"
    assert "Open today?" not in house.client.get(f"/chat/{house.webchat_id}").text
    assert save_settings(house) == 303
    after = auto(house, "get")["data"]
    assert (after["operation_status"], after["auto_messages"]) == ("DISABLE", kept["auto_messages"])
    assert auto(house, "delete", auto_message_id=first)["code"] == 0
    assert [each["auto_message_id"] for each in auto(house, "get")["data"]["auto_messages"]] == [second]


def test_the_page_names_the_field_of_a_refused_automatic_message_by_its_label(house: House) -> None:
    house.sign_in()
    url = f"/settings/chat/{house.webchat_id}"
    token = csrf_of(house.client.get(url).text)
    form = {"csrf_token": token, "revision": "0", "question": "Open?", "answer": "y" * 201}
    refused = house.client.post(url, data=form)
    assert refused.status_code == 422
    assert "<span>Answer: Use 1 to 200 characters.</span>" in refused.text


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("create", {"suggested_question": {"question": "x" * 81, "answer": "y"}}, 40002),
        ("create", {"suggested_question": {"question": "x", "answer": "y" * 201}}, 40002),
        ("create", {"suggested_question": {"question": "Where?", "answer": "y"}}, 40002),
        ("create", {}, 40002),
        ("create", {"auto_message_type": "AUTO_REPLY"}, 40002),
        ("update", {"auto_message_id": "1", "suggested_question": {"question": "x", "answer": "y"}}, 40007),
        ("delete", {"auto_message_id": "1"}, 40007),
        ("sort", {"auto_message_id": ["1"]}, 40007),
        ("status/update", {"operation_status": "SLEEP"}, 40002),
    ],
)
def test_a_wrong_automatic_message_is_refused(
    house: House, path: str, body: dict[str, Any], code: int
) -> None:
    with nothing_changes(house.context.db):
        assert auto(house, path, **body)["code"] == code


def test_an_account_has_three_questions_at_most(house: House) -> None:
    had = len(auto(house, "get")["data"]["auto_messages"])
    codes = [add(house, f"Question {number}")["code"] for number in range(4 - had)]
    assert codes == [0] * (3 - had) + [40002]
