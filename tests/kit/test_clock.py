"""Clocks, and instants as whole microseconds."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from contatto.kit.db.tx import Clock, FixedClock
from contatto.kit.values import from_micros, micros

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_an_instant_comes_back_from_microseconds_exactly(moment: datetime) -> None:
    assert from_micros(micros(moment)) == moment


def test_the_same_instant_in_another_zone_has_the_same_microseconds() -> None:
    assert micros(NOON) == micros(NOON.astimezone(timezone(timedelta(hours=8))))


def test_a_fixed_clock_moves_only_when_told() -> None:
    clock = FixedClock(NOON)
    assert clock.now() == clock.now() == NOON
    clock.advance(hours=1, seconds=2)
    assert clock.now() == NOON + timedelta(hours=1, seconds=2)


def test_the_system_clock_is_in_utc() -> None:
    assert Clock().now().utcoffset() == timedelta()
