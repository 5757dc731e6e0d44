"""Pushes as values: bodies in ASCII, two signatures, tries over a day, and what answers mean."""

import json
from datetime import UTC, datetime

import pytest

from contatto.kit.outbound.model import with_jitter
from contatto.subscriptions import rules
from contatto.subscriptions.model import Entity
from tests.subscriptions.receiver import Received, is_signed_lead, is_signed_message

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECRET = "a secret with ü"


def test_a_lead_push_is_ascii_and_a_client_finds_its_signature_right() -> None:
    body = rules.lead_payload({"id": "1", "page_name": "Küche 🙂"}, {"name": "梅 林"}, NOW)
    assert body.isascii()
    content = json.loads(body)
    assert (content["object"], content["time"]) == (1, int(NOW.timestamp()))
    assert content["entry"] == [
        {"id": "1", "page_name": "Küche 🙂", "changes": [{"field": "name", "value": "梅 林"}]}
    ]
    headers = rules.push_headers(Entity.LEAD, body, SECRET, NOW)
    push = Received("/", {name.lower(): value for name, value in headers.items()}, body)
    assert is_signed_lead(push, SECRET)
    assert not is_signed_lead(push, "another")


def test_a_message_push_carries_its_content_as_text_and_is_signed_with_its_time() -> None:
    body = rules.message_payload(
        "im_receive_msg", "open-1", "app-1", {"text": {"body": "¡hola!"}}, 1_795_000_000
    )
    content = json.loads(body)
    assert json.loads(content.pop("content")) == {"text": {"body": "¡hola!"}}
    assert content == {
        "client_key": "app-1", "event": "im_receive_msg", "create_time": 1_795_000_000,
        "user_openid": "open-1",
    }  # fmt: skip
    headers = rules.push_headers(Entity.DIRECT_MESSAGE, body, SECRET, NOW)
    push = Received("/", {name.lower(): value for name, value in headers.items()}, body)
    assert is_signed_message(push, SECRET)
    assert not is_signed_message(push, "another")


@pytest.mark.parametrize(("entity", "hours"), [(Entity.LEAD, 24), (Entity.DIRECT_MESSAGE, 72)])
def test_tries_come_at_once_then_slower_until_the_time_is_over(entity: Entity, hours: int) -> None:
    plan = rules.PLANS[entity]
    waits = plan.waits_s
    assert waits[0] == 1
    assert list(waits) == sorted(waits) or entity is Entity.DIRECT_MESSAGE
    assert 0.98 * hours < sum(waits) / 3_600 < 1.05 * hours
    assert plan.lifetime is not None
    assert plan.lifetime.total_seconds() >= with_jitter(sum(waits), 1)


@pytest.mark.parametrize(
    ("url", "destination"),
    [
        ("https://Example.com/push?x=1", "example.com"),
        ("https://example.com:443/", "example.com:443"),
        ("http://127.0.0.1:8000/a", "127.0.0.1:8000"),
    ],
)
def test_what_is_slow_or_down_as_a_whole_is_the_host_of_an_address(url: str, destination: str) -> None:
    assert rules.destination_of(url) == destination
