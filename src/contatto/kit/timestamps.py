"""Instants as whole microseconds since 1970 (UTC), and back, exact; days as texts; pure, for every room."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from contatto.kit import errors
from contatto.kit.errors import Refused

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_YEAR: Final = re.compile(r"\+?([0-9]{4,6})-[0-9]{2}-[0-9]{2}")
"""The start of a date. Browsers offer years up to 275760. Source: ECMA-262, time values and time range."""
YEARS: Final = range(1970, 2200)
"""Years that days and times from outside may lie in: beside the calendar's ends, reckoning overflows."""
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z, exact."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(value: int) -> datetime:
    """Return the UTC instant that many microseconds after 1970-01-01T00:00:00Z."""
    return _EPOCH + timedelta(0, 0, value)


def day_of(text: str) -> date | None:
    """Read the day of a text, YYYY-MM-DD; None for any other text, and for years beyond ``YEARS``."""
    if not _DAY.fullmatch(text) or int(text[:4]) not in YEARS:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def check_year(field: str, text: str) -> None:
    """Refuse a typed date or time in a year outside ``YEARS``; any other text passes.

    Raises:
        Refused: INVALID.
    """
    date_start = _YEAR.match(text.strip())
    if date_start and int(date_start[1]) not in YEARS:
        raise Refused(
            errors.INVALID,
            "%(field)s: Enter a year from %(first)s to %(last)s.",
            field=field,
            first=str(YEARS[0]),
            last=str(YEARS[-1]),
        )


def instant_of(text: str) -> datetime | None:
    """Read the instant of a text in ISO 8601, in UTC as a text without a zone is; None as in ``day_of``."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    if instant.year not in YEARS:
        return None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
