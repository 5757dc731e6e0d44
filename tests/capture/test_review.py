"""Applications for capture: approved at once or by the operator, and what may be turned on when."""

from dataclasses import replace
from datetime import timedelta

import pytest

from contatto.capture.actions import (
    CompanyData,
    review_capture,
    save_company_data,
    turn_off_capture,
    turn_on_capture,
)
from contatto.capture.model import CaptureSwitch, Review
from contatto.capture.rules import capture_contacts
from contatto.capture.store import find_switch, list_applications, list_capturing
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.errors import Refused
from tests import make

OTHER = replace(make.COMPANY, company_name="Kopi Kopi")


def apply(db: Database, company: CompanyData = make.COMPANY, *, needs_review: bool = True) -> CaptureSwitch:
    return db.write_now(lambda tx: save_company_data(tx, "b1", "a1", company, needs_review=needs_review))


def turn_on(db: Database, company: CompanyData | None = None) -> CaptureSwitch:
    return db.write_now(lambda tx: turn_on_capture(tx, "b1", "a1", company, needs_review=True))


def test_without_an_operator_an_application_is_approved_at_once(database: Database) -> None:
    assert apply(database, needs_review=False).review is Review.APPROVED
    assert turn_on(database).is_on


def test_with_an_operator_nothing_is_turned_on_before_the_approval(database: Database) -> None:
    assert apply(database).review is Review.PENDING
    assert not turn_on(database).is_on
    assert [each.channel_account_id for each in database.read_now(list_applications)] == ["a1"]
    database.write_now(lambda tx: review_capture(tx, "a1", Review.APPROVED))
    assert not database.read_now(lambda tx: list_capturing(tx, "b1"))
    assert turn_on(database).is_on
    assert database.read_now(list_applications) == []


def test_turning_on_with_data_is_an_application_too(database: Database) -> None:
    switch = turn_on(database, make.COMPANY)
    assert (switch.is_on, switch.review, switch.company_name) == (False, Review.PENDING, "Kopi and Co")


def test_a_refusal_turns_capture_off_and_says_why_until_the_business_applies_again(
    database: Database,
) -> None:
    apply(database)
    database.write_now(lambda tx: review_capture(tx, "a1", Review.APPROVED))
    turn_on(database)
    switch = database.write_now(
        lambda tx: review_capture(tx, "a1", Review.REFUSED, " The policy cannot be read. ")
    )
    assert (switch.is_on, switch.turned_on_at) == (False, None)
    assert switch.refused_reason == "The policy cannot be read."
    assert not turn_on(database).is_on
    again = apply(database)
    assert (again.review, again.refused_reason) == (Review.PENDING, "")


def test_changed_details_are_looked_at_while_capture_goes_on(database: Database) -> None:
    apply(database)
    database.write_now(lambda tx: review_capture(tx, "a1", Review.APPROVED))
    turn_on(database)
    assert apply(database).review is Review.APPROVED, "the same details need no second look"
    changed = apply(database, OTHER)
    assert (changed.review, changed.is_on) == (Review.PENDING, True)


def test_off_detects_nothing_and_on_reads_no_message_from_before(
    database: Database, clock: FixedClock
) -> None:
    text, before = "my number is +65 8123 4567", clock.now()

    def found(switch: CaptureSwitch | None) -> bool:
        return capture_contacts(switch, text, "SG", clock.now()) is not None

    clock.advance(minutes=1)
    switch = apply(database, needs_review=False)
    assert not found(None)
    assert not found(switch)
    switch = turn_on(database)
    assert found(switch), "on takes effect at once"
    assert capture_contacts(switch, text, "SG", before) is None
    assert capture_contacts(switch, text, "SG", clock.now() - timedelta(microseconds=1)) is None
    database.write_now(lambda tx: turn_off_capture(tx, "b1", "a1"))
    assert not found(database.read_now(lambda tx: find_switch(tx, "b1", "a1")))


@pytest.mark.parametrize("review", [Review.APPROVED, Review.REFUSED])
def test_there_is_nothing_to_review_without_an_application(database: Database, review: Review) -> None:
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: review_capture(tx, "nobody", review, "why"))
    assert refused.value.code is errors.NOT_FOUND


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_a_refusal_needs_a_reason(database: Database, reason: str) -> None:
    apply(database)
    with pytest.raises(Refused, match="reason"):
        database.write_now(lambda tx: review_capture(tx, "a1", Review.REFUSED, reason))
