"""Appointments: which times can be chosen, by the clock of the business, and what of a choice is kept."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from contatto.forms.actions import Unanswered, forget_answers
from contatto.forms.model import Booking, FormAnswer, FormVersion, Hours, QuestionKind
from contatto.forms.rules.answers import (
    SLOT_TAKEN,
    check_submission,
    count_a_day,
    list_slots,
    read_clock,
    show_slots,
)
from contatto.forms.rules.drafts import add_question, edit_content, list_problems, set_time_zone
from contatto.forms.rules.views import show_sheet
from contatto.forms.store import form_bookings, list_bookings
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx, row_of
from contatto.leads.model import ErasedPeople
from tests import make
from tests.forms.papers import content, published, question, respondent, sent, submit_form

OPEN = Hours("Asia/Singapore", (1, 2, 3, 4, 5), "09:00", "12:00", 60, 7)
# Wednesday, 8 in the evening in Singapore
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def times(hours: Hours, now: datetime = NOW) -> list[str]:
    return [slot.isoformat(timespec="minutes") for slot in list_slots(hours, now)]


def test_a_day_is_cut_into_slots_that_end_by_closing_time() -> None:
    assert count_a_day(OPEN) == 3
    assert count_a_day(replace(OPEN, slot_minutes=120)) == 1
    assert count_a_day(replace(OPEN, opens="12:00")) == 0
    assert times(replace(OPEN, ahead_days=1)) == [
        "2026-11-26T09:00+08:00",
        "2026-11-26T10:00+08:00",
        "2026-11-26T11:00+08:00",
    ]


def test_closed_days_and_what_is_over_are_not_offered() -> None:
    assert {slot.isoweekday() for slot in list_slots(OPEN, NOW)} == {1, 2, 3, 4, 5}
    at_ten = datetime(2026, 11, 26, 2, tzinfo=UTC)
    assert times(replace(OPEN, ahead_days=0), at_ten) == ["2026-11-26T11:00+08:00"]


def test_a_time_that_the_clock_skips_is_not_offered_and_a_repeated_one_is_offered_once() -> None:
    nights = Hours("Europe/Rome", (7,), "01:00", "04:00", 60, 7)
    assert times(nights, datetime(2026, 3, 28, tzinfo=UTC)) == [
        "2026-03-29T01:00+01:00",
        "2026-03-29T03:00+02:00",
    ]
    assert times(nights, datetime(2026, 10, 24, tzinfo=UTC)) == [
        "2026-10-25T01:00+02:00",
        "2026-10-25T02:00+02:00",
        "2026-10-25T03:00+01:00",
    ]


@pytest.mark.parametrize(
    ("text", "minute"),
    [("09:30", 570), ("24:00", 1440), ("9:30", None), ("24:01", None), ("", None), ("٠٩:٣٠", None)],
)
def test_a_clock_is_read_or_refused(text: str, minute: int | None) -> None:
    assert read_clock(text) == minute


def test_a_chosen_time_is_kept_with_its_zone_and_any_other_is_refused() -> None:
    form = content(
        question("q1", QuestionKind.EMAIL, required=True),
        question("q2", QuestionKind.APPOINTMENT, hours=OPEN),
    )

    def check(text: str) -> tuple[list[tuple[str, str]], list[str]]:
        checked = check_submission(form, sent(q1="mei@example.com", q2=text), {}, NOW)
        kept = [(each.shown, each.value) for each in checked.answers[1:]]
        return kept, [each.says for each in checked.problems]

    kept = ("2026-11-26 09:00 (Asia/Singapore)", "2026-11-26T09:00+08:00")
    assert check("2026-11-26T09:00") == ([kept], [])
    assert check("") == ([], [])
    for strange in ("2026-11-25T09:00", "2026-11-26T09:01", "2026-11-28T09:00", "2027-11-26T09:00", "soon"):
        assert check(strange) == ([], ["Choose a time from the list."])


def test_the_sheet_names_days_and_times_in_the_language_of_the_form() -> None:
    ((day, found), *_) = show_slots(OPEN, "en", NOW)
    assert (day, found[0]) == ("Thursday, November 26, 2026", ("2026-11-26T09:00", "Thu, Nov 26, 09:00"))
    ((day, _), *_) = show_slots(OPEN, "it", NOW)
    assert day == "giovedì 26 novembre 2026"
    form = content(question("q1", QuestionKind.APPOINTMENT, hours=OPEN))
    (shown,) = show_sheet(form, "ar", 7, "", NOW)["questions"]
    assert (shown["control"], shown["place"], len(shown["days"])) == ("slots", "Singapore", 5)


@pytest.mark.parametrize(
    ("hours", "says"),
    [
        (replace(OPEN, zone=""), "Choose the time zone of your hours."),
        (replace(OPEN, zone="Mars/Olympus"), "Choose the time zone of your hours."),
        (replace(OPEN, days=()), "Choose at least one day"),
        (replace(OPEN, closes="09:30"), "Choose at least one day"),
        (replace(OPEN, slot_minutes=7), "Choose at least one day"),
        (replace(OPEN, ahead_days=400), "Choose at least one day"),
        (
            replace(OPEN, opens="00:00", slot_minutes=15, ahead_days=28),
            "There are too many times",
        ),
    ],
)
def test_hours_that_offer_nothing_cannot_be_published(hours: Hours, says: str) -> None:
    form = content(
        question("q1", QuestionKind.EMAIL, required=True),
        question("q2", QuestionKind.APPOINTMENT, hours=hours),
    )
    (problem,) = list_problems(form)
    assert (problem.at, problem.says[: len(says)]) == ("q2", says)


def test_new_hours_take_the_zone_of_the_business_and_keep_the_one_that_was_chosen() -> None:
    form = set_time_zone(add_question(content(), QuestionKind.APPOINTMENT), "Asia/Jakarta")
    key = form.questions[-1].key
    typed = {f"q:{key}:sent": ["1"], f"q:{key}:day": ["6", "7", "8"], f"q:{key}:opens": ["10:00"]}
    edited = set_time_zone(edit_content(form, typed, "en"), "Asia/Singapore")
    assert edited.questions[-1].hours == Hours("Asia/Jakarta", (6, 7), "10:00", "17:00", 30, 14)
    assert list_problems(edited) == []


class Clinic:
    """A form that offers three appointments a day, and what people send by it."""

    def __init__(self, tx: Tx) -> None:
        self.business_id = make.shop(tx).business_id
        asked = (
            question("q1", QuestionKind.EMAIL, required=True),
            question("q2", QuestionKind.APPOINTMENT, hours=HOURS),
        )
        self.version = published(tx, self.business_id, content(*asked))

    def take(self, tx: Tx, person: str, slot: str, version: FormVersion | None = None) -> FormAnswer:
        who = respondent(self.business_id, person_id=person, conversation_id=f"talk of {person}")
        form = sent(f"submission {person} {slot}", q1=f"{person}@example.com", q2=slot)
        return submit_form(tx, version or self.version, who, form)

    def offered(self, tx: Tx) -> list[str]:
        bookings = list_bookings(tx, self.business_id, [self.version.form_id], tx.now)
        days = show_slots(HOURS, "en", tx.now, bookings[self.version.form_id])
        return [key for _, slots in days for key, _ in slots]


HOURS = replace(OPEN, days=(1, 2, 3, 4, 5, 6, 7))
TIME, LATER = "2026-01-02T09:00", "2026-01-02T10:00"


@pytest.fixture
def clinic(database: Database) -> Clinic:
    return database.write_now(Clinic)


def test_a_time_that_one_person_chose_is_offered_to_nobody_else(database: Database, clinic: Clinic) -> None:
    assert TIME in database.read_now(clinic.offered)
    database.write_now(lambda tx: clinic.take(tx, "mei", TIME))
    assert TIME not in database.read_now(clinic.offered)
    assert LATER in database.read_now(clinic.offered)
    with pytest.raises(Unanswered) as lost:
        database.write_now(lambda tx: clinic.take(tx, "ada", TIME))
    assert [(each.at, each.says) for each in lost.value.problems] == [("q2", SLOT_TAKEN)]
    database.write_now(lambda tx: clinic.take(tx, "ada", LATER))


def test_who_sends_the_same_time_again_keeps_it(database: Database, clinic: Clinic) -> None:
    first = database.write_now(lambda tx: clinic.take(tx, "mei", TIME))
    assert database.write_now(lambda tx: clinic.take(tx, "mei", TIME)).id == first.id


def test_a_longer_appointment_of_a_later_version_takes_no_part_of_a_booked_time(
    database: Database, clinic: Clinic
) -> None:
    hours = replace(HOURS, slot_minutes=120)
    asked = (
        question("q1", QuestionKind.EMAIL, required=True),
        question("q2", QuestionKind.APPOINTMENT, hours=hours),
    )
    longer = replace(clinic.version, content=content(*asked))
    database.write_now(lambda tx: clinic.take(tx, "mei", LATER))
    with pytest.raises(Unanswered):
        database.write_now(lambda tx: clinic.take(tx, "ada", TIME, longer))


def test_an_erased_person_gives_the_time_back(database: Database, clinic: Clinic) -> None:
    database.write_now(lambda tx: clinic.take(tx, "mei", TIME))
    none: frozenset[str] = frozenset()
    gone = ErasedPeople(clinic.business_id, none, frozenset({"mei"}), none, none)
    database.write_now(lambda tx: forget_answers(tx, gone))
    assert TIME in database.read_now(clinic.offered)


def test_of_many_who_send_the_same_time_at_once_one_gets_it(database: Database, clinic: Clinic) -> None:
    def send(number: int) -> bool:
        try:
            database.write_now(lambda tx: clinic.take(tx, f"person{number}", TIME))
        except Unanswered:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(send, range(16))) == 1


def test_no_two_rows_of_the_database_hold_one_time(database: Database, clinic: Clinic) -> None:
    """Even if no code looked, the table itself refuses it."""
    at = datetime(2026, 1, 2, 1, tzinfo=UTC)

    def book(tx: Tx, person: str) -> None:
        booking = Booking("form", person, f"answer of {person}", at, at + timedelta(hours=1))
        tx.delete(form_bookings, "b1", person_id=person)
        tx.insert(form_bookings, row_of(booking) | {"business_id": "b1"})

    database.write_now(lambda tx: book(tx, "mei"))
    database.write_now(lambda tx: book(tx, "mei"))
    with pytest.raises(IntegrityError):
        database.write_now(lambda tx: book(tx, "ada"))
