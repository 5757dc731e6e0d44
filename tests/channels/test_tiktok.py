"""TikTok's dialect: the signature to the byte, the four events, and hostile bytes."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.channels.connectors.tiktok import TikTok, sign_body
from contatto.channels.model import Chatted, Incoming, Label, MessageKind, Referred, Sender, Unusable, WasRead
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.values import from_micros
from tests import make

FIXTURES = Path(__file__).parent.parent / "fixtures" / "channels" / "tiktok"
TIKTOK = TikTok()
RAW = b'{"event":"im_receive_msg","content":"{\\"text\\":\\"h\xc3\xa9\\"}"}'
SECRET = "app-secret-1"
SIGNED_AT = 1_767_268_800  # noon of the first of January 2026


def check(headers: Mapping[str, str], raw: bytes = RAW, secret: str = SECRET, late_s: float = 0) -> None:
    TIKTOK.verify_signature(headers, raw, secret, make.NOON + timedelta(seconds=late_s), 300)


def header(value: str) -> dict[str, str]:
    return {"tiktok-signature": value}


def test_the_signature_is_the_platforms_to_the_byte() -> None:
    digest = hmac.new(SECRET.encode(), b"1767268800." + RAW, hashlib.sha256).hexdigest()
    assert sign_body(RAW, SECRET, SIGNED_AT) == f"t=1767268800,s={digest}"
    assert (
        sign_body(b"{}", "secret", 1)
        == "t=1,s=1122767b193110cfec322b6f199b599edbf608ed087f2d27afb0b97d99523908"
    )
    check(header(sign_body(RAW, SECRET, SIGNED_AT)))


@pytest.mark.parametrize("late_s", [-300, -1, 0, 300])
def test_a_signature_within_the_tolerance_is_taken(late_s: int) -> None:
    check(header(sign_body(RAW, SECRET, SIGNED_AT)), late_s=late_s)


@pytest.mark.parametrize("late_s", [-301, 301, 86_400])
def test_a_genuine_signature_too_far_from_now_is_stale(late_s: int) -> None:
    with pytest.raises(Refused) as refused:
        check(header(sign_body(RAW, SECRET, SIGNED_AT)), late_s=late_s)
    assert refused.value.code is errors.STALE


def test_a_changed_body_secret_or_time_is_unsigned() -> None:
    good = sign_body(RAW, SECRET, SIGNED_AT)
    for headers, raw, secret in (
        (header(good), RAW + b" ", SECRET),
        (header(good), RAW, "another secret"),
        (header(good.replace("t=1767268800", "t=1767268801")), RAW, SECRET),
        (header(good[:-1] + ("0" if good[-1] != "0" else "1")), RAW, SECRET),
        (header(good.upper()), RAW, SECRET),
    ):
        with pytest.raises(Refused) as refused:
            check(headers, raw, secret)
        assert refused.value.code is errors.UNSIGNED


DIGEST = sign_body(RAW, SECRET, SIGNED_AT).partition("s=")[2]


@pytest.mark.parametrize(
    "value",
    ["", "t", "t=", "s=", "t=,s=", f"s={DIGEST}", "t=1767268800", f"t=-1767268800,s={DIGEST}",
     f"t=1767268800.0,s={DIGEST}", f"t=²,s={DIGEST}", f"t=١٧٦٧,s={DIGEST}", f"t={'9' * 5000},s={DIGEST}",
     f"t=1767268800;s={DIGEST}", f"t=1767268800,s={DIGEST},t=1", f"T=1767268800,S={DIGEST}", "é" * 64,
     f"t=1767268800,s={DIGEST},s=", ",,,===", f"t=0,s={DIGEST}", f"t=1767268800,s={DIGEST}é"],
)  # fmt: skip
def test_a_malformed_header_is_unsigned(value: str) -> None:
    with pytest.raises(Refused) as refused:
        check(header(value))
    assert refused.value.code is errors.UNSIGNED


def test_without_a_header_it_is_unsigned() -> None:
    with pytest.raises(Refused):
        check({})


@given(st.text())
def test_any_header_is_refused_and_never_breaks(value: str) -> None:
    with pytest.raises(Refused):
        check(header(value))


def read(name: str) -> Incoming:
    return TIKTOK.parse((FIXTURES / f"{name}.json").read_bytes())


def test_a_received_text_is_the_customers_message() -> None:
    found = read("receive_text")
    assert isinstance(found, Chatted)
    assert found == Chatted(
        "msg-1", "conv-1", "person-1", "night_owl_77", Sender.CUSTOMER, MessageKind.TEXT,
        "Hi! My number is +65 8123 4567 🙂", from_micros(1_767_225_600_123_000),
    )  # fmt: skip


def test_a_sent_text_is_the_businesss_message_to_the_same_person() -> None:
    found = read("send_text")
    assert isinstance(found, Chatted)
    assert (found.sender, found.kind) == (Sender.BUSINESS, MessageKind.TEXT)
    assert found.person_id == "person-1"


def test_what_is_no_text_is_shown_as_what_it_is() -> None:
    found = read("receive_image")
    assert isinstance(found, Chatted)
    assert (found.kind, found.text) == (MessageKind.OTHER, "image")


def test_a_referral_names_the_ad_that_was_tapped() -> None:
    found = read("referral_from_ad")
    assert isinstance(found, Referred)
    assert found.tap.ad_number > 0
    assert found.person_id


def test_a_read_mark_names_how_far_the_person_has_read() -> None:
    found = TIKTOK.parse(make.webhook("im_mark_read_msg", make.read_up_to(make.NOON_MS)))
    assert found == WasRead("conversation of u1", "u1", make.NOON)
    assert isinstance(read("mark_read"), WasRead)


@pytest.mark.parametrize("ad_id", [7_400_000_000_000_000_001, "7400000000000000001"])
def test_ids_are_taken_as_numbers_and_as_texts(ad_id: object) -> None:
    content = make.tapped(make.ad()) | {"referral": {"source": "ad", "ad": {"ad_id": ad_id}}}
    found = TIKTOK.parse(make.webhook("im_referral_msg", content))
    assert isinstance(found, Referred)
    assert found.tap.ad_number == 7_400_000_000_000_000_001


@pytest.mark.parametrize("ad_id", ["", "abc", "-1", "9" * 19, 2**63, 10**30, "²", None, "1 "])
def test_an_ad_id_that_is_none_is_unusable(ad_id: object) -> None:
    content = make.tapped(make.ad()) | {"referral": {"source": "ad", "ad": {"ad_id": ad_id}}}
    assert isinstance(TIKTOK.parse(make.webhook("im_referral_msg", content)), Unusable)


@pytest.mark.parametrize("at_ms", [0, -1, 4_102_444_800_000, 10**30, -(10**30)])
def test_an_absurd_time_is_unusable_or_told_by_the_envelope(at_ms: int) -> None:
    found = TIKTOK.parse(make.webhook("im_receive_msg", make.said(at_ms=at_ms)))
    if at_ms == 0:
        assert isinstance(found, Chatted)
        assert found.at == make.NOON
    else:
        assert isinstance(found, Unusable)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
events = st.sampled_from(["im_receive_msg", "im_send_msg", "im_referral_msg", "im_mark_read_msg", "other"])
content_fields = st.sampled_from([
    "from", "to", "from_user", "to_user", "unique_identifier", "conversation_id", "message_id", "timestamp",
    "type", "text", "referral", "read",
])  # fmt: skip
envelopes = st.fixed_dictionaries(
    {"event": events, "user_openid": st.text(max_size=200), "content": st.text()},
    optional={"create_time": st.integers()},
)


def survives(raw: bytes) -> None:
    assert isinstance(TIKTOK.parse(raw), Incoming.__value__)
    label = TIKTOK.label(raw)
    assert isinstance(label, Label)
    assert len(label.natural_key) <= 300
    assert len(label.account) <= 128


@pytest.mark.parametrize("part", ['{"x":', '{"text":', "[", '{"from_user":{"x":'])
def test_json_nested_without_end_becomes_a_value_and_a_label(part: str) -> None:
    survives(part.encode() * 9_000)
    survives(make.webhook("im_receive_msg", part * 9_000))
    survives(make.webhook("im_receive_msg", part * 9_000 + "1" + "}" * 9_000))


@given(st.binary())
def test_any_bytes_become_a_value_and_a_label(raw: bytes) -> None:
    survives(raw)


@given(json_values | envelopes)
def test_any_json_becomes_a_value_and_a_label(document: object) -> None:
    survives(json.dumps(document).encode())


@given(events, st.dictionaries(content_fields, json_values, max_size=8), st.booleans())
def test_any_content_becomes_a_value_and_a_label(event: str, changes: dict[str, object], whole: bool) -> None:
    content = (make.said() if whole else {}) | changes
    survives(make.webhook(event, content))


def test_the_label_of_a_message_is_its_id_and_of_others_their_content() -> None:
    body = make.webhook("im_receive_msg", make.said("Hi", message_id="m-1"))
    again = make.webhook("im_receive_msg", make.said("Hi!", message_id="m-1"))
    assert (
        TIKTOK.label(body) == TIKTOK.label(again) == Label("tt-business-1:im_receive_msg:m-1", make.OPEN_ID)
    )
    read_marks = [make.webhook("im_mark_read_msg", make.read_up_to(ms)) for ms in (1, 1, 2)]
    assert len({TIKTOK.label(mark).natural_key for mark in read_marks}) == 2
