"""The signed webhook, read by the library that its receivers use."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import msgspec
import pytest
import standardwebhooks

from contatto.crm.actions.targets import NewTarget, link_crm
from contatto.crm.connectors.webhook import Webhook
from contatto.crm.model import (
    CrmLink,
    Erased,
    EraseRecord,
    Payload,
    ReadRecord,
    Reply,
    Unsupported,
    WriteRecord,
    Written,
)
from contatto.crm.pages.targets import show_settings
from contatto.crm.registry import CONNECTORS
from contatto.crm.rules.deliveries import begin_course, operation_of
from contatto.integrations.model import Denied
from contatto.kit.db.database import Database
from contatto.kit.errors import Refused as RefusedInput
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
LINK = CrmLink("https://hooks.example.com/leads", {}, {"secret": SECRET}, datetime(2026, 1, 1, tzinfo=UTC))
WRITE = WriteRecord(
    None, "lead-1", 3, {"email": "ada@example.com"}, "Budget: 100", datetime(2026, 1, 1, tzinfo=UTC)
)
CONNECTOR = Webhook()


def now() -> CrmLink:
    """The link at this moment: receivers refuse what is older than some minutes."""
    return replace(LINK, now=datetime.now(UTC))


def asked(link: CrmLink, operation: WriteRecord | EraseRecord) -> HttpRequest:
    request = CONNECTOR.ask(link, operation)
    assert isinstance(request, HttpRequest)
    return request


def answered(status: int, headers: dict[str, str] | None = None) -> Reply:
    return CONNECTOR.read(LINK, WRITE, HttpAnswer(status, headers or {}, b""), "")


def test_the_library_takes_the_signature_and_reads_the_event() -> None:
    request = asked(now(), WRITE)
    event = standardwebhooks.Webhook(SECRET).verify(request.body, dict(request.headers))
    assert request.url == LINK.address
    assert event == {
        "type": "lead.changed",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "data": {
            "id": "lead-1", "revision": 3, "fields": {"email": "ada@example.com"}, "note": "Budget: 100",
        },
    }  # fmt: skip


def test_the_library_refuses_another_secret_a_changed_body_and_an_old_event() -> None:
    request = asked(now(), WRITE)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(OTHER).verify(request.body, dict(request.headers))
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(SECRET).verify(request.body + b" ", dict(request.headers))
    old = asked(LINK, WRITE)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(SECRET).verify(old.body, dict(old.headers))


def test_while_a_secret_is_replaced_both_verify() -> None:
    request = asked(replace(now(), secrets={"secret": OTHER, "old_secret": SECRET}), WRITE)
    for secret in (SECRET, OTHER):
        assert standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))


def test_a_copy_has_the_same_id_and_another_revision_another() -> None:
    later = now()
    ids = [asked(link, WRITE).headers["webhook-id"] for link in (LINK, later)]
    assert ids == ["lead-1.3", "lead-1.3"]
    assert asked(LINK, replace(WRITE, revision=4)).headers["webhook-id"] == "lead-1.4"


def test_an_erased_person_is_told_by_id_alone() -> None:
    request = asked(now(), EraseRecord("", "lead-1"))
    event = standardwebhooks.Webhook(SECRET).verify(request.body, dict(request.headers))
    assert event["type"] == "lead.erased"
    assert event["data"] == {"id": "lead-1"}
    assert CONNECTOR.read(LINK, EraseRecord("", "lead-1"), HttpAnswer(204, {}, b""), "") == Erased(
        is_partial=True
    )


def test_answers_are_read_by_their_status() -> None:
    assert answered(200) == Written()
    assert answered(204) == Written()
    assert answered(429, {"retry-after": "7"}) == NotNow("429", 7.0)
    assert answered(500) == NotNow("500")
    assert answered(302) == NotNow("302")
    assert answered(400) == Failed("400")
    assert answered(401) == Denied("401")
    assert answered(403) == Denied("403")
    assert answered(410) == Denied("410")


def test_what_it_cannot_do_it_says() -> None:
    assert CONNECTOR.ask(LINK, ReadRecord("1")) == Unsupported()
    assert CONNECTOR.ask(replace(LINK, secrets={"secret": "no base64!"}), WRITE) == Denied("bad_secret")


@pytest.mark.parametrize("name", sorted(CONNECTORS))
def test_a_secret_that_no_request_can_carry_is_refused(database: Database, name: str) -> None:
    traits = CONNECTORS[name].traits
    given = {each.name: SECRET if each.prefix else "word" for each in traits.settings}
    for setting in (each for each in traits.settings if each.is_secret):
        for text in ("schlüssel", "se cret", "se\ncret"):
            new = NewTarget(name, "", "https://crm.example.com", given | {setting.name: text})
            if setting.is_password and "\n" not in text:
                continue
            with pytest.raises(RefusedInput, match=r"Copy it again|Enter a valid value"):
                database.write_now(partial(link_crm, business_id="b1", new=new, allowed=()))


@pytest.mark.parametrize("text", ["mysecret", "whsec_", "whsec_short", f"whsec_{'!' * 40}", SECRET[6:]])
def test_a_signing_secret_has_its_prefix_and_a_key_of_24_bytes(database: Database, text: str) -> None:
    new = NewTarget("webhook", "", "https://crm.example.com", {"secret": text})
    with pytest.raises(RefusedInput, match="enter whsec_"):
        database.write_now(lambda tx: link_crm(tx, "b1", new, ()))


def test_who_links_a_webhook_is_offered_a_secret_that_is_taken(database: Database) -> None:
    fields = {each["name"]: each for each in show_settings(CONNECTOR.traits, {}, {})}
    offered = fields["given.secret"]
    assert offered["is_offered"]
    assert not fields["given.old_secret"]["value"]
    assert show_settings(CONNECTOR.traits, {}, {})[0]["value"] != offered["value"]
    assert show_settings(CONNECTOR.traits, {"secret": SECRET}, {})[0]["value"] == SECRET, (
        "what was typed stays"
    )
    assert not show_settings(CONNECTOR.traits, {}, {"secret": SECRET})[0]["value"], "a kept one is hidden"
    new = NewTarget("webhook", "", "https://crm.example.com", {"secret": offered["value"]})
    assert database.write_now(lambda tx: link_crm(tx, "b1", new, ())).secrets["secret"] == offered["value"]


@pytest.mark.parametrize("address", ["https://exa mple.com", "https://exa%20mple.com", "crm.example.com"])
def test_an_address_that_is_none_is_refused_when_it_is_typed(database: Database, address: str) -> None:
    new = NewTarget("webhook", "", address, {"secret": SECRET})
    with pytest.raises(RefusedInput, match="enter a public https address"):
        database.write_now(lambda tx: link_crm(tx, "b1", new, ()))


def test_a_webhook_clears_the_field_of_a_number_that_is_marked_wrong() -> None:
    at = "2026-01-01T00:00:00+00:00"
    payload = Payload("lead-1", 2, {}, "", "", "", at, wrong={"phone": ["+6591234567"]})
    operation = operation_of(begin_course(CONNECTOR.traits, payload))
    assert isinstance(operation, WriteRecord)
    assert msgspec.json.decode(asked(LINK, operation).body)["data"]["fields"] == {"phone": ""}
