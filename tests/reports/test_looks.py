"""What the report page is asked: reading an address, writing it, and the days that it means."""

from datetime import date
from urllib.parse import parse_qsl, urlencode

import pytest

from contatto.kit.errors import Refused
from contatto.reports.registry import METRICS
from contatto.reports.rules.looks import OWN_DAY, Basis, Look, Period, before, days_of, read_look

TODAY = date(2026, 3, 1)


def read(query: str) -> Look:
    return read_look(parse_qsl(query), METRICS)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "advertiser_id=7&period=last_30&by=ad&basis=own&compare=yes&campaign_id=9&sort=-leads&heat=clicks",
        "since=2026-01-02&until=2026-01-05&by=country&column=spend&column=leads",
    ],
)
def test_an_address_written_anew_asks_the_same(query: str) -> None:
    look = read(query)
    assert read(urlencode(look.pairs())) == look


def test_words_that_mean_nothing_are_left_out() -> None:
    look = read("period=ever&by=colour&basis=none&column=fun&heat=moon")
    assert look == Look()


@pytest.mark.parametrize(
    ("period", "first", "last"),
    [
        (Period.TODAY, "2026-03-01", "2026-03-01"),
        (Period.YESTERDAY, "2026-02-28", "2026-02-28"),
        (Period.LAST_7, "2026-02-23", "2026-03-01"),
        (Period.LAST_90, "2025-12-02", "2026-03-01"),
        (Period.THIS_MONTH, "2026-03-01", "2026-03-01"),
        (Period.LAST_MONTH, "2026-02-01", "2026-02-28"),
    ],
)
def test_periods_move_with_the_calendar_of_the_account(period: Period, first: str, last: str) -> None:
    assert [str(day) for day in days_of(Look(period=period), TODAY)] == [first, last]


def test_days_of_ones_own_stand_still_and_a_period_goes_before_them() -> None:
    days = "since=2026-01-02&until=2026-01-05"
    assert days_of(read(days), TODAY) == (date(2026, 1, 2), date(2026, 1, 5))
    assert read(f"{days}&period=custom").period is Period.CUSTOM
    assert read(f"{days}&period=today") == Look(period=Period.TODAY)
    assert days_of(read("since=2026-01-02"), TODAY) == (date(2026, 1, 2), date(2026, 1, 2))


def test_the_days_before_are_as_many_and_end_right_before() -> None:
    assert before(date(2026, 2, 23), TODAY) == (date(2026, 2, 16), date(2026, 2, 22))


@pytest.mark.parametrize(
    "query", ["since=soon", "since=2026-01-02&until=2026-01-01", "since=2020-01-01&until=2026-01-01"]
)
def test_days_that_make_no_sense_are_refused(query: str) -> None:
    with pytest.raises(Refused):
        read(query)


def test_the_own_day_has_metrics_of_its_own() -> None:
    assert set(OWN_DAY) | set(OWN_DAY.values()) <= set(METRICS)
    own = read("basis=own&column=spend&column=conversion")
    assert own.basis is Basis.OWN
    assert own.metrics == ("spend", "real_time_conversion")
