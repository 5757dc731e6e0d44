"""Every connector of the registry has recorded payloads and passes the same suite, hostile bytes included."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contatto.channels.model import Chatted, Connector, Incoming, Label, Platform, Unusable
from contatto.channels.registry import CONNECTORS
from contatto.kit.errors import Refused
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
WRONG = [None, 0, -1, 10**30, "", "x" * 100_000, "\ud800", [], {}, [[]], "<script>alert(1)</script>", True]


def payloads(platform: Platform) -> list[Path]:
    return sorted((FIXTURES / platform.value).glob("*.json"))


def broken_copies(raw: bytes) -> Iterator[bytes]:
    """The payload cut short, and with each of its fields missing or of a wrong kind."""
    yield from (raw[: len(raw) * part // 20] for part in range(20))
    for document in (json.loads(raw), _inner(json.loads(raw))):
        for field in document:
            yield _again(raw, {name: value for name, value in document.items() if name != field})
            yield from (_again(raw, {**document, field: wrong}) for wrong in WRONG)


def _inner(document: dict[str, object]) -> dict[str, object]:
    """The content of platforms that send JSON inside of JSON."""
    try:
        inner = json.loads(str(document.get("content", "{}")))
    except ValueError:
        return {}
    return inner if isinstance(inner, dict) else {}


def _again(raw: bytes, changed: dict[str, object]) -> bytes:
    whole = json.loads(raw)
    if "content" in whole and "content" not in changed and not set(changed) & set(whole):
        changed = {**whole, "content": json.dumps(changed)}
    return json.dumps(changed).encode()


pytestmark = pytest.mark.parametrize("connector", CONNECTORS.values(), ids=lambda each: each.platform.value)


def test_it_is_registered_under_its_own_name(connector: Connector) -> None:
    assert CONNECTORS[connector.platform] is connector


def test_it_has_payloads_and_reads_each(connector: Connector) -> None:
    found = payloads(connector.platform)
    read = {path.stem: connector.parse(path.read_bytes()) for path in found}
    unusable = {name for name, value in read.items() if isinstance(value, Unusable)}
    assert any(isinstance(value, Chatted) for value in read.values())
    assert unusable == {name for name in read if name.startswith("unusable")}


def test_copies_of_a_delivery_have_one_label_and_no_two_deliveries_share_one(connector: Connector) -> None:
    labels = [connector.label(path.read_bytes()) for path in payloads(connector.platform)]
    again = [connector.label(path.read_bytes()) for path in payloads(connector.platform)]
    assert labels == again
    assert len({label.natural_key for label in labels}) == len(labels)


def test_hostile_bytes_become_values_and_never_an_exception(connector: Connector) -> None:
    broken = [copy for path in payloads(connector.platform) for copy in broken_copies(path.read_bytes())]
    assert len(broken) > 100
    for raw in (*HOSTILE, *broken):
        assert isinstance(connector.parse(raw), Incoming.__value__)
        label = connector.label(raw)
        assert isinstance(label, Label)
        if connector.platform not in CHECKED_BEFORE:
            assert len(label.natural_key) <= 256
            assert len(label.account) <= 128


def test_an_unsigned_delivery_is_refused(connector: Connector) -> None:
    raw = payloads(connector.platform)[0].read_bytes()
    for headers in ({}, {"tiktok-signature": ""}, {"tiktok-signature": "t=0,s=" + "0" * 64}, {"x": "y"}):
        with pytest.raises(Refused):
            connector.is_genuine(headers, raw, "secret", NOW, 300)
