"""The dialects of Meta: signatures, batches, ads that opened the chat, and what answers mean."""

import hashlib
import hmac
from pathlib import Path

import pytest

from contatto.channels.connectors.meta import sign_body
from contatto.channels.model import (
    AdTap,
    Chatted,
    Incoming,
    Platform,
    Progressed,
    Referred,
    Sender,
    SendProgress,
    Sent,
    WasRead,
)
from contatto.channels.store import CONNECTORS
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import Failed, HttpAnswer, NotNow
from tests import make

FIXTURES = Path(__file__).parent.parent / "fixtures" / "channels"
META = [Platform.WHATSAPP, Platform.MESSENGER, Platform.INSTAGRAM]
WHATSAPP = CONNECTORS[Platform.WHATSAPP]


def read(platform: Platform, name: str) -> list[Incoming]:
    connector = CONNECTORS[platform]
    raw = (FIXTURES / platform.value / f"{name}.json").read_bytes()
    return [connector.parse(piece) for piece in connector.split(raw)]


def answer(status: int, body: bytes, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize("platform", META)
def test_the_signature_is_the_hash_of_the_raw_body(platform: Platform) -> None:
    raw, check = b'{"text":"h\xc3\xa9"}', CONNECTORS[platform].verify_signature
    good = "sha256=" + hmac.new(b"secret", raw, hashlib.sha256).hexdigest()
    assert sign_body(raw, "secret") == good
    check({"x-hub-signature-256": good}, raw, "secret", make.NOON, 300)
    for header, body, secret in (
        (good, raw + b" ", "secret"), (good, raw, "other"), (good.upper(), raw, "secret"),
        ("é", raw, "secret"),
        (good.removeprefix("sha256="), raw, "secret"), ("", raw, "secret"),
    ):  # fmt: skip
        with pytest.raises(Refused):
            check({"x-hub-signature-256": header}, body, secret, make.NOON, 300)


def test_the_challenge_is_answered_to_who_knows_the_verify_token() -> None:
    asked = {"hub.mode": "subscribe", "hub.verify_token": "ours", "hub.challenge": "1158201444"}
    assert WHATSAPP.challenge(asked, "ours") == "1158201444"
    for change in ({"hub.verify_token": "other"}, {"hub.mode": "unsubscribe"}, {"hub.challenge": ""},
                   {"hub.challenge": "x" * 201}, {"hub.verify_token": "é"}):  # fmt: skip
        assert WHATSAPP.challenge(asked | change, "ours") is None


def test_one_body_of_whatsapp_becomes_one_delivery_for_each_message_and_status() -> None:
    found = read(Platform.WHATSAPP, "batch_of_messages_and_statuses")
    assert [type(each) for each in found] == [Chatted, Chatted, Progressed, Progressed, WasRead]
    first, second = found[0], found[1]
    assert isinstance(first, Chatted)
    assert isinstance(second, Chatted)
    assert (first.person_name, first.text) == ("night_owl_77", "first")
    assert (second.person_name, second.text) == ("early_bird", "second 🙂")


@pytest.mark.parametrize("platform", [Platform.MESSENGER, Platform.INSTAGRAM])
def test_one_body_of_messenger_becomes_one_delivery_for_each_event(platform: Platform) -> None:
    found = read(platform, "batch")
    assert [each.text for each in found if isinstance(each, Chatted)] == ["first", "second", "third"]


def test_a_mark_of_two_delivered_messages_is_two_pieces_of_news() -> None:
    found = read(Platform.MESSENGER, "delivery_of_several")
    told = [each.message_id for each in found if isinstance(each, Progressed)]
    assert told == ["m_example_4", "m_example_10"]


def test_the_ad_that_opened_a_whatsapp_chat_is_told_with_its_click_id() -> None:
    (found,) = read(Platform.WHATSAPP, "text_from_ad")
    assert isinstance(found, Chatted)
    assert found.tap == AdTap(120210000000000001, "click-example-1", "Tastings on Saturday", "Write to us")


@pytest.mark.parametrize("platform", [Platform.MESSENGER, Platform.INSTAGRAM])
def test_the_ad_that_opened_a_chat_is_told_in_a_message_or_alone(platform: Platform) -> None:
    (in_message,) = read(platform, "text_from_ad")
    (alone,) = read(platform, "referral_of_a_known_person")
    assert isinstance(in_message, Chatted)
    assert in_message.tap == AdTap(120210000000000001, "", "Tastings on Saturday", "")
    assert isinstance(alone, Referred)
    assert alone.tap.ad_number == 120210000000000002


@pytest.mark.parametrize("platform", [Platform.MESSENGER, Platform.INSTAGRAM])
def test_an_echo_is_the_businesss_message_to_the_person_and_gives_our_id_back(platform: Platform) -> None:
    (found,) = read(platform, "echo")
    assert isinstance(found, Chatted)
    assert (found.sender, found.person_id) == (Sender.BUSINESS, "7000000000000001")
    assert found.echo_of == "01940000-0000-7000-8000-000000000001"


def test_a_failed_status_says_which_message_and_why() -> None:
    (found,) = read(Platform.WHATSAPP, "status_failed")
    assert isinstance(found, Progressed)
    assert (found.progress, found.reason) == (SendProgress.FAILED, "platform_131026")
    assert found.echo_of == "01940000-0000-7000-8000-000000000001"


def test_repeated_deliveries_have_one_key_and_each_status_of_a_message_its_own() -> None:
    raw = (FIXTURES / "whatsapp" / "batch_of_messages_and_statuses.json").read_bytes()
    keys = [WHATSAPP.label(piece).natural_key for piece in WHATSAPP.split(raw)]
    assert keys == [WHATSAPP.label(piece).natural_key for piece in WHATSAPP.split(raw)]
    assert len(set(keys)) == 5
    assert not any("EXAMPLE" in key for key in keys), "an id of WhatsApp may hold a phone number"


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (200, b'{"messages": [{"id": "wamid.1"}]}', Sent("wamid.1")),
        (401, b'{"error": {"code": 190}}', Failed("token_refused")),
        (400, b'{"error": {"code": 131047}}', Failed("window_closed")),
        (400, b'{"error": {"code": 131026}}', Failed("person_not_reached")),
        (400, b'{"error": {"code": 100}}', Failed("platform_100")),
        (400, b'{"error": {"code": 130429}}', NotNow("too_fast", None)),
        (500, b'{"error": {"code": 131000}}', NotNow("platform_away", None)),
        (502, b"<html>", NotNow("http_502", None)),
        (404, b"", Failed("http_404")),
    ],
)
def test_what_the_answers_of_whatsapp_mean(status: int, body: bytes, meaning: object) -> None:
    assert WHATSAPP.outcome(answer(status, body)) == meaning


def test_too_many_requests_name_when_to_come_back() -> None:
    assert WHATSAPP.outcome(answer(429, b"{}", retry_after="30")) == NotNow("http_429", 30.0)
    assert WHATSAPP.outcome(answer(429, b"{}", retry_after="999999")) == NotNow("http_429", 3_600.0)
    assert WHATSAPP.outcome(answer(429, b"{}", retry_after="soon")) == NotNow("http_429", None)


def test_a_window_that_messenger_closed_is_told_by_its_subcode() -> None:
    body = b'{"error": {"code": 10, "error_subcode": 2018278}}'
    assert CONNECTORS[Platform.MESSENGER].outcome(answer(400, body)) == Failed("window_closed")
