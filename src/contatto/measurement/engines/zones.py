"""Local time in bulk: what has to be added to the instants of a UTC day to get the time in a zone."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from contatto.kit.timestamps import micros

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)


class ZoneDay(NamedTuple):
    """The offset of a zone within one UTC day, in microseconds: before and from ``change_ts``."""

    before_us: int
    change_ts: int
    after_us: int


def zone_day(timezone: str, utc_day: int) -> ZoneDay:
    """The offsets of a zone in a UTC day, counted from 1970; no zone changes its clocks twice in one."""
    zone = ZoneInfo(timezone)
    start = _EPOCH + utc_day * _DAY
    end = start + _DAY - _SECOND
    before, after = _offset(start, zone), _offset(end, zone)
    changed = end if before == after else _change(start, end, zone)
    return ZoneDay(before, micros(changed), after)


def _change(start: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """The first second of the new offset, found by halving."""
    before = _offset(start, zone)
    while end - start > _SECOND:
        middle = start + (end - start) // 2 // _SECOND * _SECOND
        if _offset(middle, zone) == before:
            start = middle
        else:
            end = middle
    return end


def _offset(moment: datetime, zone: ZoneInfo) -> int:
    offset = moment.astimezone(zone).utcoffset() or timedelta()
    return offset // timedelta(microseconds=1)
