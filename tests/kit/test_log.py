"""Logs: contact values never get through, ids do."""

import json
import logging
import sys

import pytest
import structlog

from contatto.kit.log import hide_contacts, logger, set_up_logs, where

CONTACTS = [
    "mei@example.com",
    "mei＠example.com",
    "+65 9123 4567",
    "0812-345-678",
    "(65) 9123.4567",
    "+6591234567",
    "٠٨١٢٣٤٥٦٧٨",
]


def hidden(**event: object) -> dict[str, object]:
    return dict(hide_contacts(None, "info", dict(event)))


@pytest.mark.parametrize("contact", CONTACTS)
def test_a_contact_value_is_blanked_wherever_it_stands(contact: str) -> None:
    event = hidden(
        text=f"call {contact} now",
        inside={"deep": [contact, (contact,)], contact: 1},
        error=ValueError(contact),
        raw=contact.encode(),
    )
    assert contact not in str(event)
    assert contact.encode().decode("latin-1") not in str(event)


def test_a_phone_number_as_a_number_is_blanked_and_a_count_is_not() -> None:
    event = hidden(number=6591234567, inside=[6591234567], count=200, share=0.25, yes=True, none=None)
    assert "6591234567" not in str(event)
    assert (event["count"], event["share"], event["yes"], event["none"]) == (200, 0.25, True, None)


def test_ids_and_times_stay_whole() -> None:
    event = {
        "event": "lead.captured",
        "lead_id": "0190a5a1-7c2e-7aaa-8000-000000000001",
        "advertiser_id": "7400000000000000001",
        "request_id": "0190a5a1-1111-7aaa-8000-000000000001",
        "timestamp": "2026-01-01T12:00:00.000000Z",
        "took_us": 12345678,
        "seq": 12345678,
    }
    assert hidden(**event) == event


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> pytest.CaptureFixture[str]:
    """Standard error, with the set-up of logs taken back after the test."""
    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield capsys
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


def test_json_lines_go_to_standard_error_without_contacts(lines: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", "json")
    logger().info("lead.captured", lead_id="1234567890", note="mail mei@example.com")
    logger().debug("not.shown")
    shown = [json.loads(line) for line in lines.readouterr().err.splitlines()]
    assert [line["event"] for line in shown] == ["lead.captured"]
    assert shown[0]["lead_id"] == "1234567890"
    assert "mei@example.com" not in str(shown)


def test_lines_and_traces_of_other_packages_lose_their_contacts_too(
    lines: pytest.CaptureFixture[str],
) -> None:
    set_up_logs("info", "text")
    words = f"could not send to {CONTACTS[0]}, says Zelda"
    try:
        raise ValueError(words) from KeyError(words)
    except ValueError:
        logging.getLogger("somebody.else").exception("failed for %s", "+6591234567")
    shown = lines.readouterr().err
    assert "failed for" in shown
    assert "ValueError" in shown
    assert "Zelda" not in shown, "an error's words may quote what a person typed"
    assert "KeyError" in shown
    assert "mei@example.com" not in shown
    assert "6591234567" not in shown


def test_where_names_the_place_of_an_error_and_not_its_words() -> None:
    def fail() -> None:
        raise ValueError("mei@example.com")

    try:
        fail()
    except ValueError as error:
        place = where(error)
    assert place.startswith("ValueError at ")
    assert "fail:" in place
    assert "mei" not in place


def test_an_error_that_was_never_raised_has_its_kind_only() -> None:
    assert where(ValueError("mei@example.com")) == "ValueError"
    assert sys.exc_info() == (None, None, None)
