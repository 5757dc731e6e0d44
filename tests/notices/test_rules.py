"""Pushes as values: bodies in ASCII, two signatures, tries over a day, and what answers mean."""

import json
from datetime import UTC, datetime
from itertools import takewhile

import pytest

from contatto.kit.errors import Refused
from contatto.kit.exchange import HttpAnswer, NoAnswer, Trouble
from contatto.notices import rules
from contatto.notices.model import Entity, PushState
from tests.notices.receiver import Received, is_signed_lead, is_signed_message

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
    tries = range(1, 100)
    waits = [
        wait for wait in takewhile(bool, (rules.next_push_s(entity, attempt) for attempt in tries)) if wait
    ]
    assert waits[0] == 1
    assert waits == sorted(waits) or entity is Entity.DIRECT_MESSAGE
    assert 0.98 * hours < sum(waits) / 3_600 < 1.05 * hours


@pytest.mark.parametrize(
    ("exchange", "state", "answer"),
    [
        (HttpAnswer(200, {}, b""), PushState.SENT, "200"),
        (HttpAnswer(204, {}, b""), PushState.SENT, "204"),
        (HttpAnswer(302, {}, b""), PushState.DUE, "302"),
        (HttpAnswer(500, {}, b""), PushState.DUE, "500"),
        (NoAnswer(Trouble.LOST), PushState.DUE, "answer_lost"),
        (NoAnswer(Trouble.FORBIDDEN), PushState.DEAD, "forbidden_address"),
    ],
)
def test_any_2xx_takes_a_push_and_a_forbidden_address_ends_it(
    exchange: HttpAnswer | NoAnswer, state: PushState, answer: str
) -> None:
    assert rules.read_answer(exchange) == (state, answer)


@pytest.mark.parametrize(
    ("app_id", "secret", "known"), [("", "s", None), ("a", "", None), ("a", "s", "other"), ("a", "ü", "s")]
)
def test_an_app_without_its_secret_is_refused(app_id: str, secret: str, known: str | None) -> None:
    with pytest.raises(Refused, match="wrong_app"):
        rules.check_app(app_id, secret, known)


def test_an_app_that_nobody_registered_brings_its_own_secret() -> None:
    rules.check_app("a", "s", None)
    rules.check_app("a", "s", "s")
