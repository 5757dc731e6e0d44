"""The times that an appointment can be chosen of, by the clock of the business, and the one that was chosen.

Theory. The hours are wall-clock hours of a place. Each open day is cut into slots from its first minute on;
one that would end after closing is none. A time that the clock skips in spring is no slot, and one that it
repeats in autumn is the first of the two. What is offered and what is taken is the same list, made anew.
"""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from babel import Locale
from babel.dates import format_date, format_skeleton

from contatto.forms.model import Booking, Content, Hours, Kind
from contatto.forms.rules.readers import Shown, UnreadableAnswer
from contatto.kit.i18n import N_

SLOT_LENGTHS: Final = (15, 30, 45, 60, 90, 120)
"""How long a slot may be, in minutes."""
DAYS_AHEAD: Final = (7, 14, 28)
"""How far ahead people may choose; a week has every open day in it, so there is always a time to choose."""
MOST_SLOTS: Final = 500
_DAY_MINUTES: Final = 24 * 60
_KEY: Final = "%Y-%m-%dT%H:%M"


@cache
def list_zones() -> tuple[str, ...]:
    """The time zones of places, by their IANA names."""
    return tuple(sorted(each for each in available_timezones() if "/" in each and each[:4] != "Etc/"))


def list_hours(content: Content) -> dict[str, Hours]:
    """Return the opening hours of a form's appointments, by the key of the question."""
    return {each.key: each.hours or Hours() for each in content.questions if each.kind is Kind.APPOINTMENT}


def read_clock(text: str) -> int | None:
    """The minute of the day that ``09:30`` names, up to ``24:00``; None for what names none."""
    hour, colon, minute = text.partition(":")
    digits = hour + minute
    if not (colon and len(hour) == len(minute) == 2 and digits.isascii() and digits.isdigit()):
        return None
    minutes = int(hour) * 60 + int(minute)
    return minutes if int(minute) < 60 and minutes <= _DAY_MINUTES else None


def count_a_day(hours: Hours) -> int:
    """How many slots an open day has; none for hours that make no sense."""
    opens, closes = read_clock(hours.opens), read_clock(hours.closes)
    if opens is None or closes is None or hours.slot_minutes not in SLOT_LENGTHS:
        return 0
    return max(0, (closes - opens) // hours.slot_minutes)


TAKEN: Final = N_("Somebody has just taken this time. Choose another one.")


def list_slots(hours: Hours, now: datetime, bookings: Sequence[Booking] = ()) -> list[datetime]:
    """Return the times that can still be chosen, soonest first, with the zone of the business.

    Args:
        hours: the opening hours.
        now: times before it are over.
        bookings: what others hold.
    """
    free = _list_open_slots(hours, now)
    if not bookings:
        return free
    length = timedelta(minutes=hours.slot_minutes)
    ordered = sorted(bookings, key=lambda booking: booking.starts_at)
    starts = [booking.starts_at for booking in ordered]
    # bookings of different lengths may reach into each other: the latest end up to each of them counts
    ends = list(accumulate((booking.ends_at for booking in ordered), max))
    return [
        slot
        for slot in free
        if not (before := bisect_left(starts, slot.astimezone(UTC) + length)) or ends[before - 1] <= slot
    ]


def _list_open_slots(hours: Hours, now: datetime) -> list[datetime]:
    opens = read_clock(hours.opens)
    if opens is None or hours.zone not in list_zones():
        return []
    zone = ZoneInfo(hours.zone)
    today = now.astimezone(zone).date()
    found: list[datetime] = []
    for after in range(min(hours.ahead_days, max(DAYS_AHEAD)) + 1):
        day = today + timedelta(days=after)
        if day.isoweekday() not in hours.days:
            continue
        for number in range(count_a_day(hours)):
            hour, minute = divmod(opens + number * hours.slot_minutes, 60)
            slot = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
            if slot > now and _is_real(slot):
                found.append(slot)
    return found[:MOST_SLOTS]


def _is_real(slot: datetime) -> bool:
    return slot.astimezone(UTC).astimezone(slot.tzinfo).replace(tzinfo=None) == slot.replace(tzinfo=None)


def read_slot(hours: Hours, text: str, now: datetime, bookings: Sequence[Booking] = ()) -> Shown:
    """Return the chosen time: for people with its zone, and with its distance from UTC as the normal form.

    Raises:
        UnreadableAnswer: for a time that is not offered, or that somebody else holds.
    """
    for slot in _list_open_slots(hours, now):
        if slot.strftime(_KEY) == text:
            until = slot.astimezone(UTC) + timedelta(minutes=hours.slot_minutes)
            if any(booking.overlaps(slot, until) for booking in bookings):
                raise UnreadableAnswer(TAKEN)
            return f"{slot:%Y-%m-%d %H:%M} ({hours.zone})", slot.isoformat(timespec="minutes")
    raise UnreadableAnswer("Choose a time from the list.")


def show_slots(
    hours: Hours, language: str, now: datetime, bookings: Sequence[Booking] = ()
) -> list[tuple[str, list[tuple[str, str]]]]:
    """The days with their times, as a language writes them: the day's name, then the key and text of each."""
    locale = _locale(language)
    days: dict[str, list[tuple[str, str]]] = {}
    for slot in list_slots(hours, now, bookings):
        day = str(format_date(slot, "full", locale=locale))
        text = f"{format_skeleton('MMMEd', slot, tzinfo=slot.tzinfo, locale=locale)}, {slot:%H:%M}"
        days.setdefault(day, []).append((slot.strftime(_KEY), text))
    return list(days.items())


def place_of(zone: str) -> str:
    """The place that names a zone: ``Asia/Ho_Chi_Minh`` is Ho Chi Minh."""
    return zone.rpartition("/")[2].replace("_", " ")


def day_names(language: str) -> list[tuple[int, str]]:
    """The days of the week by their ISO number, Monday first."""
    names = _locale(language).days["stand-alone"]["wide"]
    return [(number + 1, str(names[number])) for number in range(7)]


@cache
def _locale(language: str) -> Locale:
    return Locale.parse(language, sep="-")
