"""Which deliveries are usable, how a text is cut at its evidence, and snippets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.channels.model import Chatted, MessageKind, Sender, Unusable
from contatto.inbox.actions.incoming import ID_LIMIT, MESSAGE_ID_LIMIT, refusal_reason, shown_name
from contatto.inbox.rules import SNIPPET_LIMIT, cut_segments, snippet
from contatto.leads.model import Evidence, LeadId, Origin
from tests import make


def chatted(**changes: Any) -> Chatted:
    values: dict[str, Any] = {
        "message_id": "m1", "conversation_id": "c1", "person_id": "p1", "person_name": "mei",
        "sender": Sender.CUSTOMER, "kind": MessageKind.TEXT, "text": "Hi", "at": make.NOON,
    }  # fmt: skip
    return Chatted(**(values | changes))


def proof(start: int, end: int) -> Evidence:
    return Evidence("e", "b1", LeadId("l1"), "c1", Origin.CHAT, "m1", start, end, "", "rule", 1.0, make.NOON)


def test_a_usable_delivery_has_no_reason_to_be_refused() -> None:
    assert refusal_reason(chatted()) is None
    longest = chatted(person_id="x" * ID_LIMIT, message_id="x" * MESSAGE_ID_LIMIT)
    assert refusal_reason(longest) is None


@pytest.mark.parametrize("field", ["conversation_id", "person_id", "message_id"])
@pytest.mark.parametrize("value", ["", "x" * 300, "a\0b", "a\nb", "\ud800", "\u202e"])
def test_an_id_that_cannot_be_kept_is_refused(field: str, value: str) -> None:
    assert refusal_reason(chatted(**{field: value})) == "unusable_id"


def test_what_the_connector_could_not_read_keeps_its_reason() -> None:
    assert refusal_reason(Unusable("unknown_event")) == "unknown_event"


def test_a_profiles_name_is_cleaned() -> None:
    assert shown_name(chatted(person_name=" \0m\u202eei\n<b> ")) == "mei<b>"
    assert len(shown_name(chatted(person_name="x" * 10_000))) == ID_LIMIT


def test_a_snippet_is_one_short_line() -> None:
    assert snippet("Hi\n  there\t!") == "Hi there !"
    assert len(snippet("x" * 10_000)) == SNIPPET_LIMIT
    assert snippet("x" * SNIPPET_LIMIT) == "x" * SNIPPET_LIMIT


def test_a_text_is_cut_at_its_evidence() -> None:
    segments = cut_segments("call 123 or 456 now", [proof(12, 15), proof(5, 8)])
    assert [(text, match is not None) for text, match in segments] == [
        ("call ", False), ("123", True), (" or ", False), ("456", True), (" now", False)
    ]  # fmt: skip


spans = st.lists(st.builds(proof, st.integers(-3, 30), st.integers(-3, 30)), max_size=6)


@given(st.text(max_size=25), spans)
def test_segments_always_add_up_to_the_text(text: str, evidence: list[Evidence]) -> None:
    segments = cut_segments(text, evidence)
    assert "".join(part for part, _ in segments) == text
    assert segments
    assert all(part for part, _ in segments) or text == ""
    for part, match in segments:
        if match is not None:
            assert part == text[match.start : match.end]
