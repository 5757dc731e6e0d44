"""Reading what platforms say: numbers, days, money and zones, each of which may be anything."""

from datetime import date
from typing import Final
from zoneinfo import available_timezones

from babel.numbers import is_currency

from contatto.kit.money import to_micros
from contatto.kit.numbers import LARGEST, read_number

NAME_LIMIT: Final = 300
_MOST_COUNT: Final = 10**15


def platform_number(said: object) -> int | None:
    """An id, which may come as text or as a number; None for anything else."""
    if isinstance(said, bool):
        return None
    number = said if isinstance(said, int) else read_number(said.strip()) if isinstance(said, str) else None
    return number if number is not None and 0 < number <= LARGEST else None


def platform_day(said: object) -> str | None:
    """The day of ``YYYY-MM-DD`` or of ``YYYY-MM-DD HH:MM:SS``."""
    text = said.strip()[:10] if isinstance(said, str) else ""
    try:
        return date.fromisoformat(text).isoformat() if len(text) == 10 else None
    except ValueError:
        return None


def platform_micros(said: object) -> int | None:
    """An amount in units of the currency as micros; None for what is none."""
    if isinstance(said, bool) or not isinstance(said, str | int | float):
        return None
    try:
        return to_micros(said)
    except ValueError:
        return None


def platform_count(said: object) -> int | None:
    """A count, which may come as text, with a fraction of zeros at most."""
    if isinstance(said, bool) or not isinstance(said, str | int | float):
        return None
    try:
        value = float(said)
    except ValueError:
        return None
    return int(value) if 0 <= value < _MOST_COUNT and value == int(value) else None


def known_zone(said: object) -> str:
    """An IANA time zone; UTC for a name that is none."""
    return said if isinstance(said, str) and said in available_timezones() else "UTC"


def known_currency(said: object) -> str:
    """Return a currency's three letters, also for a withdrawn one; empty for anything else."""
    text = said.strip().upper() if isinstance(said, str) else ""
    return text if is_currency(text) else ""


def short_name(said: object) -> str:
    return said.replace("\0", "")[:NAME_LIMIT] if isinstance(said, str) else ""
