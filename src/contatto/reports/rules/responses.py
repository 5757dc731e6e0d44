"""How quickly conversations are answered, by the business and by each of its people."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from statistics import median
from typing import Final
from zoneinfo import ZoneInfo

BUCKETS_S: Final = (300, 3_600, 86_400)
"""Up to five minutes, an hour, a day; what takes longer is in a last bucket."""


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """A conversation that a customer began, and who of the business answered it first, and when."""

    started_at: datetime
    answered_at: datetime | None
    author: str


@dataclass(frozen=True, slots=True)
class Speed:
    """How quickly someone answers: the median, and how many answers lie in each bucket of time."""

    author: str
    answered: int
    median_s: int | None
    buckets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DaySpeed:
    """How quickly those were answered who began a conversation on a day."""

    day: date
    started: int
    speed: Speed


def speed_of(author: str, answers: Iterable[FirstAnswer]) -> Speed:
    seconds = sorted(
        max(int((answer.answered_at - answer.started_at).total_seconds()), 0)
        for answer in answers
        if answer.answered_at
    )
    buckets = [0] * (len(BUCKETS_S) + 1)
    for second in seconds:
        buckets[sum(second > limit for limit in BUCKETS_S)] += 1
    return Speed(author, len(seconds), int(median(seconds)) if seconds else None, tuple(buckets))


def speeds(answers: Iterable[FirstAnswer]) -> list[Speed]:
    """The speed of each person who gave a first answer, the busiest first."""
    by_author: defaultdict[str, list[FirstAnswer]] = defaultdict(list)
    for answer in answers:
        if answer.answered_at:
            by_author[answer.author].append(answer)
    found = [speed_of(author, mine) for author, mine in by_author.items()]
    return sorted(found, key=lambda one: (-one.answered, one.author))


def speeds_by_day(answers: Iterable[FirstAnswer], zone: str, most: int) -> list[DaySpeed]:
    """The speed of each of the latest days on which a conversation began, in a zone, the latest first."""
    by_day: defaultdict[date, list[FirstAnswer]] = defaultdict(list)
    for answer in answers:
        by_day[answer.started_at.astimezone(ZoneInfo(zone)).date()].append(answer)
    latest = sorted(by_day.items(), reverse=True)[:most]
    return [DaySpeed(day, len(mine), speed_of("", mine)) for day, mine in latest]
