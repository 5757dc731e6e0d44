"""Every connector of the registry keeps the contract, whatever the other side answers."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import get_args

import httpx2
import pytest

from contatto.crm.model import (
    ConnectorTraits,
    CrmConnector,
    CrmLink,
    Cursor,
    DescribeFields,
    EraseRecord,
    Expired,
    FindBy,
    FindRecord,
    ListChanges,
    ListRecords,
    MergeRecords,
    Operation,
    ReadRecord,
    RenewSecrets,
    Reply,
    Unsupported,
    WriteRecord,
)
from contatto.crm.registry import CONNECTORS
from contatto.crm.rules.deliveries import ANSWER, PLAIN_SOURCES
from contatto.integrations.model import Denied
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "TWFkZSB1cCBmb3IgdGVzdHMgYWxvbmU="
HOSTILE = [
    b"",
    b"\x00",
    b"\xff\xfe\xfd",
    b"null",
    b"0",
    b"[]",
    b"[null]",
    b"{}",
    b'{"data": null, "id": [], "results": {}, "records": 7, "errors": "x", "error": [1], "result": {"x": 1}}',
    b'{"data": [[]], "id": {}, "results": [1], "records": [0], "errors": [0], "error": {}, "result": []}',
    b"1e999",
    b'"' + b"x" * 10_000 + b'"',
    b"[" * 50_000,
    b'{"a": "\\ud800"}',
    b"<!doctype html><title>Sign in</title>",
]
STATUSES = [
    100,
    200,
    201,
    204,
    207,
    302,
    304,
    400,
    401,
    403,
    404,
    405,
    409,
    410,
    415,
    422,
    429,
    500,
    503,
    599,
]
THROTTLED = HttpAnswer(429, {"retry-after": "17"}, b"<html>slow down</html>")


def link_of(traits: ConnectorTraits) -> CrmLink:
    """A link with every setting, and with a session."""
    given = {each.name: each.example or each.default or "7" for each in traits.settings if not each.is_secret}
    secrets = {each.name: SECRET for each in traits.settings if each.is_secret}
    secrets |= {"access_token": SECRET, "refresh_token": SECRET, "session": SECRET}
    return CrmLink(traits.address or "https://crm.example.com", given, secrets, NOW)


def operations(traits: ConnectorTraits) -> list[Operation]:
    written = {target: "value" for _, target in traits.defaults} or {"email": "ada@example.com"}
    return [
        RenewSecrets(),
        DescribeFields(),
        *(FindRecord(by, "ada@example.com") for by in traits.finds_by),
        ReadRecord("17"),
        WriteRecord(None, "0195e2a7-0000-7000-8000-000000000001", 1, written, "Budget: 100", NOW),
        WriteRecord("17", "0195e2a7-0000-7000-8000-000000000001", 2, written, "", NOW),
        MergeRecords("18", "17"),
        EraseRecord("17", "0195e2a7-0000-7000-8000-000000000001"),
        ListChanges(Cursor()),
        ListChanges(Cursor("2026-01-01T00:00:00Z", "17")),
        ListRecords(),
        ListRecords("17"),
    ]


def asked(connector: CrmConnector) -> Iterator[tuple[Operation, HttpRequest]]:
    link = link_of(connector.traits)
    for operation in operations(connector.traits):
        request = connector.ask(link, operation)
        if isinstance(request, HttpRequest):
            yield operation, request


@pytest.fixture(params=sorted(CONNECTORS))
def connector(request: pytest.FixtureRequest) -> CrmConnector:
    return CONNECTORS[request.param]


HOSTILE_IDS = [
    "../../settings",
    "..",
    ".",
    "a/b",
    "a?b=c",
    "a&b",
    "a#b",
    "%2e%2e/x",
    "a\r\nX: 1",
    "@other.example.com",
    "a\\b",
]


@pytest.mark.parametrize("record_id", HOSTILE_IDS)
def test_an_id_that_a_crm_chose_leads_to_no_other_path(connector: CrmConnector, record_id: str) -> None:
    """A program that may post changes could else use our token for whatever the CRM has."""
    link = link_of(connector.traits)
    written = {target: "value" for _, target in connector.traits.defaults}
    lead_id = "0195e2a7-0000-7000-8000-000000000001"

    def ask(name: str) -> Iterator[HttpRequest]:
        for operation in (
            FindRecord(FindBy.EXTERNAL_ID, name),
            ReadRecord(name),
            WriteRecord(name, lead_id, 1, written, "", NOW),
            MergeRecords("17", name),
            MergeRecords(name, "17"),
            EraseRecord(name, lead_id),
        ):
            request = connector.ask(link, operation)
            if isinstance(request, HttpRequest):
                yield request

    for hostile, plain in zip(ask(record_id), ask("17"), strict=True):
        assert hostile.method == plain.method
        assert shape_of(hostile.url) == shape_of(plain.url)


def shape_of(address: str) -> tuple[object, ...]:
    """An address without the ids in it, as the client sends it."""
    url = httpx2.URL(address)
    path, _, query = url.raw_path.decode().partition("?")
    steps = [step for step in path.split("/") if step in (".", "..")]
    return url.scheme, url.netloc, path.count("/"), steps, query.count("&"), url.fragment


MEMORIES = ("", "{}", "x", "[1]")
"""What a connector may have kept of its last step."""


def test_no_answer_makes_it_raise_and_a_reason_is_a_short_code(connector: CrmConnector) -> None:
    link = link_of(connector.traits)
    for operation, _ in asked(connector):
        for body in HOSTILE:
            for number, status in enumerate(STATUSES):
                # What was kept matters where an answer is read on: then all are tried, else one by turns.
                for memory in MEMORIES if status == 200 else (MEMORIES[number % len(MEMORIES)],):
                    reply = connector.read(link, operation, HttpAnswer(status, {}, body), memory)
                    assert isinstance(reply, get_args(Reply.__value__))
                    if isinstance(reply, NotNow | Denied | Failed):
                        assert reply.reason.replace("_", "").isalnum()
                        assert len(reply.reason) <= 40


def test_a_page_in_html_is_never_taken_for_success(connector: CrmConnector) -> None:
    link = link_of(connector.traits)
    if not connector.traits.reads_back:
        pytest.skip("its 2xx says all: nothing is read from it")
    for operation, _ in asked(connector):
        reply = connector.read(link, operation, HttpAnswer(200, {}, HOSTILE[-1]), "")
        assert isinstance(reply, NotNow), operation


def test_who_is_throttled_waits_as_long_as_the_other_side_says(connector: CrmConnector) -> None:
    link = link_of(connector.traits)
    for operation, _ in asked(connector):
        reply = connector.read(link, operation, THROTTLED, "")
        assert isinstance(reply, NotNow), operation
        assert reply.after_s == 17.0


def test_what_is_down_is_tried_again_and_who_is_not_let_in_is_renewed_or_told(
    connector: CrmConnector,
) -> None:
    link = link_of(connector.traits)
    for operation, _ in asked(connector):
        for status in (500, 502, 503, 504):
            assert isinstance(connector.read(link, operation, HttpAnswer(status, {}, b""), ""), NotNow)
        out = connector.read(link, operation, HttpAnswer(401, {}, b""), "")
        assert isinstance(out, Expired | Denied), operation


def test_secrets_stand_in_no_address_and_in_no_text(connector: CrmConnector) -> None:
    for operation, request in asked(connector):
        assert SECRET not in request.url
        assert SECRET not in repr(request)
        assert "ada@example.com" not in repr(operation)


def test_its_traits_hold_together(connector: CrmConnector) -> None:
    traits = connector.traits
    link = link_of(traits)
    assert traits.name.isidentifier()
    assert traits.name.islower()
    assert all(source in PLAIN_SOURCES or source.startswith(ANSWER) for source, _ in traits.defaults)
    for operation, works in (
        (DescribeFields(), traits.describes),
        (ReadRecord("17"), traits.reads_back),
        (MergeRecords("18", "17"), traits.merges),
        (EraseRecord("17", "x"), traits.erases),
        (ListChanges(Cursor()), traits.tells_changes),
        (ListRecords(), traits.enumerates),
    ):
        is_there = not isinstance(connector.ask(link, operation), Unsupported)
        assert is_there is works, operation
