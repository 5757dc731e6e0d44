"""Appointments: which times can be chosen, by the clock of the business, and what of a choice is kept."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from contatto.forms.model import Hours, Kind
from contatto.forms.rules.answers import check_submission
from contatto.forms.rules.drafts import add_question, edit_content, place_hours
from contatto.forms.rules.publishing import list_problems
from contatto.forms.rules.sheet import show_sheet
from contatto.forms.rules.slots import count_a_day, list_slots, read_clock, show_slots
from tests.forms.papers import content, question, sent

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
    form = content(question("q1", Kind.EMAIL, required=True), question("q2", Kind.APPOINTMENT, hours=OPEN))

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
    form = content(question("q1", Kind.APPOINTMENT, hours=OPEN))
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
    form = content(question("q1", Kind.EMAIL, required=True), question("q2", Kind.APPOINTMENT, hours=hours))
    (problem,) = list_problems(form)
    assert (problem.at, problem.says[: len(says)]) == ("q2", says)


def test_new_hours_take_the_zone_of_the_business_and_keep_the_one_that_was_chosen() -> None:
    form = place_hours(add_question(content(), Kind.APPOINTMENT), "Asia/Jakarta")
    key = form.questions[-1].key
    typed = {f"q:{key}:sent": ["1"], f"q:{key}:day": ["6", "7", "8"], f"q:{key}:opens": ["10:00"]}
    edited = place_hours(edit_content(form, typed, "en"), "Asia/Singapore")
    assert edited.questions[-1].hours == Hours("Asia/Jakarta", (6, 7), "10:00", "17:00", 30, 14)
    assert list_problems(edited) == []
