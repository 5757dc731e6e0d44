"""The doors of webhooks and of the chat page: coded answers to bad input, and no row changed by a refusal."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from contatto.channels.actions import register_app
from contatto.channels.connectors.tiktok import sign_body
from contatto.channels.model import ChannelApp, Platform
from contatto.inbox.rules import TEXT_LIMIT
from contatto.inbox.store.conversations import count_receipts, inline_notices
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import count_waiting
from contatto.ui.render import cookie_name
from tests import make
from tests.journeys.running import APP_ID, APP_SECRET, House, running_house, until
from tests.unchanged import nothing_changes

HOOK = f"/webhooks/tiktok/{APP_ID}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house for all tests here: each looks only at what it did itself."""
    with running_house(tmp_path_factory.mktemp("house")) as running:
        settled(running)
        yield running


def settled(house: House) -> Any:
    """The ledger, as soon as nothing waits and all that followed was heard."""

    def look() -> Any:
        found, unheard = house.context.db.read_now(
            lambda tx: (count_receipts(tx, house.business_id), count_waiting(tx))
        )
        return None if found.waiting or unheard else found

    found = until(look)
    assert found is not None
    return found


def headers_for(house: House, body: bytes, late_s: float = 0, secret: str = APP_SECRET) -> dict[str, str]:
    at = house.context.clock.now() - timedelta(seconds=late_s)
    return {"TikTok-Signature": sign_body(body, secret, int(at.timestamp()))}


def post(house: House, body: bytes, path: str = HOOK, **changes: Any) -> httpx2.Response:
    return house.client.post(path, content=body, headers=headers_for(house, body, **changes))


def refused(answer: httpx2.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["remedy"]
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["content-security-policy"]


BODY = make.webhook("im_receive_msg", make.said())


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"secret": "wrong"}, "unsigned"), ({"late_s": 301}, "stale"), ({"late_s": -302}, "stale")],
    ids=["wrong secret", "old", "from the future"],
)
def test_a_webhook_with_a_wrong_or_old_signature_is_refused(
    house: House, changes: dict[str, Any], code: str
) -> None:
    with nothing_changes(house.context.db):
        refused(post(house, BODY, **changes), 401, code)


@pytest.mark.parametrize("value", [None, "", "t=1", "s=1", "nonsense", "t=²,s=1"])
def test_a_webhook_with_a_malformed_signature_is_refused(house: House, value: str | None) -> None:
    headers = {} if value is None else {"TikTok-Signature": value.encode("latin-1")}
    with nothing_changes(house.context.db):
        refused(house.client.post(HOOK, content=BODY, headers=headers), 401, "unsigned")


def test_a_signature_is_of_its_own_body_only(house: House) -> None:
    headers = headers_for(house, BODY)
    with nothing_changes(house.context.db):
        refused(house.client.post(HOOK, content=BODY + b" ", headers=headers), 401, "unsigned")


@pytest.mark.parametrize(
    "path", ["/webhooks/tiktok/unknown", f"/webhooks/webchat/{APP_ID}", f"/webhooks/whatsapp/{APP_ID}",
             "/webhooks/tiktok/%00", "/webhooks/tiktok/" + "x" * 5_000],
)  # fmt: skip
def test_a_webhook_for_an_unknown_app_is_refused_as_one_with_a_wrong_signature(
    house: House, path: str
) -> None:
    with nothing_changes(house.context.db):
        refused(post(house, BODY, path), 401, "unsigned")


def test_a_webhook_for_a_platform_that_there_is_not_is_refused(house: House) -> None:
    with nothing_changes(house.context.db):
        refused(post(house, BODY, f"/webhooks/other/{APP_ID}"), 404, "not_found")


def test_our_own_chats_dialect_is_no_webhook_even_with_an_app(house: House) -> None:
    app = ChannelApp("chat-app", house.business_id, Platform.WEBCHAT, APP_SECRET)
    house.context.db.write_now(lambda tx: register_app(tx, app))
    with nothing_changes(house.context.db):
        refused(post(house, b"{}", "/webhooks/webchat/chat-app"), 401, "unsigned")


def test_a_body_of_two_megabytes_is_refused_with_and_without_its_length(house: House) -> None:
    body = b"x" * 2 * 1024 * 1024

    def in_chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    with nothing_changes(house.context.db):
        refused(post(house, body), 413, "too_large")
        headers = headers_for(house, body)
        refused(house.client.post(HOOK, content=in_chunks(), headers=headers), 413, "too_large")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_webhook_is_posted_and_nothing_else(house: House, method: str) -> None:
    with nothing_changes(house.context.db):
        answer = house.client.request(method, HOOK)
    assert answer.status_code in (404, 405)


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[" * 60_000, b'{"a":' * 12_000, b"\xff\xfe", b'{"event":1}', b"null"]
)
def test_nonsense_with_a_genuine_signature_is_taken_and_stands_in_the_ledger(
    house: House, body: bytes
) -> None:
    before = settled(house)
    assert post(house, body).json() == {"received": True}
    after = settled(house)
    assert after.refused == before.refused + 1
    assert after.reasons["unreadable_envelope"] >= 1


def test_the_same_webhook_again_is_taken_and_counted_and_changes_nothing_else(house: House) -> None:
    body = make.webhook("im_receive_msg", make.said("once"), user_openid="tt-business-1")
    assert post(house, body).status_code == 200
    first = settled(house)
    with nothing_changes(house.context.db, "receipts"):
        assert post(house, body).status_code == 200
        second = settled(house)
    assert (second.received, second.stored, second.merged) == (
        first.received + 1, first.stored, first.merged + 1,
    )  # fmt: skip


def chat_path(house: House, tail: str = "/messages") -> str:
    return f"/chat/{house.webchat_id}{tail}"


@pytest.fixture
def visitor(house: House) -> Iterator[House]:
    """A customer who has opened the chat page."""
    house.client.cookies.clear()
    assert house.client.get(chat_path(house, "")).status_code == 200
    yield house
    house.client.cookies.clear()


def write(house: House, text: Any = "Hi", message_id: Any = "message-1", **more: Any) -> httpx2.Response:
    body = {"client_message_id": message_id, "text": text} | more
    return house.client.post(chat_path(house), json=body)


def texts(house: House) -> list[str]:
    settled(house)
    found = house.client.get(chat_path(house)).json()["messages"]
    return [message["text"] for message in found]


def test_a_visitor_writes_and_reads_the_own_thread(visitor: House) -> None:
    answer = write(visitor, "Hello 🙂", "message-1")
    assert answer.json()["accepted"] is True
    assert texts(visitor) == ["Hello 🙂"]
    seq = visitor.client.get(chat_path(visitor)).json()["messages"][0]["seq"]
    assert visitor.client.get(chat_path(visitor), params={"after": seq}).json()["messages"] == []


def test_the_same_message_again_is_stored_once(visitor: House) -> None:
    first, again = write(visitor), write(visitor, "changed")
    assert first.json()["message_id"] == again.json()["message_id"]
    assert texts(visitor) == ["Hi"]


def test_without_a_cookie_or_with_a_forged_one_nobody_reads_or_writes(visitor: House) -> None:
    cookie_of = cookie_name(visitor.webchat_id)
    good = visitor.client.cookies[cookie_of]
    value, _, signature = good.rpartition(".")
    forged = [
        "",
        "x",
        ".",
        f"{value}.",
        f"{value}.{'A' * 22}",
        f"dmlzaXRvcg==.{signature}",
        f"{value}x.{signature}",
    ]
    for cookie in (None, *forged):
        visitor.client.cookies.clear()
        headers = {} if cookie is None else {"cookie": f"{cookie_of}={cookie}"}
        with nothing_changes(visitor.context.db):
            body = {"client_message_id": "message-1", "text": "Hi"}
            refused(visitor.client.post(chat_path(visitor), json=body, headers=headers), 401, "sign_in")
            refused(visitor.client.get(chat_path(visitor), headers=headers), 401, "sign_in")
            refused(visitor.client.get(chat_path(visitor, "/stream"), headers=headers), 401, "sign_in")


def test_a_visitor_sees_nothing_of_another(visitor: House) -> None:
    write(visitor, "mine")
    assert texts(visitor) == ["mine"]
    visitor.client.cookies.clear()
    visitor.client.get(chat_path(visitor, ""))
    assert texts(visitor) == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"client_message_id": "message-1", "text": ""}, 422, "invalid"),
        ({"client_message_id": "message-1", "text": " \n\t"}, 422, "invalid"),
        ({"client_message_id": "message-1", "text": "x" * (TEXT_LIMIT + 1)}, 422, "invalid"),
        ({"client_message_id": "short", "text": "Hi"}, 422, "invalid"),
        ({"client_message_id": "x" * 65, "text": "Hi"}, 422, "invalid"),
        ({"client_message_id": "message\n1", "text": "Hi"}, 422, "invalid"),
        ({"text": "Hi"}, 400, "unreadable"),
        ({"client_message_id": 12345678, "text": "Hi"}, 400, "unreadable"),
        ({"client_message_id": "message-1", "text": None}, 400, "unreadable"),
        ([], 400, "unreadable"),
    ],
)
def test_a_message_that_is_none_is_refused(visitor: House, body: Any, status: int, code: str) -> None:
    with nothing_changes(visitor.context.db):
        refused(visitor.client.post(chat_path(visitor), json=body), status, code)


@pytest.mark.parametrize(
    "raw", [b"", b"not json", b'{"text":"\\ud800","client_message_id":"message-1"}', b"\xff", b"[" * 60_000,
            b'{"x":' * 12_000],
)  # fmt: skip
def test_a_message_that_is_no_json_is_refused(visitor: House, raw: bytes) -> None:
    headers = {"content-type": "application/json"}
    with nothing_changes(visitor.context.db):
        refused(visitor.client.post(chat_path(visitor), content=raw, headers=headers), 400, "unreadable")


def test_a_body_that_is_too_large_is_refused(visitor: House) -> None:
    with nothing_changes(visitor.context.db):
        refused(write(visitor, "x" * 70_000), 413, "too_large")


def test_a_form_of_another_site_cannot_write_in_a_visitors_name(visitor: House) -> None:
    body = json.dumps({"client_message_id": "message-1", "text": "Hi"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        with nothing_changes(visitor.context.db):
            answer = visitor.client.post(chat_path(visitor), content=body, headers={"content-type": kind})
            refused(answer, 400, "unreadable")


def test_a_flood_of_messages_is_slowed_down_with_the_seconds_to_wait(visitor: House) -> None:
    for number in range(40):
        assert write(visitor, "Hi", f"message-{number}").status_code == 200
    settled(visitor)
    with nothing_changes(visitor.context.db):
        answer = write(visitor, "Hi", "message-40")
        refused(answer, 429, "too_many")
    assert 0 < int(answer.headers["retry-after"]) <= 61


@pytest.mark.parametrize("after", ["²", "-1", "abc", "9" * 40, "1.5", "%00", "", "9" * 18])
def test_a_senseless_place_to_read_from_is_no_error(visitor: House, after: str) -> None:
    answer = visitor.client.get(f"{chat_path(visitor)}?after={after}")
    assert answer.status_code == 200


@pytest.mark.parametrize("account", ["unknown", "%00", "x" * 3_000, "tiktok"])
def test_a_chat_that_is_none_of_ours_is_not_found(visitor: House, account: str) -> None:
    of = visitor.tiktok_id if account == "tiktok" else account
    with nothing_changes(visitor.context.db):
        refused(visitor.client.get(f"/chat/{of}/messages"), 404, "not_found")
        assert visitor.client.get(f"/chat/{of}").status_code == 404


def test_a_notice_never_reaches_the_customer(visitor: House) -> None:
    write(visitor, "my number is +65 9123 4567", "message-1")
    settled(visitor)

    def notices(tx: Tx) -> int:
        return len(tx.execute(inline_notices.select()).all())

    assert until(lambda: visitor.context.db.read_now(notices)) >= 1
    answer = visitor.client.get(chat_path(visitor))
    assert texts(visitor) == ["my number is +65 9123 4567"]
    assert "lead" not in re.sub(r"<[^>]*>", " ", answer.text).lower()  # no attribute: ids may spell it
