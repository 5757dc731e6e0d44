"""Every connector of the registry has recorded payloads and passes the same suite, hostile bytes included."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contatto.channels.model import (
    Chatted,
    Connector,
    Incoming,
    Label,
    Outgoing,
    Platform,
    SendOutcome,
    Unusable,
)
from contatto.channels.store import CONNECTORS
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import HttpAnswer, NotNow
from tests.house.tree import ROOT

FIXTURES = ROOT / "tests" / "fixtures" / "channels"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHECKED_BEFORE = {Platform.WEBCHAT}  # our own chat's API checks lengths before it writes a delivery
HOSTILE = [
    b"",
    b"\x00",
    b"\xff\xfe\xfd",
    b"null",
    b"[]",
    b"1e999",
    b'"' + b"x" * 100_000 + b'"',
    b"[" * 50_000,
    b"{" * 5_000,
    b'{"a": "\\ud800"}',
]
META_ZEROS = {"x-hub-signature-256": "sha256=" + "0" * 64}
WRONG: list[Any] = [
    None,
    0,
    -1,
    10**30,
    "",
    "x" * 100_000,
    "\ud800",
    [],
    {},
    [[]],
    "<script>alert(1)</script>",
    True,
]


def payloads(platform: Platform) -> list[Path]:
    return sorted((FIXTURES / platform.value).glob("*.json"))


def broken_copies(raw: bytes) -> Iterator[bytes]:
    """The payload cut short, and with each of its values, however deep, missing or of a wrong kind."""
    yield from (raw[: len(raw) * part // 20] for part in range(20))
    whole = json.loads(raw)
    yield from (json.dumps(changed).encode() for changed in _changed(whole))
    if _inner(whole):
        for changed in _changed(_inner(whole)):
            yield json.dumps({**whole, "content": json.dumps(changed)}).encode()


def _changed(document: Any) -> Iterator[Any]:
    """The document with one value less, or another in its place, for each value at any depth."""
    if isinstance(document, dict):
        for field, value in document.items():
            yield {name: kept for name, kept in document.items() if name != field}
            yield from ({**document, field: wrong} for wrong in (*WRONG, *_changed(value)))
    elif isinstance(document, list):
        yield from ([*document[:at], wrong, *document[at + 1 :]]
                    for at, value in enumerate(document) for wrong in (*WRONG, *_changed(value)))  # fmt: skip


def _inner(document: dict[str, object]) -> dict[str, object]:
    """The content of platforms that send JSON inside of JSON."""
    try:
        inner = json.loads(str(document.get("content", "{}")))
    except ValueError:
        return {}
    return inner if isinstance(inner, dict) else {}


def pieces(connector: Connector, path: Path) -> tuple[bytes, ...]:
    return connector.split(path.read_bytes())


pytestmark = pytest.mark.parametrize("connector", CONNECTORS.values(), ids=lambda each: each.platform.value)


def test_it_is_registered_under_its_own_name(connector: Connector) -> None:
    assert CONNECTORS[connector.platform] is connector


def test_it_has_payloads_and_reads_each(connector: Connector) -> None:
    found = payloads(connector.platform)
    read = {path.stem: [connector.parse(piece) for piece in pieces(connector, path)] for path in found}
    unusable = {name for name, values in read.items() if any(isinstance(each, Unusable) for each in values)}
    assert any(isinstance(each, Chatted) for values in read.values() for each in values)
    assert unusable == {name for name in read if name.startswith("unusable")}


def test_copies_of_a_delivery_have_one_label_and_no_two_deliveries_share_one(connector: Connector) -> None:
    bodies = [piece for path in payloads(connector.platform) for piece in pieces(connector, path)]
    labels = [connector.label(body) for body in bodies]
    again = [connector.label(body) for body in bodies]
    assert labels == again
    assert len({label.natural_key for label in labels}) == len(labels)


def test_hostile_bytes_become_values_and_never_an_exception(connector: Connector) -> None:
    broken = [copy for path in payloads(connector.platform) for copy in broken_copies(path.read_bytes())]
    assert len(broken) > 100
    for raw in (piece for body in (*HOSTILE, *broken) for piece in (body, *connector.split(body))):
        assert isinstance(connector.parse(raw), Incoming.__value__)
        label = connector.label(raw)
        assert isinstance(label, Label)
        if connector.platform not in CHECKED_BEFORE:
            assert len(label.natural_key) <= 300
            assert len(label.account) <= 128


def test_a_delivery_that_was_cut_is_not_cut_again(connector: Connector) -> None:
    for path in payloads(connector.platform):
        for piece in pieces(connector, path):
            assert connector.split(piece) == (piece,)


def test_what_it_sends_goes_to_its_own_api_with_the_token_and_no_secret_shows(connector: Connector) -> None:
    base_url = connector.dialect.base_url
    out = Outgoing(base_url, "account", "a-token", "conversation", "person", "Hello 🙂", "message")
    assert "a-token" not in repr(out)
    assert "Hello" not in repr(out)
    if base_url:
        request = connector.reply(out)
        assert request.url.startswith(f"{base_url}/")
        assert any("a-token" in value for value in request.headers.values())
        assert "🙂" in request.body.decode()
        assert "a-token" not in repr(request)


def test_any_answer_of_the_platform_has_a_meaning(connector: Connector) -> None:
    for body in (*HOSTILE, b"{}", b'{"error": {}}', b'{"code": 0}', b'{"messages": []}'):
        for status in (200, 301, 400, 401, 404, 429, 500, 503):
            outcome = connector.outcome(HttpAnswer(status, {"retry-after": "7"}, body))
            assert isinstance(outcome, SendOutcome.__value__)
            if isinstance(outcome, NotNow):
                assert outcome.after_s == 7


def test_an_unsigned_delivery_is_refused(connector: Connector) -> None:
    raw = payloads(connector.platform)[0].read_bytes()
    for headers in (
        {},
        {"tiktok-signature": ""},
        {"tiktok-signature": "t=0,s=" + "0" * 64},
        {"x-hub-signature-256": "sha256=" + "0" * 64},
        {"x": "y"},
    ):
        with pytest.raises(Refused):
            connector.verify_signature(headers, raw, "secret", NOW, 300)
