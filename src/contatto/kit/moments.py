"""Instants as whole microseconds since 1970 (UTC), and back, exact; pure, so that every room may use it."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z, exact."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(value: int) -> datetime:
    """The UTC instant that many microseconds after 1970-01-01T00:00:00Z."""
    return _EPOCH + timedelta(microseconds=value)
