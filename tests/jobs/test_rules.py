"""Ids and texts of failed work."""

import pytest

from contatto.jobs.rules import WORK, ids_in, read_id, reason_text, work_text
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.settings import Settings
from contatto.wiring import AFTER, install


def test_every_handler_and_every_kind_of_requests_is_named_for_people() -> None:
    handlers = {name for of_event in AFTER.values() for name in of_event}
    assert set(WORK) == handlers | set(install(Settings()).outbound)


def test_an_id_has_the_number_of_the_job() -> None:
    assert read_id("job-7") == 7


@pytest.mark.parametrize(
    "text",
    ["", "7", "job-", "job-0", "job-07", "job--7", "job-7 ", "JOB-7", "jobs-7", "request-7",
     "job-1.5", "job-\u0661", "job-" + "9" * 19, "job-7\n", "job-7/replay"],
)  # fmt: skip
def test_what_is_no_id_is_not_found(text: str) -> None:
    with pytest.raises(Refused) as refused:
        read_id(text)
    assert refused.value.code is errors.NOT_FOUND


def test_of_an_event_only_ids_are_shown() -> None:
    payload = {"business_id": "b", "lead_id": "l", "conversation_id": "", "text": "+65 8123 4567", "at": 1}
    assert ids_in(payload) == (("lead_id", "l"),)


@pytest.mark.parametrize(
    ("name", "reason", "said"),
    [
        ("push_lead", "KeyError at f:1", "KeyError at f:1"),
        ("lead_push", "unreached", "Server not reached"),
        ("lead_push", "503", "The server returned error 503"),
        ("lead_push", "a_code_of_theirs", "a_code_of_theirs"),
        ("reply", "unreached", "The platform could not be reached."),
        ("reply", "10023", "The platform refused the message (10023)."),
        ("push_lead", "unknown handler", "Unknown job type. It waits for an update of Contatto."),
    ],
)
def test_a_reason_is_told_in_words_and_codes_of_others_as_they_are(name: str, reason: str, said: str) -> None:
    assert str(reason_text(name, reason)) == said


def test_a_name_of_a_later_release_is_shown_as_it_is() -> None:
    assert str(work_text("push_lead")) == "Send a lead to a webhook"
    assert work_text("fly_to_the_moon") == "fly_to_the_moon"
