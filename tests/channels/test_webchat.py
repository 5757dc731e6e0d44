"""Our own chat page's dialect, which nobody may post from outside."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.channels.connectors.webchat import Webchat
from contatto.channels.model import Chatted, Incoming, Label, MessageKind, Sender, Unusable
from contatto.kit.errors import Refused
from contatto.kit.values import micros
from tests import make

WEBCHAT = Webchat()
GOOD: dict[str, Any] = {
    "account_id": "account-1", "visitor": "visitor-1", "client_message_id": "message-1", "text": "Hi",
    "ts": micros(make.NOON),
}  # fmt: skip


def body(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


def test_a_message_is_the_visitors_own() -> None:
    assert WEBCHAT.parse(body()) == Chatted(
        "visitor-1:message-1",
        "visitor-1",
        "visitor-1",
        "",
        Sender.CUSTOMER,
        MessageKind.TEXT,
        "Hi",
        make.NOON,
    )


def test_the_label_tells_visitors_accounts_and_messages_apart() -> None:
    variants = [body(), body(visitor="v2"), body(account_id="a2"), body(client_message_id="m2")]
    assert len({WEBCHAT.label(each).natural_key for each in variants}) == 4
    assert WEBCHAT.label(body(text="other")) == WEBCHAT.label(body())
    assert WEBCHAT.label(body()).account == "account-1"


def test_nobody_may_post_it_from_outside() -> None:
    with pytest.raises(Refused):
        WEBCHAT.verify_signature({"tiktok-signature": "t=1,s=1"}, body(), "", make.NOON, 300)


@pytest.mark.parametrize("ts", [-1, 10**30, 4_102_444_800_000_001, "1", None, 1.5])
def test_a_senseless_time_is_unusable(ts: object) -> None:
    assert isinstance(WEBCHAT.parse(body(ts=ts)), Unusable)


@given(st.binary() | st.dictionaries(st.sampled_from(list(GOOD)), st.integers() | st.text()).map(
    lambda changes: json.dumps(GOOD | changes).encode()))  # fmt: skip
def test_any_bytes_become_a_value_and_a_label(raw: bytes) -> None:
    assert isinstance(WEBCHAT.parse(raw), Incoming.__value__)
    assert isinstance(WEBCHAT.label(raw), Label)
