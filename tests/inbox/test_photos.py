"""Photos through the doors of the chat: kept once, shown to both sides alone, refused without a trace."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO

import httpx2
import pytest
from PIL import Image
from sqlalchemy import func, select

from contatto.inbox.store.conversations import messages
from contatto.inbox.store.messages import photos
from contatto.kit.untrusted_files import PICTURE_LIMIT
from contatto.kit.uploads import KEEP_UNUSED
from contatto.ui.render import cookie_name
from tests.inbox.test_api import settled
from tests.journeys.running import House, csrf_of, message, running_house
from tests.unchanged import nothing_changes

type Chat = tuple[House, str]
"""A house, and the name of its chat."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        running.sign_in()
        yield running


@pytest.fixture
def visitor(house: House) -> House:
    """Somebody new has the chat open."""
    house.client.cookies.delete(cookie_name(house.webchat_id))
    house.client.get(f"/chat/{house.webchat_id}")
    return house


def picture(red: int = 200) -> bytes:
    out = BytesIO()
    Image.new("RGB", (30, 20), (red, 10, 10)).save(out, "PNG")
    return out.getvalue()


def send(house: House, body: bytes, kind: str = "image/png", message_id: str = "") -> httpx2.Response:
    query = {"client_message_id": message_id or str(uuid.uuid4())}
    return house.client.post(
        f"/chat/{house.webchat_id}/photos", params=query, content=body, headers={"Content-Type": kind}
    )


def said(house: House) -> list[dict[str, object]]:
    settled(house)
    found: list[dict[str, object]] = house.client.get(f"/chat/{house.webchat_id}/messages").json()["messages"]
    return found


def thread_id(house: House) -> str:
    """The conversation of the only visitor with messages who is newest."""
    rows = select(messages.c.conversation_id).order_by(messages.c.seq.desc()).limit(1)
    found: str = house.context.db.read_now(lambda tx: tx.scalar(rows))
    return found


def count_photos(house: House) -> int:
    return int(
        house.context.db.read_now(lambda tx: tx.scalar(select(func.count()).select_from(photos.table)))
    )


def test_a_customers_photo_is_in_the_thread_of_both_sides(visitor: House) -> None:
    answer = send(visitor, picture())
    (shown,) = said(visitor)
    assert shown["id"] == answer.json()["message_id"]
    assert (shown["text"], shown["photo"]) == ("", {"width": 30, "height": 20})
    theirs = visitor.client.get(f"/chat/{visitor.webchat_id}/photos/{shown['id']}")
    ours = visitor.client.get(f"/inbox/{thread_id(visitor)}/photos/{shown['id']}")
    for seen in (theirs, ours):
        assert seen.headers["content-type"] == "image/jpeg"
        assert seen.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in seen.headers["content-security-policy"]
        assert Image.open(BytesIO(seen.content)).size == (30, 20)
    page = visitor.client.get(f"/inbox/{thread_id(visitor)}").text
    assert f"/inbox/{thread_id(visitor)}/photos/{shown['id']}" in page


def test_the_same_photo_again_is_one_message_and_one_file(visitor: House) -> None:
    before = count_photos(visitor)
    for message_id in ("photo-one", "photo-one", "photo-two"):
        assert send(visitor, picture(77), message_id=message_id).status_code == 200
    assert len(said(visitor)) == 2
    assert count_photos(visitor) == before + 1


@pytest.mark.parametrize("body", [b"<svg onload=alert(1)>", b"\x89PNG<script>", b"x" * 70_000])
def test_a_file_that_lies_about_its_type_is_refused_and_nothing_is_kept(visitor: House, body: bytes) -> None:
    settled(visitor)
    with nothing_changes(visitor.context.db):
        answer = send(visitor, body)
    assert (answer.status_code, answer.json()["code"]) == (415, "not_a_photo")
    assert "JPEG" in answer.json()["remedy"]


def test_a_photo_that_is_too_large_is_refused(visitor: House) -> None:
    settled(visitor)
    with nothing_changes(visitor.context.db):
        answer = send(visitor, b"x" * (PICTURE_LIMIT + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "photo_too_large")


def test_nobody_else_sees_a_photo(visitor: House) -> None:
    send(visitor, picture(5))
    (shown,) = said(visitor)
    visitor.client.cookies.delete(cookie_name(visitor.webchat_id))
    visitor.client.get(f"/chat/{visitor.webchat_id}")
    assert visitor.client.get(f"/chat/{visitor.webchat_id}/photos/{shown['id']}").status_code == 404
    other = conversation_id_of_other(visitor)
    assert visitor.client.get(f"/inbox/{other}/photos/{shown['id']}").status_code == 404
    with httpx2.Client(transport=visitor.client._transport, base_url="http://127.0.0.1:8000") as stranger:
        page = stranger.get(f"/inbox/{thread_id(visitor)}/photos/{shown['id']}", follow_redirects=False)
        assert page.status_code == 303


def conversation_id_of_other(house: House) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, house.webchat_id))


def test_an_agents_photo_reaches_the_chat_and_a_platform_says_that_it_cannot(visitor: House) -> None:
    house = visitor
    house.client.post(
        f"/chat/{house.webchat_id}/messages", json={"client_message_id": "hello-there", "text": "Hi"}
    )
    said(house)
    of = thread_id(house)
    headers = {"X-CSRF-Token": csrf_of(house.client.get("/inbox").text), "Content-Type": "image/png"}
    query = {"client_message_id": "agent-photo"}
    answer = house.client.post(f"/inbox/{of}/photos", params=query, content=picture(9), headers=headers)
    assert answer.status_code == 200
    assert [each["from"] for each in said(house)] == ["customer", "business"]
    assert said(house)[1]["photo"] == {"width": 30, "height": 20}

    house.webhook("im_receive_msg", message("Hi", "u9", int(house.context.clock.now().timestamp() * 1_000)))
    settled(house)
    on_tiktok = thread_id(house)
    refused = house.client.post(
        f"/inbox/{on_tiktok}/photos", params=query, content=picture(8), headers=headers
    )
    assert refused.status_code == 409
    assert (
        house.client.post(f"/inbox/{of}/photos", params=query, content=b"MZ", headers=headers).status_code
        == 415
    )
    headers.pop("X-CSRF-Token")
    assert (
        house.client.post(f"/inbox/{of}/photos", params=query, content=picture(), headers=headers).status_code
        == 403
    )


def test_a_photo_that_no_message_shows_is_forgotten_after_a_day(visitor: House) -> None:
    send(visitor, picture(33))
    (shown,) = said(visitor)
    before = count_photos(visitor)
    db = visitor.context.db
    assert db.write_now(photos.purge) == 0
    db.write_now(
        lambda tx: tx.execute(messages.update().where(messages.c.id == shown["id"]).values(photo=None))
    )
    old = {"created_at": visitor.context.clock.now() - KEEP_UNUSED - timedelta(seconds=1)}
    db.write_now(lambda tx: tx.execute(photos.table.update().values(**old)))
    assert db.write_now(photos.purge) == 1
    assert count_photos(visitor) == before - 1
    assert "no longer available" in visitor.client.get(f"/inbox/{thread_id(visitor)}").text


def test_reading_and_typing_are_told_to_the_other_side(visitor: House) -> None:
    house = visitor
    chat = f"/chat/{house.webchat_id}"
    assert house.client.post(f"{chat}/read").status_code == 204  # nothing there yet, nothing told
    house.client.post(f"{chat}/messages", json={"client_message_id": "read-this-1", "text": "Hello?"})
    said(house)
    assert house.client.get(f"{chat}/messages").json()["read_at"] is None
    of = thread_id(house)
    csrf = {"X-CSRF-Token": csrf_of(house.client.get("/inbox").text)}
    assert house.client.post(f"/inbox/{of}/read", headers=csrf).status_code == 204
    assert house.client.get(f"{chat}/messages").json()["read_at"]
    house.client.post(f"/inbox/{of}/messages", data={"text": "Yes!"}, headers=csrf)
    assert "msg__state--sent" in house.client.get(f"/inbox/{of}/thread").text
    assert house.client.post(f"{chat}/read").status_code == 204
    assert "msg__state--read" in house.client.get(f"/inbox/{of}/thread").text
    with nothing_changes(house.context.db):
        assert house.client.post(f"{chat}/typing").status_code == 204
        assert house.client.post(f"/inbox/{of}/typing", headers=csrf).status_code == 204
    assert house.client.post(f"/inbox/{uuid.uuid4()}/typing", headers=csrf).status_code == 404
